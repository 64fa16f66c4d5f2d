import { describe, expect, it } from 'vitest'
import { CLONE_NAMESPACES, seccompProfile } from './seccomp.ts'
import { absentSyscalls, allowedSyscalls, x64Syscalls } from './seccomp-syscalls.ts'
import { words } from './words.ts'

/** By each of these a program has once left, or spied on, or broken what should have held it. */
const never = words(`
  acct add_key adjtimex bpf chroot clock_adjtime clock_settime clone3 create_module delete_module fanotify_init finit_module fsconfig
  fsmount fsopen fspick get_kernel_syms get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl
  kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount
  move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open personality pidfd_getfd pivot_root process_madvise
  process_mrelease process_vm_readv process_vm_writev ptrace query_module quotactl reboot remap_file_pages request_key set_mempolicy
  setdomainname sethostname setns settimeofday socket socketcall socketpair swapoff swapon sysfs syslog umount umount2 unshare uselib
  userfaultfd ustat vhangup vm86 vm86old vmsplice clone
`)

const unconditional = (arch: string): string[] =>
  seccompProfile(arch)
    .syscalls.filter((rule) => rule.action === 'SCMP_ACT_ALLOW' && rule.args === undefined)
    .flatMap((rule) => [...rule.names])

describe('seccomp profile', () => {
  it('refuses what it does not name', () => {
    expect(seccompProfile('x64')).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1 })
  })

  it('knows the native architecture alone', () => {
    expect(seccompProfile('x64').architectures).toEqual(['SCMP_ARCH_X86_64'])
    expect(seccompProfile('arm64').architectures).toEqual(['SCMP_ARCH_AARCH64'])
    expect(() => seccompProfile('ia32')).toThrow('ia32')
  })

  it('allows none of the dangerous calls without a condition', () => {
    for (const arch of ['x64', 'arm64']) {
      const allowed = new Set(unconditional(arch))
      expect(never.filter((name) => allowed.has(name))).toEqual([])
    }
  })

  it('names every call once', () => {
    const all = [...Object.values(allowedSyscalls).flat(), ...x64Syscalls, ...absentSyscalls]
    expect(all.length).toBe(new Set(all).size)
    for (const name of all) expect(name).toMatch(/^[a-z0-9_]+$/)
  })

  it('judges clone by its namespace flags, and all of them', () => {
    const flags = [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
    expect(CLONE_NAMESPACES).toBe(flags.reduce((sum, flag) => sum + flag))
    const rules = seccompProfile('x64').syscalls.filter((rule) => rule.names.includes('clone'))
    expect(rules).toEqual([
      {
        names: ['clone'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: CLONE_NAMESPACES, valueTwo: 0 }],
      },
    ])
  })

  it('lists the socket families and protocols that there are', () => {
    const rules = seccompProfile('x64').syscalls.filter((rule) => rule.names.includes('socket'))
    const allowed = rules.map((rule) => rule.args?.map((arg) => [arg.index, arg.value]))
    expect(allowed).toEqual([
      [[0, 1]],
      ...[2, 10].flatMap((family) =>
        [0, 6, 17].map((protocol) => [
          [0, family],
          [2, protocol],
        ]),
      ),
      [
        [0, 16],
        [2, 0],
      ],
    ])
    for (const arg of rules.flatMap((rule) => rule.args ?? [])) expect(arg.op).toBe('SCMP_CMP_EQ')
  })

  it('uses no argument twice in one rule, which runtimes read as an alternative', () => {
    for (const { args = [] } of seccompProfile('arm64').syscalls) {
      expect(new Set(args.map((arg) => arg.index)).size).toBe(args.length)
    }
  })
})
