//! 100,000 random operations and a reference, without a difference; NTIO_SEED gives another seed.

use nt_io::system::AsyncPolicy;
use nt_machine::{NtStatus, VolumeSpec};
use ntio_conformance::model::{self, Plan, ops, reference};

fn seed() -> u64 {
    std::env::var("NTIO_SEED").ok().and_then(|word| word.parse().ok()).unwrap_or(20_778)
}

fn holds(operations: u64, volume: VolumeSpec, policy: AsyncPolicy) {
    let plan = Plan { operations, seed: seed(), volume, policy };
    let met = model::run(&plan).unwrap_or_else(|text| panic!("{text}"));
    let done: u64 = met.values().sum();
    assert!(done > operations / 2, "{done} of {operations} operations found an open handle");
    for (name, status) in [
        ("open", NtStatus::SHARING_VIOLATION),
        ("open", NtStatus::DELETE_PENDING),
        ("write", NtStatus::SUCCESS),
        ("write", NtStatus::FILE_LOCK_CONFLICT),
        ("write", NtStatus::INVALID_PARAMETER),
        ("read", NtStatus::END_OF_FILE),
        ("read", NtStatus::FILE_LOCK_CONFLICT),
        ("rename", NtStatus::SUCCESS),
        ("rename", NtStatus::OBJECT_NAME_COLLISION),
        ("sparse", NtStatus::SUCCESS),
        ("zero", NtStatus::SUCCESS),
        ("zero", NtStatus::FILE_LOCK_CONFLICT),
        ("ranges", NtStatus::SUCCESS),
        ("lock", NtStatus::PENDING),
        ("lock", NtStatus::LOCK_NOT_GRANTED),
        ("unlock", NtStatus::SUCCESS),
        ("cancel", NtStatus::SUCCESS),
        ("delete", NtStatus::SUCCESS),
    ] {
        assert!(met.get(&(name, status.0)).is_some_and(|count| *count > 20), "{name} {status:?}: {met:?}");
    }
}

#[test]
fn the_ram_volume_does_what_the_reference_does() {
    holds(60_000, VolumeSpec::Ram { size: Some(256 << 20) }, AsyncPolicy::Pend);
}

#[test]
fn and_where_requests_end_in_the_call() {
    holds(20_000, VolumeSpec::Ram { size: Some(256 << 20) }, AsyncPolicy::Inline);
}

#[test]
fn the_dir_volume_does_too() {
    let folder = tempfile::tempdir().expect("a folder");
    holds(20_000, VolumeSpec::Dir { path: folder.path().to_owned() }, AsyncPolicy::Pend);
}

#[test]
fn and_where_its_requests_end_in_the_call() {
    let folder = tempfile::tempdir().expect("a folder");
    holds(20_000, VolumeSpec::Dir { path: folder.path().to_owned() }, AsyncPolicy::Inline);
}

#[test]
fn a_seed_gives_the_same_operations_again_and_every_kind_of_them() {
    let seed = model::episode_seed(7, 3);
    assert_eq!(model::operations(seed), model::operations(seed));
    assert_ne!(model::operations(seed), model::operations(model::episode_seed(7, 4)));
    let kinds: std::collections::BTreeSet<String> = (0..20)
        .flat_map(|episode| model::operations(model::episode_seed(seed, episode)))
        .map(|op| format!("{op:?}").split(' ').next().unwrap_or("").to_owned())
        .collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
}

#[test]
fn requests_wait_and_are_granted_and_cancelled_in_a_run() {
    let mut seen = [0; 4];
    for episode in 0..50 {
        let mut reference = reference::Reference::new(true);
        for op in model::operations(model::episode_seed(seed(), episode)) {
            reference.step(&op);
        }
        for slot in 0..ops::SLOTS {
            reference.step(&ops::Op::Close { slot });
        }
        for waiter in &reference.waiters {
            seen[*waiter as usize] += 1;
        }
    }
    assert!(seen[0] == 0 && seen[1..].iter().all(|count| *count > 5), "waiting, granted, cancelled, silent: {seen:?}");
}
