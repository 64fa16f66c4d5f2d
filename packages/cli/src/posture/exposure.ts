import type { Finding } from '@berth/sandbox'
import { ok, warn } from '@berth/sandbox/finding'
import { settings } from '@berth/server/settings'
import type { StartConfig } from '../start.ts'
import type { InstallationName } from './names.ts'
import type { Running, RunningProcess } from './running.ts'

const LOOPBACK = /^(?:127(?:\.\d+){3}|\[::1\]|\[::ffff:7f[0-9a-f]{2}:[0-9a-f]+\]|localhost):\d+$/

/** Where the server can be called: a running one's sockets, else what it would be told. */
export function listening(config: Pick<StartConfig, 'host' | 'port' | 'ports'>, { server }: Running): Finding {
  const what: InstallationName = 'listening'
  const addresses = server === undefined ? wouldListen(config) : server.listens
  const from = server === undefined ? 'as configured; no server runs' : `process ${server.pid}`
  const open = addresses.filter((address) => !LOOPBACK.test(address))
  if (open.length === 0) return ok(what, `on loopback alone: ${addresses.join(', ')} (${from})`)
  return warn(
    what,
    `plain HTTP on ${open.join(', ')} (${from}): keys and conversations can be read on the way`,
    `listen on loopback behind a proxy that speaks TLS, and name its host in ${settings.allowedHosts.env}`,
  )
}

function wouldListen({ host, port, ports }: Pick<StartConfig, 'host' | 'port' | 'ports'>): string[] {
  const named = [{ host, port }, ...(ports?.listen === undefined ? [] : [ports.listen])]
  return named.map((one) => `${one.host.includes(':') ? `[${one.host}]` : one.host}:${one.port}`)
}

/** What sandboxes may reach beyond public hosts that their environments allow. */
export function waysOut(config: Pick<StartConfig, 'upstream'>, { gateway }: Running): Finding {
  const what: InstallationName = 'ways out'
  const env = gateway?.env ?? config.upstream
  const networks = env[settings.egressNetworks.env] ?? ''
  const from = sourceOf(gateway)
  const rule = `an environment of which nothing is said leads nowhere (${from})`
  if (networks === '')
    return ok(what, `to public hosts that an environment allows; private networks are closed; ${rule}`)
  const detail = `private networks are open to allowed names: ${networks}; ${rule}`
  return warn(what, detail, `empty ${settings.egressNetworks.env}, or list single addresses instead of networks`)
}

/** Whether the model's key travels in the clear. */
export function modelAddress(
  { model, upstream }: Pick<StartConfig, 'model' | 'upstream'>,
  { gateway }: Running,
): Finding {
  const what: InstallationName = 'model address'
  const env = gateway?.env ?? upstream
  const from = sourceOf(gateway)
  const base = env[settings.anthropicBaseUrl.env]
  if (env[settings.upstreamSocket.env] || (gateway === undefined && model === 'scripted')) {
    return ok(what, `a socket of this machine (${from})`)
  }
  const url = URL.parse(base ?? '')
  if (url === null)
    return warn(what, `cannot be told (${from})`, `set ${settings.anthropicBaseUrl.env} to a URL of https`)
  if (url.protocol === 'https:') return ok(what, `${url.origin} (${from})`)
  if (LOOPBACK.test(`${url.hostname}:0`)) return ok(what, `${url.origin}, on this machine (${from})`)
  return warn(
    what,
    `${url.origin} (${from}): the key and every conversation can be read on the way`,
    `set ${settings.anthropicBaseUrl.env} to a URL of https`,
  )
}

/** The model's key is in the gateway's memory: whether a crash would write it down. */
export function gatewayMemory({ gateway }: Running): Finding {
  const what: InstallationName = 'gateway memory'
  if (gateway === undefined) return ok(what, 'no gateway runs; it has the model’s key in memory alone')
  const detail = `process ${gateway.pid} has the model’s key in memory and in its environment`
  // With 1 the kernel gives no core to anybody; with 0 it gives one to a program that the host names, of which another finding tells.
  if (gateway.coreLimit === '1') return ok(what, `${detail}, and leaves no core dump`)
  if (gateway.coreLimit === '0') return ok(what, `${detail}, and writes no core file`)
  return warn(
    what,
    `${detail}; a crash may write it to a core dump`,
    'start berth serve with LimitCORE=1, or by prlimit --core=1',
  )
}

function sourceOf(gateway: RunningProcess | undefined): string {
  return gateway === undefined ? 'as configured; no gateway runs' : `process ${gateway.pid}`
}
