/** Shell commands that fill a workspace, the same way each time, with files like those of a program's source. */

/** Files in directories of a hundred, of half to one and a half times `bytes`, of text that compresses like code. */
export function fill(files: number, bytes: number): string {
  const program = [
    'BEGIN {',
    'srand(1)',
    `for (n = 0; n < ${files}; n++) {`,
    'if (n % 100 == 0) { dir = "src/" int(n / 100); system("mkdir -p " dir) }',
    'name = dir "/file" n % 100 ".ts"',
    `for (left = ${bytes} * (0.5 + rand()); left > 0; left -= length(line)) {`,
    'line = sprintf("  const value%d = compute(%d, name%x)", n, rand() * 1e6, rand() * 1e9)',
    'print line > name',
    '}',
    'close(name)',
    '}',
    '}',
  ]
  return `awk '${program.join('\n')}'`
}

/** So many of them get another line, those at `round` and in equal steps from there. */
export function touchFiles(count: number, of: number, round: number): string {
  const step = Math.floor(of / count)
  return [
    `for i in $(seq 0 ${count - 1}); do`,
    `n=$(( (i * ${step} + ${round}) % ${of} ))`,
    `echo "  // changed in round ${round}" >> src/$((n / 100))/file$((n % 100)).ts`,
    'done',
  ].join('\n')
}

/** Files of bytes that do not compress. */
export function fillRandom(files: number, bytes: number): string {
  return `mkdir -p data && head -c ${files * bytes} /dev/urandom | split -a 4 -b ${bytes} - data/part`
}

/**
 * What a checkpoint costs without Berth: the workspace as one compressed archive, made in its own sandbox by one run of `tar` and `zstd` at the level that checkpoints have.
 * Prints microseconds and bytes.
 */
export const tarAndZstd = [
  'began=${EPOCHREALTIME/./}',
  'tar -cf - -C /workspace . | zstd -q -1 > /tmp/floor.tar.zst',
  'sync /tmp/floor.tar.zst',
  'ended=${EPOCHREALTIME/./}',
  'echo "$((ended - began)) $(stat -c %s /tmp/floor.tar.zst)"',
  'rm /tmp/floor.tar.zst',
].join('\n')

/** What bringing files back costs without Berth: the same archive unpacked beside the workspace's files. Prints microseconds. */
export const unpack = [
  'tar -cf - -C /workspace . | zstd -q -1 > /tmp/floor.tar.zst',
  'mkdir /workspace/.unpacked',
  'began=${EPOCHREALTIME/./}',
  'zstd -dc /tmp/floor.tar.zst | tar -xf - -C /workspace/.unpacked',
  'ended=${EPOCHREALTIME/./}',
  'rm -rf /tmp/floor.tar.zst /workspace/.unpacked',
  'echo "$((ended - began))"',
].join('\n')

/** Of the answer to `tarAndZstd`. */
export function toArchive(printed: string): { ms: number; bytes: number } {
  const [microseconds = '', bytes = ''] = printed.split(' ')
  return { ms: Number(microseconds) / 1000, bytes: Number(bytes) }
}
