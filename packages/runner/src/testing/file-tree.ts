import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ArchiveLimits, ArchiveRequest, ArchiveRoot } from '@berth/protocol/archive'
import { setTimeout as delay } from 'node:timers/promises'
import { keepable } from '../archiver/file-time.ts'
import { CLOCK_STEP_NS } from '../archiver/save.ts'

export const isRoot = process.getuid?.() === 0
let uids = 200_000 + (process.pid % 40_000) * 20

export const wide: ArchiveLimits = { bytes: 2 ** 40, entries: 1_000_000, depth: 1_000, seconds: 300 }

/** A session's directories: as many roots as asked for, under a uid of their own. */
export class TestTree implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'ba-'))
  readonly uid = uids++
  readonly roots: ArchiveRoot[]

  constructor(names: readonly string[] = ['workspace'], exclude: readonly string[] = []) {
    chmodSync(this.dir, 0o755)
    this.roots = names.map((name) => ({ name, path: join(this.dir, name), exclude: [...exclude] }))
    for (const { path } of this.roots) {
      mkdirSync(path)
      if (isRoot) chownSync(path, this.uid, this.uid)
    }
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts)
  }

  saving(limits: Partial<ArchiveLimits> = {}): ArchiveRequest & { type: 'save' } {
    return { type: 'save', roots: this.roots, limits: { ...wide, ...limits } }
  }

  restoring(limits: Partial<ArchiveLimits> = {}): ArchiveRequest & { type: 'restore' } {
    return { type: 'restore', roots: this.roots, limits: { ...wide, ...limits } }
  }

  /** Everything that is to be the same after a restore, one line per entry. */
  look(): string[] {
    const inodes = new Map<bigint, string>()
    return this.roots.flatMap(({ name, path }) => [
      describe(path, name, inodes),
      ...lookInto(Buffer.from(path), name, inodes),
    ])
  }

  [Symbol.dispose](): void {
    // Goes deeper than a path can be long.
    execFileSync('rm', ['-rf', this.dir])
  }
}

/** Resolves when a walk remembers what was changed until now: it is no longer new to the clocks of file systems. */
export async function untilSteady(): Promise<void> {
  const steadyFrom = BigInt(Date.now()) * 1_000_000n + CLOCK_STEP_NS
  while (BigInt(Date.now()) * 1_000_000n <= steadyFrom) await delay(5)
}

/** Gives everything to the session, as if its own processes had made it. */
export function giveAway(path: string | Buffer, uid: number): void {
  if (isRoot) lchownSync(path, uid, uid)
  if (!lstatSync(path).isDirectory()) return
  for (const name of readdirSync(path, { encoding: 'buffer' }))
    giveAway(Buffer.concat([Buffer.from(path), Buffer.from('/'), name]), uid)
}

function lookInto(directory: Buffer, shown: string, inodes: Map<bigint, string>): string[] {
  return readdirSync(directory, { encoding: 'buffer' })
    .toSorted((one, other) => Buffer.compare(one, other))
    .flatMap((name) => {
      const path = Buffer.concat([directory, Buffer.from('/'), name])
      const line = describe(path, `${shown}/${name.toString('latin1')}`, inodes)
      return lstatSync(path).isDirectory()
        ? [line, ...lookInto(path, `${shown}/${name.toString('latin1')}`, inodes)]
        : [line]
    })
}

function describe(path: string | Buffer, shown: string, inodes: Map<bigint, string>): string {
  const stats = lstatSync(path, { bigint: true })
  const line = `${shown} ${stats.mode.toString(8)} ${stats.uid} ${keepable(stats.mtimeNs)}`
  if (stats.isSymbolicLink()) return `${line} -> ${readlinkSync(path, 'latin1')}`
  if (!stats.isFile()) return line
  const first = inodes.get(stats.ino) ?? shown
  inodes.set(stats.ino, first)
  return `${line} ${stats.size} ${stats.blocks} ${hash('sha256', readFileSync(path))} ${stats.nlink} = ${first}`
}
