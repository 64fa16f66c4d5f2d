/** Exit codes of every command. */
export const exit = {
  ok: 0,
  /** The command was understood and failed. */
  failure: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** The session waits for somebody's answer, and there is nobody to ask. */
  waiting: 3,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const

export type ExitCode = (typeof exit)[keyof typeof exit]

/** A failure that the user is told about in one message, without a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: ExitCode

  constructor(message: string, exitCode: ExitCode = exit.failure) {
    super(message)
    this.exitCode = exitCode
  }
}
