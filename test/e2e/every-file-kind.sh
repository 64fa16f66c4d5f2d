#!/usr/bin/env bash
# What an agent may leave behind: every kind of file, and names that programs stumble over. Runs in a sandbox, in an empty directory that
# is the tree. `every-file-kind.sh make`, then `every-file-kind.sh list`: the tree as find and sha256sum see it.
set -euo pipefail
export LC_ALL=C

make() {
  mkdir bytes names modes times links many deep
  (cd bytes && make_bytes)
  (cd names && make_names)
  (cd links && make_links)
  (cd many && seq 20000 | split -l 1 -a 5 -d)
  (cd deep && for level in {1..25}; do step=$(printf "%0200d" "$level"); mkdir "$step"; cd -P "$step" 2> /dev/null; done; echo deep > bottom)
  (cd modes && make_modes)
  (cd times && make_times)
}

# Around the 1 MiB in which contents are stored.
make_bytes() {
  : > empty
  for size in 1 1048575 1048576 1048577 5000000; do head -c "$size" /dev/urandom > "size-$size"; done
  cp size-5000000 same-again
  head -c 3000000 /dev/zero > written-zeros
  truncate -s 200M only-a-hole
  truncate -s 100M holes
  printf middle | dd of=holes bs=1 seek=50000001 conv=notrunc status=none
  printf end >> holes
  mkdir -p no/file/in/here
}

make_names() {
  local byte name
  for byte in {1..255}; do
    printf -v name '\\x%02x' "$byte"
    printf -v name "x$name"
    [ "$name" = x/ ] || echo "$byte" > "$name"
  done
  for name in -rf -- ' ' ' x ' '*' '?' '~' '#' '$HOME' '`id`' "'" '"' '\' '\n' ... $'\n' $'line\nline\n' '{"k":"file"}' ünï 日本 $'u\xcc\x88' $'\xfc' $'\xed\xa0\x80' $'\xff\xfe' 🛶 $'\xe2\x80\xae'; do
    echo name > "./$name"
  done
  printf -v name '%0255d' 0
  echo long > "$name"
  mkdir "${name//0/$'\xff'}"
  echo below > "${name//0/$'\xff'}/$name"
}

make_links() {
  echo target > file
  ln -s file plain
  ln -s ../bytes directory
  ln -s nowhere/at/all dangling
  ln -s itself itself
  ln -s / root
  ln -s $'to\n\xff\\ ' bytes
  ln -s "$(printf '%04000d' 0)" long
  ln file another
  ln file ../modes/elsewhere
}

make_modes() {
  for mode in 000 001 111 222 400 444 755 777; do
    echo "$mode" > "file-$mode" && chmod "$mode" "file-$mode"
    mkdir "dir-$mode" && echo "$mode" > "dir-$mode/file" && chmod "$mode" "dir-$mode"
  done
  # These cannot be kept.
  for mode in 4755 2755 1755; do echo "$mode" > "drops-$mode" && chmod "$mode" "drops-$mode"; done
  mkdir drops-dir && chmod 1777 drops-dir
  mkfifo gone-pipe
  perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "gone-socket", Listen => 1) or die $!'
  if mknod gone-device c 1 3 2> /dev/null; then echo "the agent has made a device"; fi
}

# Nanoseconds, before 1970, beyond 32 bits; links and directories have times, too.
make_times() {
  local n=0 time
  for time in 1901-12-14T00:00:00.123456789 1969-12-31T23:59:59.999999999 1970-01-01T00:00:00 2024-02-29T12:34:56.987654321 2200-01-01T00:00:00.000000001; do
    n=$((n + 1))
    touch -d "${time}Z" "file-$n"
    ln -s x "link-$n"
    touch -h -d "${time}Z" "link-$n"
    mkdir "dir-$n"
    echo in > "dir-$n/in"
    touch -d "${time}Z" "dir-$n"
  done
}

# Records, each ended by NUL. What its owner may not look into is opened for that, and closed again.
list() {
  local closed record hidden='( -type d ! -perm -500 -o -type f ! -perm -400 )'
  # shellcheck disable=SC2086 # words of an expression
  mapfile -d '' -t closed < <(find . $hidden -printf '%m %p\0' 2> /dev/null)
  printf 'closed %s\0' "${closed[@]}"
  for record in "${closed[@]}"; do chmod u+rx "${record#* }"; done
  # The size of a directory is its file system's own business.
  find . -type d -printf 'dir %T@ %m %n %p\0' -o -printf '%y %T@ %m %n %s %p -> %l\0'
  find . -path ./deep -prune -o -type f -exec sha256sum -z {} +
  # Its path is longer than a path may be.
  find deep -type f -execdir sha256sum -z {} +
  find . -samefile links/file -printf 'same %p\0'
  for record in bytes/holes bytes/only-a-hole; do printf '%s has holes: %d\0' "$record" "$(($(stat -c %b "$record") < 5000))"; done
  for record in "${closed[@]}"; do chmod "${record%% *}" "${record#* }"; done
}

"$1"
