import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeOwnDirs } from './own-dirs.ts'
import { removeSession } from './session-removal.ts'

const isRoot = process.getuid?.() === 0
const [one, other] = [200_001 + (process.pid % 10_000) * 2, 200_002 + (process.pid % 10_000) * 2]
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'od-'))
  chmodSync(dir, 0o1777)
})
afterEach(() => rmSync(dir, { recursive: true }))

/** `ok`, or what the shell says, of a command under the uid. */
function asUid(uid: number, command: string): string {
  try {
    execFileSync('/bin/sh', ['-c', command], { uid, gid: uid, stdio: 'pipe', cwd: '/' })
    return 'ok'
  } catch (error) {
    return String(error)
  }
}

describe.runIf(isRoot)('a directory of a session', () => {
  test('is its own, with that mode; what is above is closed to all', () => {
    const dirs = [
      { path: join(dir, 'closed'), mode: 0o700 },
      { path: join(dir, 'open'), mode: 0o755 },
    ]
    makeOwnDirs(dirs, one)
    makeOwnDirs(dirs, one)
    for (const { path, mode } of dirs)
      expect(statSync(path)).toMatchObject({ uid: one, gid: one, mode: 0o40000 | mode })
    expect(statSync(dir).mode & 0o777).toBe(0o755)
    expect([process.geteuid?.(), process.getegid?.()]).toEqual([0, 0])
    expect(asUid(one, `echo x > ${dir}/closed/file && echo x > ${dir}/open/file`)).toBe('ok')
    expect(asUid(other, `cat ${dir}/open/file`)).toBe('ok')
    for (const refused of [
      `cat ${dir}/closed/file`,
      `echo y > ${dir}/open/file`,
      `rm -r ${dir}/open`,
      `mkdir ${dir}/mine`,
    ]) {
      expect(asUid(other, refused)).toContain('Permission denied')
    }
    expect(asUid(one, `mkdir ${dir}/second`)).toContain('Permission denied')
  })

  test('is not taken over from another, nor through a link', () => {
    makeOwnDirs([{ path: join(dir, 'a'), mode: 0o700 }], one)
    expect(() => makeOwnDirs([{ path: join(dir, 'a'), mode: 0o700 }], other)).toThrow('belongs to another user')
    symlinkSync(join(dir, 'a'), join(dir, 'b'))
    expect(() => makeOwnDirs([{ path: join(dir, 'b'), mode: 0o700 }], one)).toThrow('belongs to another user')
  })

  test('goes with all that is in it, and what others have stays', async () => {
    const dirs = [{ path: join(dir, 'a'), mode: 0o700 }]
    makeOwnDirs(dirs, one)
    mkdirSync(join(dir, 'b'))
    writeFileSync(join(dir, 'b/file'), 'x')
    expect(
      asUid(one, `mkdir -p ${dir}/a/x/y && echo x > ${dir}/a/x/y/z && chmod 0 ${dir}/a/x && ln -s ${dir}/b ${dir}/a/l`),
    ).toBe('ok')
    const stray = `/tmp/od-${one}`
    expect(asUid(one, `mkdir ${stray} && echo x > ${stray}/x && chmod 0 ${stray}`)).toBe('ok')
    await removeSession(one, dirs, AbortSignal.timeout(30_000))
    await removeSession(one, dirs, AbortSignal.timeout(30_000))
    expect(existsSync(join(dir, 'a'))).toBe(false)
    expect(existsSync(stray)).toBe(false)
    expect(existsSync(join(dir, 'b/file'))).toBe(true)
  })
})
