//! What the host lets the server do once a driver may run: nothing but to compute, to serve what is open, to reach the
//! directories that are volumes, and to end.
//!
//! Room: front/cli. Called by: `server`, once, before DriverEntry. Calls: landlock, seccompiler.
//! House rule 10: this protects the host from a loaded driver by the kernel's means; it claims no more. What the kernel
//! lacks is said in the report, not passed over.

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
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
    libc::SYS_memfd_create,
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

/// System calls of a volume that is a directory of the host. Which paths they open, make and remove is the path filter's to
/// say; of other files they can learn names and sizes. The path filter does not judge changes of owner, mode, times and
/// attributes: these go through with an open file, and else with the empty path only.
const ALLOWED_ON_DIRECTORIES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
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
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
];

/// The calls with an empty path: of their path the address can be judged, so it must be that of the one page that is
/// empty for good. utimensat may also have none.
const SYS_FCHMODAT2: i64 = 452;
const WITH_EMPTY_PATH: &[i64] = &[libc::SYS_fchownat, libc::SYS_utimensat, SYS_FCHMODAT2];

/// Locks this process down, but for the directories that are volumes, and says what is in force.
pub(crate) fn apply(directories: &[PathBuf]) -> Vec<String> {
    vec![paths(directories), calls(directories)]
}

/// No path of the host can be opened any more, but what lies in the directories.
fn paths(directories: &[PathBuf]) -> String {
    let names: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    let what = if names.is_empty() { "no paths".to_owned() } else { format!("no paths but {}", names.join(", ")) };
    // The path filter binds this thread and those that it starts.
    let others = std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1));
    let confined = confine(directories);
    if others != 0 && !directories.is_empty() {
        return format!("landlock: {others} thread(s) that were started before it are not bound");
    }
    match confined {
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

/// The rules for the calls that are let through: none means always.
fn rules(directories: &[PathBuf]) -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    if directories.is_empty() {
        return Ok(rules);
    }
    rules.extend(ALLOWED_ON_DIRECTORIES.iter().map(|&call| (call, Vec::new())));
    let path_at = |address: u64| {
        let condition = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, address);
        condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(|error| error.to_string())
    };
    rules.insert(libc::SYS_utimensat, vec![path_at(0)?]);
    if let Some(address) = nt_cell::hostfile::sealed_empty_path() {
        for &call in WITH_EMPTY_PATH {
            rules.entry(call).or_default().push(path_at(address)?);
        }
    }
    Ok(rules)
}

/// No new privileges, and the lists above.
fn calls(directories: &[PathBuf]) -> String {
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filtered = rules(directories).and_then(|rules| {
        let count = rules.len();
        let filter = SeccompFilter::new(rules, denied, SeccompAction::Allow, TargetArch::x86_64);
        let program = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())?;
        seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())?;
        Ok(count)
    });
    let links = match nt_cell::hostfile::sealed_empty_path() {
        None if !directories.is_empty() => "; owner and times of links stay (this kernel has no mseal)",
        _ => "",
    };
    match filtered {
        Ok(count) => format!("no new privileges; {count} system calls{links}"),
        Err(error) => format!("system calls: not filtered ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};

    const DIRECTORY: &str = "NTIO_TEST_LOCKED_DIRECTORY";

    fn denied<T>(done: std::io::Result<T>) -> bool {
        done.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    /// Runs in a process of its own, which can do little else afterwards.
    fn locked(inside: &Path) {
        let outside = inside.parent().expect("a parent").join("outside");
        let link = inside.join("link");
        let names = fs::File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(&link);
        let names = names.expect("a handle that names the link");
        std::thread::scope(|scope| {
            // The path filter binds a thread: the test's own.
            scope.spawn(|| {
                assert!(confine(&[inside.to_owned()]).is_ok_and(|status| status != RulesetStatus::NotEnforced));
                assert!(calls(&[inside.to_owned()]).starts_with("no new privileges"));
                fs::write(inside.join("new"), "x").expect("inside");
                assert_eq!(fs::read(inside.join("new")).expect("inside"), b"x");
                assert!(denied(fs::read(&outside)) && denied(fs::write(&outside, "y")));
                assert!(denied(fs::remove_file(&outside)) && fs::hard_link(&outside, inside.join("h")).is_err());
                assert!(denied(fs::set_permissions(&outside, fs::Permissions::from_mode(0o777))));
                assert!(denied(std::os::unix::fs::lchown(&outside, None, None)));
                assert!(denied(std::process::Command::new(inside.join("new")).status()));
                let file = fs::File::open(inside.join("new")).expect("inside");
                file.set_permissions(fs::Permissions::from_mode(0o600)).expect("an open file");
                if nt_cell::hostfile::sealed_empty_path().is_some() {
                    nt_cell::hostfile::set_times(names.as_fd(), None, Some((7, 0))).expect("by the empty path");
                    assert_eq!(fs::symlink_metadata(&link).expect("inside").mtime(), 7);
                }
            });
        });
    }

    #[test]
    fn nothing_outside_the_directory_can_be_opened_or_changed() {
        if let Some(inside) = std::env::var_os(DIRECTORY) {
            return locked(Path::new(&inside));
        }
        let base = tempfile::tempdir().expect("a directory");
        let inside = base.path().join("inside");
        fs::create_dir(&inside).expect("a directory");
        fs::write(base.path().join("outside"), "host").expect("a file");
        std::os::unix::fs::symlink("new", inside.join("link")).expect("a link");
        let name = "lockdown::tests::nothing_outside_the_directory_can_be_opened_or_changed";
        let child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, &inside)
            .output()
            .expect("a process");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        assert_eq!(fs::read(base.path().join("outside")).expect("untouched"), b"host");
    }
}
