/** Does one synchronous step with these as the effective ids of the runner, which is root. */
export function actingAs<Result>(uid: number, gid: number, step: () => Result): Result {
  if (process.seteuid === undefined || process.setegid === undefined) throw new Error('this system has no uids')
  process.setegid(gid)
  process.seteuid(uid)
  try {
    return step()
  } finally {
    process.seteuid(0)
    process.setegid(0)
  }
}
