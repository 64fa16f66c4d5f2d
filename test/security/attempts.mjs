// What programs that try things in a sandbox have in common; lies beside them there.
import { connect } from 'node:net'

/** `ok`, or the code of the error. */
export function attempt(act) {
  try {
    act()
    return 'ok'
  } catch (error) {
    return error.code ?? String(error)
  }
}

/** The same of a connection; `timeout` after 3 s. */
export function dial(options) {
  return new Promise((resolve) => {
    const socket = connect(options)
    socket.setTimeout(3_000, () => resolve('timeout'))
    socket.once('connect', () => resolve('ok'))
    socket.once('error', (error) => resolve(error.code))
  })
}

/** Processes that are there and not ours, the runner among them; process 1 apart. */
export const theirs = Array.from({ length: 1_000 }, (_, index) => index + 2).filter(
  (pid) => attempt(() => process.kill(pid, 0)) === 'EPERM',
)

/** What comes of it with each of them; one that has ended meanwhile is none. */
export const toEach = (act) =>
  [...new Set(theirs.map((pid) => attempt(() => act(pid))))].filter((outcome) => outcome !== 'ESRCH').join()
