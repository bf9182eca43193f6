//! The cache's working set: clean pages of open files go when a documented limit is passed, dirty and lent ones stay.
mod support;

use nt_abi::NtStatus;
use support::*;

const CHUNK: usize = 64 << 10;

fn chunk(number: usize) -> Vec<u8> {
    (0..CHUNK).map(|at| (at / 7 + number * 31) as u8).collect()
}

#[test]
fn clean_pages_of_open_files_go_when_the_working_set_is_full_and_come_back_as_they_were() {
    let world = World::new();
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let (one, two) = (world.sync_file("one"), world.sync_file("two"));
    let chunks = 96; // 6 MiB each: views of 64 KiB, 960 KiB and then 1 MiB
    for number in 0..chunks {
        let at = Some((number * CHUNK) as i64);
        assert_eq!((one.write(&chunk(number), at), two.write(&chunk(number + 100), at)).0, success(CHUNK as u64));
    }
    let all = manager.cached_pages();
    assert!(all >= 2 * chunks * CHUNK / 4096, "{all} pages");
    // Dirty pages stay, however small the limit.
    let limit = 1024;
    manager.set_working_set(limit);
    assert_eq!(one.read(CHUNK, Some(0)).1, chunk(0));
    // A round of the lazy writer may come between the write and the look; not each time.
    let stays = (0..1000).any(|_| {
        one.write(b"past the end", Some((chunks * CHUNK) as i64));
        let dirty = manager.dirty_pages();
        dirty != 0 && manager.cached_pages() >= dirty
    });
    assert!(stays, "what was just written is dirty, and cached");
    // Nor are pages clean while a round of its own is still at them.
    let clock = || world.kernel.clock.nanoseconds() / 1_000_000_000;
    let begun = clock();
    while manager.dirty_pages() != 0 {
        assert!(clock() - begun < 120, "{} pages are never written", manager.dirty_pages());
        manager.write_all();
    }
    // Clean ones go with the next transfers that bring pages in; what they held is read in again.
    for round in 0..3 {
        for number in (0..chunks).rev() {
            let (got_one, got_two) =
                (one.read(CHUNK, Some((number * CHUNK) as i64)), two.read(CHUNK, Some((number * CHUNK) as i64)));
            assert_eq!((got_one.0, got_two.0), (success(CHUNK as u64), success(CHUNK as u64)), "{round} {number}");
            assert!(got_one.1 == chunk(number) && got_two.1 == chunk(number + 100), "{round} {number}");
        }
        one.write(format!("round {round}").as_bytes(), Some((chunks * CHUNK) as i64 + 100 + round));
        manager.write_all();
    }
    let left = manager.cached_pages();
    assert!(left <= limit + 256, "{left} pages of {all} stay: the limit, and the view that the last transfer made");
    // One transfer larger than the whole set ends all the same, and leaves the set as it should be.
    manager.set_working_set(64);
    let (done, bytes) = one.read(chunks * CHUNK, Some(0));
    assert_eq!(done, success((chunks * CHUNK) as u64));
    assert!(bytes.chunks(CHUNK).enumerate().all(|(number, got)| got == chunk(number)));
    let (_, _again) = two.read(CHUNK, Some(0));
    assert!(manager.cached_pages() <= all / 2, "{}", manager.cached_pages());
    assert_eq!(one.write(b"x", Some(5)).returned, NtStatus::SUCCESS);
}
