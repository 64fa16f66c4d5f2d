/** Files that an agent has laid out as traps for those who look at them, keep them or begin with them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { contentPath, filesOf, fork, takeCheckpoint } from '../harness/berth-api.ts'
import { tool } from '../harness/message.ts'
import { onlyOf, textOf } from '../harness/reading.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

let berth: TestBerth
let id: string

/** What a writer does that never rests: a line to the log, then its number to a file that is renamed into place. */
const writer = `import os, time
n = 0
log = open("log", "a")
while True:
    n += 1
    log.write(f"{n} {'x' * 500}\\n")
    log.flush()
    with open("count.new", "w") as count:
        count.write(str(n))
    os.rename("count.new", "count")
    time.sleep(0.001)`

const layOut = `
ln -s /etc/passwd passwd; ln -s /proc/self/environ environ; ln -s /dev/zero zero; ln -s / slash; ln -s loop loop
mkfifo pipe; truncate -s 10G huge; printf safe > swap; cp /bin/true setuid; chmod 4755 setuid
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
printf '<script>alert(1)</script>' > page.html; printf '<svg onload="alert(1)"/>' > $'a"b;\\n=\\'(x)*.svg'
nohup sh -c 'while :; do ln -s /etc/passwd new; mv -fT new swap; printf safe > new; mv -fT new swap; sleep 0.02; done' >/dev/null 2>&1 &
nohup python3 writer.py >/dev/null 2>&1 & echo laid`

async function shell(session: string, command: string): Promise<string> {
  const turn = await berth.runTurn(
    session,
    ['Do', tool('Bash', { command: `cd /workspace; ${command}` })],
    AbortSignal.timeout(120_000),
  )
  return textOf(onlyOf(turn, 'agent.tool_result').content).trim()
}

async function read(session: string, path: string): Promise<{ status: number; text: string; headers: Headers }> {
  const answer = await berth.fetch(contentPath(session, path), { signal: AbortSignal.timeout(60_000) })
  return { status: answer.status, text: await answer.text(), headers: answer.headers }
}

beforeAll(async () => {
  berth = await startTestBerth()
  ;({ id } = await berth.createSession())
  const program = tool('Write', { file_path: '/workspace/writer.py', content: writer })
  await berth.runTurn(id, ['Prepare', program])
  expect(await shell(id, layOut)).toContain('laid')
})
afterAll(async () => {
  await using _ = berth
  await berth.assertClean()
})

test('links, pipes, sockets, devices and files of processes are refused, or have an end', async () => {
  const paths = ['passwd', 'environ', 'zero', 'loop', 'pipe', 'socket', 'slash', '/dev/zero', '/dev/tty', '/etc/shadow']
  const deeper = [
    'slash/etc/shadow',
    'slash/dev/zero',
    'slash/proc/1/environ',
    'slash/proc/self/fd/0',
    'slash/run/berth/link/link.sock',
  ]
  for (const path of [...paths, ...deeper, '/proc/kmsg', '../../../../etc/shadow']) {
    const { status, text } = await read(id, path)
    expect(`${path} ${status}`).toMatch(/ 40[034]$/)
    expect(text).not.toMatch(/root:|PATH=/)
  }
  for (const path of ['slash/proc/self/environ', '/proc/self/environ', '/proc/self/mem', '/proc/1/cmdline']) {
    const { status, text } = await read(id, path)
    expect(`${path} ${status} ${text}`).toMatch(/ 200 $| 40[034] /)
  }
  const writes = ['/etc/passwd', 'slash/etc/passwd', '/proc/self/mem', '/dev/zero', '/opt/berth/node', '/run/berth/x']
  for (const path of writes) {
    const { status } = await berth.fetch(contentPath(id, path), { method: 'PUT', body: 'x' })
    expect(`${path} ${status}`).toMatch(/ 40[034]$/)
  }
}, 240_000)

test('a file that changes into a link and back is itself or nothing', async () => {
  const seen = new Map<string, number>()
  for (let n = 0; n < 12; n++) {
    const { status, text } = await read(id, 'swap')
    const what = status === 200 ? text : String(status)
    seen.set(what, (seen.get(what) ?? 0) + 1)
  }
  expect([...seen.keys()].filter((what) => !['safe', '', '400', '403', '404'].includes(what))).toEqual([])
  expect(seen.get('safe')).toBeGreaterThan(0)
}, 240_000)

test('a file of 10 GB holds up nobody, read to its end or not', async () => {
  async function begin(): Promise<() => Promise<void>> {
    const answer = await berth.fetch(contentPath(id, 'huge'))
    expect(answer.headers.get('content-length')).toBe(String(10 * 1024 ** 3))
    const reader = answer.body?.getReader()
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0)
    return async () => reader?.cancel()
  }
  const ends = await Promise.all(Array.from({ length: 4 }, begin))
  expect(await read(id, 'page.html')).toMatchObject({ status: 200 })
  expect((await filesOf(berth, id, '.')).data.find(({ name }) => name === 'huge')).toMatchObject({
    size: 10 * 1024 ** 3,
  })
  await Promise.all(ends.map((end) => end()))
}, 240_000)

test('a page or a picture of the agent is a download under its own name, and nothing that runs', async () => {
  for (const [path, name] of [
    ['page.html', 'page.html'],
    ['a"b;\n=\'(x)*.svg', 'a%22b%3B%0A%3D%27%28x%29%2A.svg'],
  ] as const) {
    const { status, headers } = await read(id, path)
    expect(status).toBe(200)
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename*=UTF-8''${name}`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    })
  }
}, 240_000)

test('a checkpoint says what it left out, and has a writer’s files as they were at one moment; two at once, too', async () => {
  await shell(id, 'rm huge')
  for (let n = 0; n < 3; n++) {
    await berth.fetch(contentPath(id, 'touched'), { method: 'PUT', body: String(n) })
    const both = await Promise.all([takeCheckpoint(berth, id), takeCheckpoint(berth, id)])
    for (const { id: checkpoint_id, refused, refused_count } of both) {
      const reasons = Object.fromEntries(refused.map(({ path, reason }) => [path, reason]))
      expect(reasons).toMatchObject({
        '/workspace/pipe': 'is a pipe',
        '/workspace/socket': 'is a socket',
        '/workspace/setuid': 'has setuid, setgid or sticky bits, which are not kept',
      })
      expect(refused_count).toBe(refused.length)
      const { session } = await fork(berth, id, { checkpoint_id })
      berth.adopt(session.id)
      const lines = (await read(session.id, 'log')).text.split('\n')
      const count = Number((await read(session.id, 'count')).text)
      // Each line is whole, and the number is that of the last or of the one before.
      expect(lines.pop()).toBe('')
      expect(lines.every((line, index) => line === `${index + 1} ${'x'.repeat(500)}`)).toBe(true)
      expect([lines.length - 1, lines.length]).toContain(count)
    }
  }
}, 240_000)

test('of one checkpoint two sessions are made that share nothing, and that have no secret of the first', async () => {
  const own = `printf '%s ' "$HTTPS_PROXY" $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ')`
  const [proxy = ''] = (await shell(id, own)).split(' ')
  const password = /:([^:@]{32,})@/.exec(proxy)?.[1] ?? ''
  expect(password).not.toBe('')
  const checkpoint = await takeCheckpoint(berth, id)
  const forks = await Promise.all([1, 2].map(() => fork(berth, id, { checkpoint_id: checkpoint.id })))
  const seen: string[] = [proxy]
  for (const { session } of forks) {
    berth.adopt(session.id)
    const [said = '', found = ''] = (
      await shell(
        session.id,
        `${own}; echo; ls mine 2>/dev/null; echo x > mine
        find / -xdev \\( -path /proc -o -path /usr \\) -prune -o -type s -print 2>/dev/null | grep -v ^/run/berth
        find /workspace /home /mnt /tmp -type f -size -8M -exec grep -laF -e '${password.slice(0, 16)}''${password.slice(16)}' {} + 2>/dev/null | grep -v '^/home/.*/projects/'`,
      )
    ).split('\n', 2)
    seen.push(...said.trim().split(' '))
    expect(found).toBe('')
  }
  // Proxies' passwords and random bytes: all different.
  expect(new Set(seen).size).toBe(5)
  expect(new Set(forks.map(({ session }) => session.id)).size).toBe(2)
  await waitUntil('the files of the first are its own', async () => (await read(id, 'mine')).status === 404)
}, 240_000)
