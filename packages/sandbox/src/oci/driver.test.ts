import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, until } from '../conformance/context.ts'
import { openOciDriver } from './driver.ts'
import { layout, parseDraft } from './layout.ts'
import { leftoversOf } from './leftovers.ts'
import { ociUnderTest } from './oci-under-test.ts'

const crun = ociUnderTest('crun')
const node = process.execPath
let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'oci-'))
})
afterEach(() => rm(dir, { recursive: true }))

describe('oci driver options', () => {
  it('refuses a state directory under which sockets could not be named', async () => {
    const stateDir = join(dir, 'a-rather-long-directory-name-indeed')
    const opened = openOciDriver({ stateDir, node, claude: node, runner: node, archiver: node })
    await expect(opened).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('too long'),
    })
  })

  it('refuses paths that a mount option cannot carry', async () => {
    const opened = openOciDriver({ stateDir: dir, node: 'node', claude: node, runner: node, archiver: node })
    await expect(opened).rejects.toMatchObject({ code: 'invalid_request', message: expect.stringContaining('node') })
  })

  it('says what is missing, in findings and at create, and takes nothing else instead', async () => {
    await using driver = await openOciDriver({
      stateDir: dir,
      runtime: '/no/runtime',
      node,
      claude: node,
      archiver: node,
      runner: '/no/runner',
    })
    const failed = (await driver.check()).filter((finding) => finding.level === 'fail')
    expect(failed.map((finding) => finding.what)).toEqual(['OCI runtime', 'runner'])
    const created = driver.create(new Bench(crun, { stateDir: dir, runner: node }, driver).spec())
    await expect(created).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('/no/runtime'),
    })
    expect(await leftoversOf(dir, [])).toEqual([])
  })

  it('reads the names of its own drafts, and no sandbox for one', () => {
    const maker = { pid: 12, start: '345', boot: 'b' }
    const name = layout('/s').draft('dead', 'sbx_1', maker).slice('/s/'.length)
    expect(parseDraft(name)).toEqual({ id: 'sbx_1', pid: 12, start: '345' })
    expect(parseDraft('sbx_1')).toBeUndefined()
  })
})

describe.skipIf(process.getuid?.() !== 0)('oci driver', () => {
  it('leaves nothing of a sandbox that could not start, and says why', async () => {
    await using bench = await Bench.open({
      ...crun,
      open: ({ stateDir }) =>
        openOciDriver({ stateDir, node, claude: node, archiver: node, runner: '/no/such/runner.mjs' }),
    })
    const created = bench.driver.create(bench.spec())
    await expect(created).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('/no/such/runner.mjs'),
    })
    expect(await bench.leftovers()).toEqual([])
  })

  it('bounds the log of a runner that never stops writing', async () => {
    const runner = join(dir, 'loud.mjs')
    await writeFile(
      runner,
      `const line = 'x'.repeat(999) + '\\n'; for (let n = 0; n < 4000; n++) process.stdout.write(line)
      process.stdout.write('the end'); setInterval(() => {}, 60_000)`,
    )
    await using bench = await Bench.open({ ...crun, open: (input) => crun.open({ ...input, runner }) })
    const ref = await bench.driver.create(bench.spec())
    const home = dirname(ref.runDir ?? '')
    await until(async () => (await readFile(join(home, 'runner.log'), 'utf8').catch(() => '')).endsWith('the end'))
    const sizes = await Promise.all(
      (await readdir(home))
        .filter((name) => name.startsWith('runner.log'))
        .map(async (name) => (await stat(join(home, name))).size),
    )
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(1.1 * 1024 * 1024)
  })

  it('is not ended by what its runner writes', async () => {
    const runner = join(dir, 'chatty.mjs')
    await writeFile(runner, `setInterval(() => process.stdout.write('tick '.repeat(20)), 100)`)
    await using bench = await Bench.open({ ...crun, open: (input) => crun.open({ ...input, runner }) })
    const ref = await bench.driver.create(bench.spec())
    const log = join(dirname(ref.runDir ?? ''), 'runner.log')
    // Some seconds of writing: the shim looks at the clock in between.
    const ended = async (): Promise<boolean> => (await bench.driver.get(ref.id))?.state !== 'running'
    await until(async () => (await ended()) || (await readFile(log, 'utf8').catch(() => '')).length > 8_000)
    expect(await ended()).toBe(false)
  })

  it('removes at opening what a driver that died was making or removing', async () => {
    const dead = { pid: 2 ** 22 - 1, start: '1', boot: 'b' }
    for (const kind of ['new', 'dead'] as const) await mkdir(layout(dir).draft(kind, 'sbx_1', dead))
    await using _driver = await openOciDriver({ stateDir: dir, node, claude: node, runner: node, archiver: node })
    expect(await leftoversOf(dir, [])).toEqual([])
  })

  it('takes an image as the root file system, with mount points it does not have and no names to resolve', async () => {
    const image = join(dir, 'image')
    await copyLibraries(node, image)
    await mkdir(join(image, 'etc'))
    await writeFile(join(image, 'etc/resolv.conf'), 'nameserver 192.0.2.1')
    await writeFile(join(image, 'marker'), 'of the image')
    await using bench = await Bench.open(crun)
    const authorities = ['-----BEGIN CERTIFICATE-----\nof the test\n-----END CERTIFICATE-----\n']
    await using sandbox = await bench.sandbox({ image, authorities })
    const seen = await sandbox.probe.agent(() => {
      const fs = process.getBuiltinModule('node:fs')
      const written = fs.existsSync('/usr/bin/bash')
      const trusted = fs.readFileSync('/etc/ssl/certs/ca-certificates.crt', 'utf8').includes('of the test')
      return [fs.readFileSync('/marker', 'utf8'), fs.readFileSync('/etc/resolv.conf', 'utf8'), written, trusted]
    })
    expect(seen).toEqual(['of the image', '', false, true])
    await expect(
      sandbox.probe.runner(() => process.getBuiltinModule('node:fs').writeFileSync('/x', '')),
    ).rejects.toThrow('EROFS')
    expect(await readdir(image)).not.toContain('workspace')
  })

  it('refuses an image that somebody else could change, or that is reached by a link', async () => {
    await using bench = await Bench.open(crun)
    const image = join(dir, 'open')
    await mkdir(image)
    await promisify(execFile)('chmod', ['777', image])
    const refused = { code: 'invalid_request', message: expect.stringContaining('owned by root') }
    await expect(bench.driver.create(bench.spec({ image }))).rejects.toMatchObject(refused)
    await promisify(execFile)('ln', ['-s', '/', join(dir, 'link')])
    await expect(bench.driver.create(bench.spec({ image: join(dir, 'link') }))).rejects.toMatchObject({
      code: 'invalid_request',
    })
  })
})

/** The smallest image in which a program runs: the libraries it is linked with. */
async function copyLibraries(program: string, image: string): Promise<void> {
  const { stdout } = await promisify(execFile)('ldd', [program])
  for (const [, path] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    if (path === undefined) continue
    await mkdir(join(image, dirname(path)), { recursive: true })
    await copyFile(path, join(image, path))
  }
}
