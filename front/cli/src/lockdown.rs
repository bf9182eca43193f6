//! What the host lets the server do once a driver may run: nothing but to compute, to serve what is open, and to end.
//!
//! Room: front/cli. Called by: `server`, once, before DriverEntry. Calls: landlock, seccompiler.
//! House rule 10: this protects the host from a loaded driver by the kernel's means; it claims no more. What the kernel
//! lacks is said in the report, not passed over.

use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;

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

/// Locks this process down and says what is in force.
pub(crate) fn apply() -> Vec<String> {
    vec![paths(), calls()]
}

/// No path of the host can be opened any more.
fn paths() -> String {
    let enforced = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.restrict_self());
    match enforced.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => "landlock: no paths".into(),
        Ok(RulesetStatus::PartiallyEnforced) => "landlock: no paths, as far as this kernel knows it".into(),
        Ok(RulesetStatus::NotEnforced) => "landlock: not in this kernel".into(),
        Err(error) => format!("landlock: refused ({error})"),
    }
}

/// No new privileges, and the list above.
fn calls() -> String {
    let rules: BTreeMap<i64, Vec<_>> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, TargetArch::x86_64);
    let program = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string());
    match program.and_then(|program| seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string()))
    {
        Ok(()) => format!("no new privileges; {} system calls", ALLOWED.len()),
        Err(error) => format!("system calls: not filtered ({error})"),
    }
}
