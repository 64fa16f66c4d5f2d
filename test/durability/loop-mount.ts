/** A small ext4 of its own, which can be cut off as if the power had failed. Needs root. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the disk, not even what the journal was about to keep. */
const shutDown = `open(my $d, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); ioctl($d, 0x8004587D, $how) or die $!`

export class LoopMount implements Disposable {
  readonly path: string
  readonly #dir: string
  readonly #image: string
  #isMounted = false

  constructor(bytes: number) {
    this.#dir = mkdtempSync(join(tmpdir(), 'berth-loop-'))
    this.#image = join(this.#dir, 'image')
    this.path = join(this.#dir, 'fs')
    execFileSync('mkdir', [this.path])
    writeFileSync(this.#image, '')
    truncateSync(this.#image, bytes)
    execFileSync('mkfs.ext4', ['-q', '-m', '0', this.#image], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })
    this.mount()
  }

  mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#image, this.path])
    this.#isMounted = true
  }

  cutPower(): void {
    execFileSync('perl', ['-e', shutDown, this.path])
  }

  /** After a cut, when nobody has a file open there any more: what is on the disk is mounted again. */
  restore(): void {
    // A copy: where a namespace that was made meanwhile still holds the mount, the image itself would show the dead file system.
    const copy = `${this.#image}.copy`
    execFileSync('cp', ['--sparse=always', this.#image, copy])
    this.#unmount()
    renameSync(copy, this.#image)
    this.mount()
  }

  #unmount(): void {
    execFileSync('umount', [this.path])
    this.#isMounted = false
  }

  [Symbol.dispose](): void {
    if (this.#isMounted) this.#unmount()
    rmSync(this.#dir, { recursive: true })
  }
}

export const isRoot = process.getuid?.() === 0
