import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlSocket } from '@berth/gateway'
import { makeRoute } from '@berth/gateway/fixture/running-gateway'
import { pageOf } from '@berth/protocol/api/page'
import { egressDecision, type EgressDecision } from '@berth/protocol/api/egress'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { makeCertificates } from '../../packages/gateway/src/fixture/certificates.ts'
import { ownLoopback, startWebHost, type WebHost } from '../../packages/gateway/src/fixture/egress-world.ts'
import { startStubDns, type StubDns } from '../../packages/gateway/src/fixture/stub-dns.ts'
import { tool } from '../harness/message.ts'
import { onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'
import { secret, startProgramHost } from './program-host.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { bringing } from './bringing.ts'
import { type HostTraps, setHostTraps } from './traps/host-traps.ts'

const allowed = ['allowed.test', 'git.allowed.test', 'packages.allowed.test', 'bound.test']

let held: AsyncDisposableStack
let berth: TestBerth
let dns: StubDns
/** Stands for every host that nobody allowed. */
let refusedHost: WebHost
let traps: HostTraps
let id: string
/** Of the credential for `bound.test`, which is made by a test. */
let vault_id: string

beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'eg-'))
  opened.defer(() => rm(dir, { recursive: true }))
  const certificates = await makeCertificates(dir, [...allowed, 'refused.test'])
  opened.use(await startProgramHost(dir, certificates, ownLoopback(1)))
  refusedHost = opened.use(await startWebHost(ownLoopback(2), certificates))
  dns = opened.use(await startStubDns((name) => [ownLoopback(allowed.includes(name) ? 1 : 2)]))
  traps = opened.use(await setHostTraps())
  const env = {
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: [ownLoopback(1), ownLoopback(2)].join(','),
    BERTH_EGRESS_CA_FILE: certificates.ca,
  }
  berth = opened.use(await startTestBerth({ env }))
  const networking = { type: 'limited' as const, allowed_hosts: ['allowed.test', '*.allowed.test', 'bound.test'] }
  const environment = await berth.createEnvironment({ config: { type: 'cloud', networking } })
  ;({ id: vault_id } = await berth.client.beta.vaults.create({ display_name: 'Ada' }))
  ;({ id } = await berth.createSession({ environment_id: environment.id, vault_ids: [vault_id] }))
  const ca = await readFile(certificates.ca, 'utf8')
  await berth.runTurn(id, ['Keep', tool('Write', { file_path: '/workspace/ca.pem', content: ca })])
  held = opened.move()
}, 120_000)
afterAll(() => held.disposeAsync())

/** What a shell in the sandbox makes of it. */
async function shell(command: string): Promise<string> {
  const call = tool('Bash', { command: `cd /workspace; ${command}`, timeout: 100_000 })
  const turn = await berth.runTurn(id, ['Do', call], AbortSignal.timeout(110_000))
  return textOf(onlyOf(turn, 'agent.tool_result').content)
}

async function decisions(query = ''): Promise<{ data: EgressDecision[]; next_page: string | null }> {
  return pageOf(egressDecision).parse(await (await berth.fetch(`/berth/v1/sessions/${id}/egress${query}`)).json())
}

const socketProgram = (host: string): string => `
const socket = new WebSocket('wss://${host}/')
socket.onopen = () => socket.send('hello')
socket.onmessage = ({ data }) => { console.log(data); process.exit() }
socket.onerror = () => { console.log('no socket'); process.exit() }
`
const fetchProgram = (host: string): string =>
  `fetch('https://${host}/page').then((page) => page.text(), (error) => 'no page: ' + error.cause).then(console.log)`

/** What each program is to do with a host, and what it says when that went well. */
const programs: Readonly<Record<string, (host: string) => [command: string, success: string]>> = {
  curl: (host) => [`curl -sS --cacert ca.pem https://${host}/page`, `page of ${host}`],
  git: (host) => [
    `rm -rf c; GIT_SSL_CAINFO=/workspace/ca.pem git clone -q https://${host === 'allowed.test' ? 'git.allowed.test' : host}/repository.git c; cat c/file`,
    'cloned',
  ],
  npm: (host) => [
    `npm view thing version --registry https://${host}/ --cafile /workspace/ca.pem --fetch-retries 0`,
    '1.2.3',
  ],
  pip: (host) => [
    `REQUESTS_CA_BUNDLE=ca.pem /usr/bin/python3 -m pip download --no-deps --retries 0 -i https://${host}/simple/ -d p thing >p.log 2>&1; ls p/*.whl`,
    'thing-1.0-py3-none-any.whl',
  ],
  fetch: (host) => [
    `NODE_EXTRA_CA_CERTS=/workspace/ca.pem /opt/berth/node -e "${fetchProgram(host)}"`,
    `page of ${host}`,
  ],
  websocket: (host) => [
    `NODE_EXTRA_CA_CERTS=/workspace/ca.pem /opt/berth/node -e "${socketProgram(host)}"`,
    'echo hello',
  ],
}

test('programs reach an allowed host without being configured, and no other host at all', async () => {
  const script = (host: string): string =>
    Object.values(programs)
      .map((program) => `${program(host)[0]} 2>&1; echo @@@`)
      .join('\n')
  const names = Object.keys(programs)
  const toAllowed = (await shell(script('allowed.test'))).split('@@@')
  for (const [index, name] of names.entries())
    expect(`${name}: ${toAllowed[index]}`).toContain(programs[name]?.('allowed.test')[1])
  const toRefused = (await shell(`rm -rf p c; ${script('refused.test')}`)).split('@@@')
  for (const [index, name] of names.entries())
    expect(`${name}: ${toRefused[index]}`).not.toContain(programs[name]?.('refused.test')[1])
  expect(refusedHost.connections()).toBe(0)
  expect(new Set(dns.asked)).toEqual(new Set(['allowed.test', 'git.allowed.test']))
  const { data } = await decisions('?limit=1000')
  expect(new Set(data.map(({ decision, host, reason }) => `${decision} ${host} ${reason}`))).toEqual(
    new Set(['allow allowed.test allowed', 'allow git.allowed.test allowed', 'deny refused.test host']),
  )
  expect(data.filter(({ host }) => host === 'refused.test').length).toBeGreaterThanOrEqual(names.length)
  const first = await decisions('?limit=3')
  const second = await decisions(`?limit=3&page=${first.next_page}`)
  expect([...first.data, ...second.data]).toEqual(data.slice(0, 6))
}, 240_000)

test('there is no way around the proxy, and none through it without the password', async () => {
  const port = '${HTTPS_PROXY##*:}'
  const found = await shell(`
    curl -sS --noproxy '*' -m 5 https://allowed.test/page 2>&1
    curl -sS -m 5 --proxy http://127.0.0.1:${port} --cacert ca.pem https://allowed.test/page 2>&1
    curl -sS -m 5 --proxy http://berth:wrong@127.0.0.1:${port} --cacert ca.pem https://allowed.test/page 2>&1
    curl -sS -m 5 --proxy-insecure --unix-socket /run/berth/gw/1000/egress.sock http://allowed.test/ 2>&1
    curl -sS -i -m 5 http://refused.test/ 2>&1`)
  expect(found).toMatch(/Could not resolve host/)
  expect(found.match(/response 407/g)).toHaveLength(2)
  expect(found).toMatch(/connect to \/run\/berth|Couldn't connect to server/)
  expect(found).toMatch(/403 Forbidden[^]*x-berth-egress: host[^]*refused\.test:80 is not among the allowed hosts/)
  expect(found).not.toContain('page of')
  const { data } = await decisions()
  expect(data.filter(({ reason }) => reason === 'credential').length).toBeGreaterThanOrEqual(2)
})

test('no packet leaves the sandbox by any other way, and no name is looked up', async () => {
  await berth.runTurn(id, ['Keep', ...(await bringing(['ways-around.py'], '/workspace'))])
  const asked = dns.asked.length
  const places = [...traps.places, dns.server, `${ownLoopback(1)}:443`, `${ownLoopback(2)}:80`]
  const found = z
    .record(z.string(), z.string())
    .parse(JSON.parse(await shell(`python3 ways-around.py ${places.join(' ')}`)))
  const gotThrough = Object.entries(found).filter(([, outcome]) => outcome === 'ok')
  process.stdout.write(`ways around: tried ${Object.keys(found).length}, traps hit ${traps.hits.length}\n`)
  expect(Object.keys(found).length).toBeGreaterThan(50)
  // What a sandbox says to its own loopback stays in it.
  expect(gotThrough.filter(([way]) => !/^udp (127\.|::1 )/.test(way))).toEqual([])
  expect([traps.hits, dns.asked.slice(asked), refusedHost.connections()]).toEqual([[], [], 0])
  const socket = connect(traps.port, '127.0.0.1')
  await once(socket.resume(), 'close')
  // They have eyes.
  expect(traps.hits.splice(0)).toEqual(['tcp ::ffff:127.0.0.1'])
})

test('whatever an agent makes of its settings, variables and permissions, it leaves by the proxy or not at all', async () => {
  const asked = dns.asked.length
  const curl = 'curl -sS -m 5 --cacert ca.pem https://refused.test/page 2>&1; echo'
  const none = 'env -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY -u http_proxy -u https_proxy -u all_proxy'
  const proxies = traps.places.map((place) => `HTTPS_PROXY=http://${place} ALL_PROXY=socks5h://${place}`)
  const settings = {
    permissions: { defaultMode: 'bypassPermissions' },
    sandbox: { enabled: false },
    env: { NO_PROXY: '*' },
  }
  const ways = [none, "NO_PROXY='*' no_proxy='*'", 'HTTPS_PROXY= https_proxy= ', ...proxies]
  const command = `mkdir -p .claude; echo '${JSON.stringify(settings)}' | tee .claude/settings.json ~/.claude/settings.local.json >/dev/null
    ${ways.map((way) => `${way} ${curl}`).join('\n')}
    curl -sS -m 5 -x socks5h://127.0.0.1:\${HTTPS_PROXY##*:} https://refused.test/page 2>&1; echo
    git -c http.proxy= clone -q https://refused.test/repository.git other 2>&1; ls other 2>&1`
  const free = tool('Bash', { command: `cd /workspace; ${command}`, dangerouslyDisableSandbox: true, timeout: 100_000 })
  const turn = await berth.runTurn(id, ['Do', free])
  const said = textOf(onlyOf(turn, 'agent.tool_result').content)
  expect(said).toMatch(/Could not resolve host/)
  expect(said).not.toMatch(/page of|cloned/)
  expect([traps.hits, dns.asked.slice(asked), refusedHost.connections()]).toEqual([[], [], 0])
}, 120_000)

test('another session’s password is none, and its decisions are not to be seen by another key', async () => {
  const { environment_id } = await berth.client.beta.sessions.retrieve(id)
  const { id: other } = await berth.createSession({ environment_id })
  const turn = await berth.runTurn(other, ['Say', tool('Bash', { command: 'echo $HTTPS_PROXY' })])
  const foreign = /berth:([^@]+)@/.exec(textOf(onlyOf(turn, 'agent.tool_result').content))?.[1]
  const found = await shell(
    `echo $HTTPS_PROXY; curl -sS --cacert ca.pem --proxy http://berth:${foreign}@127.0.0.1:\${HTTPS_PROXY##*:} https://allowed.test/page 2>&1`,
  )
  expect(found).not.toContain(foreign)
  expect(found).toMatch(/response 407/)
  expect((await berth.fetch('/berth/v1/sessions/sesn_nobody/egress')).status).toBe(404)
})

test('the ways out of a session that is over are closed, however that came about', async () => {
  const gateway = openGatewayClient(controlSocket(join(berth.dir, 'gateway')))
  const { id: over } = await berth.createSession()
  await berth.client.beta.sessions.delete(over)
  // As a server leaves it that was killed before it could tell the gateway.
  const route = await makeRoute(await mkdtemp(join(berth.dir, 'over-')), 'a')
  await gateway.route(over, route)
  expect(await gateway.sessions()).toContain(over)
  await waitUntil('it is closed', async () => !(await gateway.sessions()).includes(over))
  await expect(stat(route.socket_path)).rejects.toThrow('ENOENT')
  expect(await gateway.sessions()).toContain(id)
})

/** With what stands for the secret, and nothing said about authorities. */
const boundPrograms: Readonly<Record<string, [command: string, success: string]>> = {
  curl: [`curl -sS -H "Authorization: Bearer $TOKEN" https://bound.test/page`, 'page of bound.test'],
  git: [`rm -rf c; git clone -q https://agent:$TOKEN@bound.test/repository.git c; cat c/file`, 'cloned'],
  npm: [
    `npm view thing version --registry https://bound.test/ --//bound.test/:_authToken=$TOKEN --fetch-retries 0`,
    '1.2.3',
  ],
  pip: [
    `rm -rf p; /usr/bin/python3 -m pip download --no-deps --retries 0 -i https://agent:$TOKEN@bound.test/simple/ -d p thing >p.log 2>&1; ls p/*.whl`,
    'thing-1.0-py3-none-any.whl',
  ],
  fetch: [
    `/opt/berth/node -e "fetch('https://bound.test/page', { headers: { authorization: 'Bearer ' + process.env.TOKEN } }).then((page) => page.text()).then(console.log)"`,
    'page of bound.test',
  ],
  websocket: [
    `/opt/berth/node -e "const socket = new WebSocket('wss://bound.test/', { headers: { authorization: 'Bearer ' + process.env.TOKEN } })
socket.onopen = () => socket.send('hello')
socket.onmessage = ({ data }) => { console.log(data); process.exit() }
socket.onerror = () => { console.log('no socket'); process.exit() }"`,
    'echo hello',
  ],
}

test('programs use a secret that they do not have, at its host alone, without being configured', async () => {
  const header = '-H "Authorization: Bearer $TOKEN"'
  const plain = `curl -sS -o page -w '%{http_code}' --cacert ca.pem ${header} https://bound.test/page`
  // As long as nobody has given it one, it is a word like any other.
  expect(await shell(`TOKEN=word ${plain}`)).toContain('401')
  const networking = { type: 'limited' as const, allowed_hosts: ['bound.test'] }
  const auth = { type: 'environment_variable' as const, secret_name: 'TOKEN', secret_value: secret, networking }
  await berth.client.beta.vaults.credentials.create(vault_id, { auth })
  const script = Object.values(boundPrograms).map(([command]) => `${command} 2>&1; echo @@@`)
  const said = (await shell(script.join('\n'))).split('@@@')
  for (const [index, [name, [, success]]] of Object.entries(boundPrograms).entries())
    expect(`${name}: ${said[index]}`).toContain(success)
  const [atHost = '', atOther = '', inside = ''] = (
    await shell(`curl -sS ${header} https://bound.test/said; echo @@@
    curl -sS --cacert ca.pem ${header} https://allowed.test/said; echo @@@
    grep -c 'BEGIN CERT' $CURL_CA_BUNDLE; grep -c 'PRIVATE' $CURL_CA_BUNDLE; grep -rl 'canary-[5]f0c' /workspace "$HOME" /tmp /run/berth 2>/dev/null; env`)
  ).split('@@@')
  const placeholder = /^TOKEN=(berth-placeholder-.*)$/m.exec(inside)?.[1] ?? 'none'
  expect(atHost).toContain(`Bearer ${placeholder}`)
  expect(atOther).toContain(`Bearer ${placeholder}`)
  expect(inside).toMatch(/^\s*\d{2,}\s+0\s/)
  expect([...said, atHost, atOther, inside].join()).not.toContain(secret)
  const { data } = await decisions('?limit=1000')
  const used = data.filter(({ credentials }) => credentials.length > 0)
  expect(new Set(used.map(({ protocol, host, credentials }) => `${protocol} ${host} ${credentials.join()}`))).toEqual(
    new Set(['tls bound.test TOKEN']),
  )
  expect(used.length).toBeGreaterThanOrEqual(Object.keys(boundPrograms).length)
}, 240_000)

test('while the gateway is down nothing leaves, and afterwards the policy is the same', async () => {
  const sandbox = await SessionSandbox.of(berth.traces, id)
  expect((await sandbox.processes()).length).toBeGreaterThan(2)
  // The loop is at work in the sandbox while the gateway dies and comes back.
  const look = `curl -sS -m 2 -o /dev/null -w '%{http_code} ' --cacert ca.pem https://allowed.test/page https://refused.test/ 2>/dev/null`
  const turn = shell(`until [ -e over ]; do ${look}; sleep 0.1; done; ${look}`)
  const getsThrough = async (when: string): Promise<void> => {
    const last = (await decisions('?limit=1')).data[0]?.id ?? 0
    await waitUntil(`the loop gets through ${when}`, async () =>
      (await decisions()).data.some(({ id: one, decision }) => one > last && decision === 'allow'),
    )
  }
  await getsThrough('before')
  await berth.traces.replaceGateway()
  await getsThrough('again')
  await sandbox.make('/workspace/over')
  const codes = (await turn).trim().split(' ')
  expect(codes).toContain('200')
  expect(codes.at(-2)).toBe('200')
  expect(refusedHost.connections()).toBe(0)
}, 120_000)
