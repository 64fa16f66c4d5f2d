/**
 * Stands in every sandbox's link and cuts it after a given number of bytes, in the middle of a frame as well. It takes the place of the
 * server's socket as soon as that is there; a runner that was quicker goes through it from its next connection on.
 */
import { once } from 'node:events'
import { chmodSync, chownSync, type FSWatcher, linkSync, renameSync, statSync, watch } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 10

class Wire {
  readonly #runner: Socket
  readonly #server: Socket
  #left = Number.POSITIVE_INFINITY

  constructor(runner: Socket, server: Socket) {
    this.#runner = runner
    this.#server = server
    this.#pass(runner, server)
    this.#pass(server, runner)
  }

  get isOpen(): boolean {
    return !this.#runner.destroyed && !this.#server.destroyed
  }

  cutAfter(bytes: number): void {
    this.#left = bytes
    if (bytes === 0) this.cut()
  }

  cut(): void {
    this.#runner.destroy()
    this.#server.destroy()
  }

  #pass(from: Socket, to: Socket): void {
    // The other end has gone; so does this one.
    from.on('error', () => undefined)
    from.on('close', () => to.destroy())
    from.on('data', (bytes) => {
      const part = bytes.subarray(0, this.#left)
      this.#left -= part.length
      if (!to.destroyed && !to.write(part)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
      if (this.#left <= 0) to.end(() => this.cut())
    })
  }
}

interface Standing {
  readonly listener: Server
  readonly watcher: FSWatcher
}

export class LinkCutter implements AsyncDisposable {
  readonly #stateDir: string
  readonly #standing = new Map<string, Standing>()
  readonly #wires = new Map<string, Wire>()
  readonly #stopping = new AbortController()
  readonly #looking: Promise<void>

  constructor(stateDir: string) {
    this.#stateDir = stateDir
    this.#looking = this.#look()
  }

  /** Answers false when there is no connection through here. */
  async cut(sandboxId: string, bytes: number, signal: AbortSignal): Promise<boolean> {
    const wire = this.#wires.get(sandboxId)
    if (wire?.isOpen !== true) return false
    wire.cutAfter(bytes)
    while (wire.isOpen && !signal.aborted) await sleep(LOOK_MS)
    wire.cut()
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#looking
    for (const wire of this.#wires.values()) wire.cut()
    for (const id of this.#standing.keys()) this.#leave(id)
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const names = await readdir(this.#stateDir)
      for (const id of names.filter((name) => name.startsWith('sbx_'))) {
        // Its directory is only just being made, or is gone again.
        if (!this.#standing.has(id)) await this.#stand(id).catch(() => undefined)
      }
      for (const id of this.#standing.keys()) if (!names.includes(id)) this.#leave(id)
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Stands ready before the server's socket is there; a server that starts again puts its own there again. */
  async #stand(id: string): Promise<void> {
    const dir = join(this.#stateDir, id, 'run', 'link')
    const [path, real, mine] = [join(dir, 'link.sock'), join(dir, 'real'), join(dir, 'mine')]
    const { uid, gid } = await stat(dir)
    const listener = createServer((runner) => void this.#wires.set(id, new Wire(runner, connect(real))))
    listener.listen(mine)
    await once(listener, 'listening')
    chmodSync(mine, 0o600)
    chownSync(mine, uid, gid)
    const { ino } = await stat(mine)
    // Without a pause: the runner looks at the same place.
    const takePlace = (): void => {
      const found = statSync(path, { throwIfNoEntry: false })
      if (found === undefined || found.ino === ino) return
      chownSync(mine, found.uid, found.gid)
      // It may be gone again by now: then another comes, or none.
      if (tryRename(path, real)) linkSync(mine, path)
    }
    const watcher = watch(dir, (_event, name) => {
      if (name === 'link.sock') takePlace()
    })
    this.#standing.set(id, { listener, watcher })
    takePlace()
  }

  #leave(id: string): void {
    const standing = this.#standing.get(id)
    standing?.watcher.close()
    standing?.listener.close()
    this.#standing.delete(id)
    this.#wires.delete(id)
  }
}

/** Answers false when there is nothing there. */
function tryRename(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}
