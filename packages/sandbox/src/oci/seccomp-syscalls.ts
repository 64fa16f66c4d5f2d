import { words } from './words.ts'

/**
 * The system calls that programs in a sandbox may make, by what they are for. Whatever is not named here is refused: namespaces,
 * mounts, ptrace and reading another's memory, bpf, io_uring, userfaultfd, perf events, keyrings, kernel modules, kexec, clocks,
 * file handles, fanotify, vmsplice, NUMA policy and everything the kernel will grow later.
 */
export const allowedSyscalls = {
  files: words(`
    openat openat2 close close_range read readv pread64 preadv preadv2 write writev pwrite64 pwritev
    pwritev2 lseek fstat newfstatat statx faccessat faccessat2 getdents64 readlinkat truncate ftruncate
    fallocate fadvise64 readahead copy_file_range sendfile splice tee sync syncfs fsync fdatasync
    sync_file_range statfs fstatfs cachestat fcntl flock ioctl dup dup3 pipe2 umask getcwd chdir fchdir
  `),
  names: words(`
    mkdirat mknodat unlinkat linkat symlinkat renameat renameat2 utimensat fchmod fchmodat fchmodat2 fchown
    fchownat getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr
    removexattr lremovexattr fremovexattr inotify_init1 inotify_add_watch inotify_rm_watch
  `),
  waiting: words(`
    ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 signalfd4 nanosleep
    clock_nanosleep clock_gettime clock_getres gettimeofday getitimer setitimer times timer_create
    timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime
  `),
  memory: words(`
    brk mmap munmap mremap mprotect madvise mincore msync membarrier memfd_create mlock mlock2 munlock
    mlockall munlockall pkey_alloc pkey_free pkey_mprotect mseal
  `),
  processes: words(`
    execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal getpid
    getppid gettid getpgid setpgid getsid setsid set_tid_address set_robust_list get_robust_list rseq futex
    futex_waitv futex_wake futex_wait futex_requeue restart_syscall prctl getrandom
  `),
  signals: words(`
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigpending rt_sigtimedwait rt_sigqueueinfo
    rt_tgsigqueueinfo sigaltstack
  `),
  scheduling: words(`
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler
    sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval getpriority setpriority ioprio_get ioprio_set getcpu getrusage getrlimit
    sysinfo uname
  `),
  // Changing them takes capabilities over the user namespace, of which agents have none.
  identity: words(`
    getuid geteuid getgid getegid getgroups getresuid getresgid setfsuid setfsgid setuid setgid setreuid
    setregid setresuid setresgid setgroups capget capset
  `),
  // Which kinds of socket there are is decided by the rules for socket() itself.
  sockets: words(`
    bind listen accept accept4 connect shutdown getsockname getpeername sendto sendmsg sendmmsg recvfrom
    recvmsg recvmmsg getsockopt setsockopt
  `),
  ipc: words(`
    shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
  `),
  // By which a program gives up rights of its own.
  confinement: words('seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self'),
} satisfies Record<string, readonly string[]>

/** Older names of the above that only this architecture has. */
export const x64Syscalls = words(`
  open creat stat lstat access pipe dup2 fork vfork getdents mkdir rmdir link unlink symlink readlink rename
  chmod chown lchown mknod utime utimes futimesat poll select epoll_create epoll_wait inotify_init eventfd
  signalfd alarm pause time getpgrp arch_prctl
`)

/** Answered as by a kernel that does not have them, so that libc takes the older call, whose arguments can be judged. */
export const absentSyscalls = ['clone3']
