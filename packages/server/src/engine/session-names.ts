/** A session that began in a sandbox which was there before it is called otherwise in sandboxes than by its id. */
export class SessionNames {
  readonly #inside = new Map<string, string>()
  readonly #outside = new Map<string, string>()

  set(sessionId: string, name: string): void {
    this.#inside.set(sessionId, name)
    this.#outside.set(name, sessionId)
  }

  /** What the sandbox calls the session. */
  inside(sessionId: string): string {
    return this.#inside.get(sessionId) ?? sessionId
  }

  /** The session that the sandbox calls so. */
  outside(name: string): string {
    return this.#outside.get(name) ?? name
  }
}
