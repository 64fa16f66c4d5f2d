import { describe, it } from 'vitest'
import { describeSandboxDriver } from '../conformance/index.ts'
import { ociUnderTest } from './oci-under-test.ts'
import { isExecutable } from './runtime.ts'

const root = process.getuid?.() === 0

if (root && (await isExecutable('/usr/bin/crun'))) describeSandboxDriver('oci with crun', ociUnderTest('crun'))
else describe.skip('sandbox driver oci with crun (needs root and crun)', () => it.skip('all', () => {}))

if (root && (await isExecutable('/usr/sbin/runc'))) describeSandboxDriver('oci with runc', ociUnderTest('runc'))
else describe.skip('sandbox driver oci with runc (needs root and runc)', () => it.skip('all', () => {}))
