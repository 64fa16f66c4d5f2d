/**
 * What running saves and readers rely on, so that a collection beside them spares it. All of it is in memory: it is about what happens in
 * this process, which alone collects and saves in its data directory.
 */
export class Pins {
  readonly #trees = new Set<readonly string[]>()
  readonly #packs = new Map<string, number>()
  readonly #sweeps = new Set<Set<string>>()
  /** Packs that are being removed, or were while a save ran that may have heard of them before. */
  readonly #condemned = new Set<string>()
  #saves = 0

  /** Segments of trees that are read at present. */
  get trees(): Iterable<readonly string[]> {
    return this.#trees
  }

  /** Counts as a root of every collection that looks from now on. */
  holdTree(segments: readonly string[]): Disposable {
    // A list of its own: the same one may be held twice.
    const tree = [...segments]
    this.#trees.add(tree)
    return { [Symbol.dispose]: () => void this.#trees.delete(tree) }
  }

  startSave(): SavePins {
    this.#saves += 1
    return new SavePins({ pin: (pack) => this.#pin(pack), release: (packs) => this.#release(packs) })
  }

  /** From now on until it is disposed, `condemn` refuses every pack that was pinned at any time in between. */
  startSweep(): Disposable & { condemn(pack: string): boolean } {
    const spared = new Set(this.#packs.keys())
    this.#sweeps.add(spared)
    return {
      condemn: (pack) => {
        if (spared.has(pack)) return false
        this.#condemned.add(pack)
        return true
      },
      [Symbol.dispose]: () => {
        this.#sweeps.delete(spared)
        this.#forget()
      },
    }
  }

  #pin(pack: string): boolean {
    if (this.#condemned.has(pack)) return false
    this.#packs.set(pack, (this.#packs.get(pack) ?? 0) + 1)
    for (const spared of this.#sweeps) spared.add(pack)
    return true
  }

  #release(packs: Iterable<string>): void {
    for (const pack of packs) {
      const left = (this.#packs.get(pack) ?? 1) - 1
      if (left === 0) this.#packs.delete(pack)
      else this.#packs.set(pack, left)
    }
    this.#saves -= 1
    this.#forget()
  }

  #forget(): void {
    if (this.#saves === 0 && this.#sweeps.size === 0) this.#condemned.clear()
  }
}

interface Counters {
  pin(pack: string): boolean
  release(packs: Iterable<string>): void
}

/** The packs that one save relies on, until it is disposed. */
export class SavePins implements Disposable {
  readonly #counters: Counters
  readonly #packs = new Set<string>()

  constructor(counters: Counters) {
    this.#counters = counters
  }

  /** False: the pack is being removed and is as good as gone. */
  pin(pack: string): boolean {
    if (this.#packs.has(pack)) return true
    if (!this.#counters.pin(pack)) return false
    this.#packs.add(pack)
    return true
  }

  [Symbol.dispose](): void {
    this.#counters.release(this.#packs)
    this.#packs.clear()
  }
}
