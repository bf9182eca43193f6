//! KsWriteFile and KsStreamIo when the pool is empty; a test binary of its own, because the pool belongs to the process.
mod device;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use device::*;
use nt_abi::NtStatus;
use nt_ks::completion::Routine;
use nt_ks::streamio::StreamRequest;
use nt_ob::object;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use stream::*;
use support::*;

/// Two tests that empty the pool would fail each other.
static POOL: std::sync::LazyLock<nt_ke::Mutex<()>> = std::sync::LazyLock::new(nt_ke::Mutex::default);

/// One test at a time, each in a thread that is gone when the next begins: what a thread keeps of the pool for itself comes back
/// as it ends.
fn alone(body: fn()) {
    let _one_at_a_time = POOL.lock();
    std::thread::spawn(body).join().expect("the test holds");
}

#[test]
fn ks_w_28_no_memory_for_the_packet_sends_nothing_and_keeps_the_counts() {
    alone(packet);
}

fn packet() {
    let world = World::new();
    let target = Target::answering(&world, SYNC, NtStatus::SUCCESS, 8);
    let event = event_object(&world, true);
    let counts = || (object::pointer_count(*target.file), object::pointer_count(*event));
    let before = counts();
    let request = nt_ks::clientio::Transfer { event: Some(*event), ..target.request() };
    let status = pool::without_memory(|| target.go(&request));
    assert_eq!((status, target.came()), (NtStatus::INSUFFICIENT_RESOURCES, vec![]));
    assert_eq!(counts(), before);
    assert_eq!(target.go(&request), NtStatus::SUCCESS, "with memory it works");
}

#[test]
fn ks_s_28_no_memory_for_the_packet_sends_nothing_and_keeps_the_counts() {
    alone(stream);
}

fn stream() {
    let world = World::new();
    let stream = Stream::new(&world, Kind::answering(NtStatus::SUCCESS, 8));
    let event = event_object(&world, true);
    let counts = || (object::pointer_count(*stream.file), object::pointer_count(*event));
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let routine = Routine::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        NtStatus::SUCCESS
    });
    let completion = Some(routine.completion(7));
    let (before, request) = (counts(), StreamRequest { event: Some(*event), completion, ..stream.request() });
    let status = pool::without_memory(|| stream.go(&request));
    assert_eq!((status, stream.came()), (NtStatus::INSUFFICIENT_RESOURCES, vec![]));
    assert!(stream.untouched() && counts() == before && calls.load(Ordering::SeqCst) == 0);
    assert_eq!(stream.go(&request), NtStatus::SUCCESS, "with memory it works");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
