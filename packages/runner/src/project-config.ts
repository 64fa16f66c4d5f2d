import type { SessionConfig } from '@berth/protocol/link'
import {
  closeSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { actingAs } from './acting-as.ts'
import { allowedSettings } from './allowed-settings.ts'
import { SessionFiles } from './session-files.ts'

const MAX_SETTINGS_BYTES = 256 * 1024
/** Entries of a directory that are looked at for changes. */
const MAX_ENTRIES = 256
const WRITABLE_BY_OTHERS = 0o022

const sources = { project: '.claude/settings.json', local: '.claude/settings.local.json' } as const
/** Texts for the model. What in them would run a command is the CLI's to leave alone. */
const linked = ['.claude/skills', '.claude/commands']
const watched = ['CLAUDE.md', 'CLAUDE.local.md', '.claude/CLAUDE.md', ...Object.values(sources)]

/**
 * What one CLI reads in place of the settings of its workspace: a directory of the runner's own with what of them is allowed. The agent can
 * change the workspace at any time, and this not. Instructions (`CLAUDE.md`) the CLI reads in the workspace itself.
 */
export class ProjectConfig implements Disposable {
  /** Undefined: nothing in the workspace configures the CLI. */
  readonly root: string | undefined
  readonly #config: SessionConfig
  readonly #uid: number | undefined
  readonly #state: string

  /** Throws when the directory cannot be made where no session may write. */
  constructor(config: SessionConfig, sameUid: boolean) {
    this.#config = config
    this.#uid = sameUid ? undefined : config.uid
    this.#state = this.#look()
    this.root = this.#isWanted ? this.#make() : undefined
  }

  /** Has what the CLI has read at its start been changed? */
  get isOutdated(): boolean {
    return this.#look() !== this.#state
  }

  [Symbol.dispose](): void {
    if (this.root !== undefined) rmSync(this.root, { recursive: true, force: true })
  }

  get #isWanted(): boolean {
    return (this.#config.setting_sources ?? []).length > 0
  }

  #make(): string {
    const { cwd, home, uid, setting_sources = [] } = this.#config
    const above = dirname(home)
    // The CLI also takes skills from the directories above.
    if (this.#uid !== undefined && (lstatSync(above).mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new Error(`${above} can be written by others: no place for what configures an agent`)
    }
    const root = join(above, `.project-${uid}`)
    rmSync(root, { recursive: true, force: true })
    mkdirSync(join(root, '.claude'), { recursive: true, mode: 0o755 })
    for (const source of setting_sources) {
      const path = sources[source]
      const allowed = allowedSettings(this.#read(path), this.#config)
      writeFileSync(join(root, path), JSON.stringify(allowed), { mode: 0o644 })
    }
    if (setting_sources.includes('project')) for (const path of linked) symlinkSync(join(cwd, path), join(root, path))
    return root
  }

  /** The text of a file in the workspace; empty where there is none, or one that is too long. */
  #read(path: string): string {
    const fd = new SessionFiles(this.#config.cwd, this.#uid).openToRead(path)
    if (fd === undefined) return ''
    try {
      const bytes = Buffer.alloc(MAX_SETTINGS_BYTES + 1)
      const length = readSync(fd, bytes)
      return length > MAX_SETTINGS_BYTES ? '' : bytes.toString('utf8', 0, length)
    } finally {
      closeSync(fd)
    }
  }

  /** Equal as long as nothing has changed. Follows links, as the CLI does, no further than the session could. */
  #look(): string {
    if (!this.#isWanted) return ''
    const { cwd } = this.#config
    const look = (): string => {
      const skills = entries(join(cwd, '.claude/skills')).map((name) => `.claude/skills/${name}/SKILL.md`)
      const texts = ['.claude/commands', '.claude/rules'].flatMap((dir) =>
        entries(join(cwd, dir)).map((name) => `${dir}/${name}`),
      )
      return JSON.stringify([...watched, ...skills, ...texts].map((path) => [path, stateOf(join(cwd, path))]))
    }
    return this.#uid === undefined ? look() : actingAs(this.#uid, this.#uid, look)
  }
}

function stateOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch {
    return ''
  }
}

/** Names of the first entries of a directory; none where there is no such directory. */
function entries(path: string): string[] {
  const names: string[] = []
  try {
    using dir = opendirSync(path)
    for (let entry = dir.readSync(); entry !== null && names.length < MAX_ENTRIES; entry = dir.readSync())
      names.push(entry.name)
  } catch {
    // It is not there, or not a directory.
  }
  return names.toSorted()
}
