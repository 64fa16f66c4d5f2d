import { readdir, readFile, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'

/** A process of an installation that runs. */
export interface RunningProcess {
  readonly pid: number
  /** Addresses that it listens on by TCP, as `address:port`. */
  readonly listens: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Bytes of a core dump that it may leave. */
  readonly coreLimit: string
}

export interface Running {
  readonly server: RunningProcess | undefined
  readonly gateway: RunningProcess | undefined
}

/**
 * What runs on this data directory, told by the locks that are held open: what a server is really set to need not be what a command is
 * told later. Sees only processes of this user, or all of them as root.
 */
export async function findRunning(dataDir: string): Promise<Running> {
  const [server, gateway] = await Promise.all(
    ['server.lock', 'gateway/lock.db'].map((name) => realpath(join(dataDir, name)).catch(() => undefined)),
  )
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const holders = await Promise.all(pids.map(async (pid) => ({ pid, files: await openFiles(pid) })))
  const holderOf = (path: string | undefined): Promise<RunningProcess> | undefined => {
    const holder = holders.find(({ files }) => path !== undefined && files.includes(path))
    return holder === undefined ? undefined : describe(holder.pid, holder.files)
  }
  return { server: await holderOf(server), gateway: await holderOf(gateway) }
}

async function openFiles(pid: string): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`).catch(() => [])
  const links = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')))
  return links
}

async function describe(pid: string, files: readonly string[]): Promise<RunningProcess> {
  const read = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')
  const [tcp, tcp6, environ, limits] = await Promise.all(['net/tcp', 'net/tcp6', 'environ', 'limits'].map(read))
  const sockets = new Set(files.flatMap((file) => /^socket:\[(\d+)\]$/.exec(file)?.[1] ?? []))
  return {
    pid: Number(pid),
    listens: `${tcp ?? ''}\n${tcp6 ?? ''}`.split('\n').flatMap((line) => listener(line, sockets) ?? []),
    env: Object.fromEntries(
      (environ ?? '').split('\0').map((one) => [one.split('=', 1)[0] ?? '', one.slice(one.indexOf('=') + 1)]),
    ),
    coreLimit: /^Max core file size +(\S+)/m.exec(limits ?? '')?.[1] ?? 'unknown',
  }
}

const LISTEN = '0A'

/** A line of /proc/net/tcp or tcp6: number, local address, remote address, state, …, the socket's inode as the tenth. */
function listener(line: string, sockets: ReadonlySet<string>): string | undefined {
  const words = line.trim().split(/\s+/)
  const [address = '', port = ''] = words[1]?.split(':') ?? []
  if (words[3] !== LISTEN || !sockets.has(words[9] ?? '')) return undefined
  return `${address.length === 8 ? address4(address) : address6(address)}:${Number.parseInt(port, 16)}`
}

/** Words of four bytes, each in the order of this machine, which is the little end first. */
function address4(hex: string): string {
  return Buffer.from(hex, 'hex').toReversed().join('.')
}

function address6(hex: string): string {
  const words = (hex.match(/.{8}/g) ?? []).map((word) => Buffer.from(word, 'hex').toReversed())
  const bytes = Buffer.concat(words).toString('hex')
  const groups = (bytes.match(/.{4}/g) ?? []).map((group) => Number.parseInt(group, 16).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname
}
