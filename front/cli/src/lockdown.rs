//! What the host lets the server do once a driver may run: nothing but to compute, to serve what is open, to reach the
//! directories that are volumes, and to end.
//!
//! Room: front/cli. Called by: `server`, once, before DriverEntry. Calls: landlock, seccompiler.
//! House rule 10: this protects the host from a loaded driver by the kernel's means; it claims no more. What the kernel
//! lacks is said in the report, not passed over.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// System calls on memory, threads, signals, clocks and descriptors that are open already. Nothing here opens, connects,
/// starts a program, or names another process; every other call fails with EPERM.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_futex,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_arch_prctl,
    libc::SYS_prctl,
    libc::SYS_membarrier,
    libc::SYS_prlimit64,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_tgkill,
];

/// System calls of a volume that is a directory of the host. Which paths they reach is the path filter's to say.
const ALLOWED_ON_DIRECTORIES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_fstatfs,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fcntl,
    libc::SYS_utimensat,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_setxattr,
    libc::SYS_removexattr,
];

/// Locks this process down, but for the directories that are volumes, and says what is in force.
pub(crate) fn apply(directories: &[PathBuf]) -> Vec<String> {
    vec![paths(directories), calls(directories)]
}

/// No path of the host can be opened any more, but what lies in the directories.
fn paths(directories: &[PathBuf]) -> String {
    let names: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    let what = if names.is_empty() { "no paths".to_owned() } else { format!("no paths but {}", names.join(", ")) };
    match confine(directories) {
        Ok(RulesetStatus::FullyEnforced) => format!("landlock: {what}"),
        Ok(RulesetStatus::PartiallyEnforced) => format!("landlock: {what}, as far as this kernel knows it"),
        Ok(RulesetStatus::NotEnforced) => "landlock: not in this kernel".into(),
        Err(error) => format!("landlock: refused ({error})"),
    }
}

fn confine(directories: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let all = AccessFs::from_all(ABI::V5);
    // A program or a device of the host is none of a volume's files.
    let on_volumes = all & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let mut ruleset = Ruleset::default().handle_access(all)?.create()?;
    for directory in directories {
        // One that is gone by now needs no permission.
        if let Ok(open) = PathFd::new(Path::new(directory)) {
            ruleset = ruleset.add_rule(PathBeneath::new(open, on_volumes))?;
        }
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// No new privileges, and the lists above.
fn calls(directories: &[PathBuf]) -> String {
    let more = if directories.is_empty() { &[][..] } else { ALLOWED_ON_DIRECTORIES };
    let rules: BTreeMap<i64, Vec<_>> = ALLOWED.iter().chain(more).map(|&call| (call, Vec::new())).collect();
    let count = rules.len();
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, TargetArch::x86_64);
    let program = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string());
    match program.and_then(|program| seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string()))
    {
        Ok(()) => format!("no new privileges; {count} system calls"),
        Err(error) => format!("system calls: not filtered ({error})"),
    }
}
