//! Many threads on one file: synchronous and overlapped requests, locks that wait, cancels, closes under way, threads that
//! end with requests pended. Afterwards each byte is where it belongs, each request has ended once, and nothing is left.
//!
//! The small form runs with the other tests, the whole one by `cargo xtask accept threads`.

mod call;
mod closing;
mod job;

use job::{Job, Tally};
use nt_abi::NtStatus;
use nt_io::create::CreateSpec;
use nt_io::system::AsyncPolicy;
use nt_machine::{Machine, VolumeSpec};
use std::io::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Barrier};

const POLICIES: [AsyncPolicy; 4] = [AsyncPolicy::Inline, AsyncPolicy::Pend, AsyncPolicy::Worker, AsyncPolicy::Dispatch];

/// The file that all threads write to, each in a region of its own.
const SHARED: &str = "\\??\\C:\\shared";
/// The file that all threads append records to.
const RECORDS: &str = "\\??\\C:\\records";
/// The file whose ranges are locked.
const LOCKS: &str = "\\??\\C:\\locks";
/// The file whose handles are closed while others use them.
const CLOSING: &str = "\\??\\C:\\closing";

fn spec(name: &str, options: u32) -> CreateSpec {
    let name = name.encode_utf16().collect();
    // Opened if it exists, else created; everybody shares.
    CreateSpec { access: 0x0012_019F, name, share: 7, disposition: 3, options, ..CreateSpec::default() }
}

/// Four machines in turn, one for each way to complete; 64 threads of five processes in each.
fn run(seed: u64, rounds: u32) -> Tally {
    let mut all = Tally::default();
    for (number, policy) in POLICIES.into_iter().enumerate() {
        all.add(&one(seed + number as u64 * 1000, rounds, policy));
    }
    all
}

fn one(seed: u64, rounds: u32, policy: AsyncPolicy) -> Tally {
    let machine = Machine::builder()
        .volume(VolumeSpec::Ram { size: Some(256 << 20) })
        .completion(policy)
        .build()
        .expect("a machine");
    let processes: Vec<_> = (0..4).map(|_| machine.new_process("worker").expect("a process")).collect();
    let closer = machine.new_process("closer").expect("a process");
    let ids: Arc<Vec<AtomicU64>> = Arc::new((0..job::THREADS).map(|_| AtomicU64::new(0)).collect());
    let start = Barrier::new(job::THREADS + closing::THREADS);
    let handles = closing::Handles::default();
    let mut tally = Tally::default();
    let blocks = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..job::THREADS)
            .map(|number| {
                let (machine, process, ids, start) = (&machine, &processes[number % 4], Arc::clone(&ids), &start);
                scope.spawn(move || {
                    start.wait();
                    Job::new(number, seed, ids).run(machine, process, rounds)
                })
            })
            .collect();
        let closers: Vec<_> = (0..closing::THREADS)
            .map(|number| {
                let (machine, process, start, handles) = (&machine, &closer, &start, &handles);
                scope.spawn(move || {
                    start.wait();
                    closing::run(machine, process, handles, seed ^ (number as u64) << 32, rounds * 4)
                })
            })
            .collect();
        for job in jobs {
            tally.add(&job.join().expect("a job"));
        }
        // What pended requests of closed handles still may write to lives until the machine is gone.
        let ended = closers.into_iter().map(|closer| closer.join().expect("a closer"));
        let mut blocks = Vec::new();
        for (uses, kept) in ended {
            tally.closed_under += uses;
            blocks.extend(kept);
        }
        blocks
    });
    let reader = machine.process("reader").expect("a process");
    records(&reader, &tally);
    drop(reader);
    for process in processes.iter().chain([&closer]) {
        machine.end_process(process);
    }
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{policy:?}: {leaks:?}");
    drop(blocks);
    tally
}

/// The file of records holds each appended one once, whole.
fn records(reader: &nt_machine::client::Client, tally: &Tally) {
    let (handle, _) = reader.create(&spec(RECORDS, 0x20)).expect("an open");
    let mut bytes = vec![0; tally.appended as usize * job::RECORD];
    assert_eq!(reader.read(handle, Some(0), &mut bytes), Ok(bytes.len()));
    let mut more = [0];
    assert_eq!(reader.read(handle, Some(bytes.len() as i64), &mut more), Err(NtStatus::END_OF_FILE.error()));
    let mut seen = std::collections::HashSet::new();
    for record in bytes.chunks(job::RECORD) {
        assert!(record.chunks(8).all(|word| word == &record[..8]), "a torn record");
        assert!(seen.insert(record[..8].to_vec()), "a record twice");
    }
    reader.close(handle).expect("open");
}

#[test]
fn sixty_four_threads_on_one_file_leave_nothing_behind() {
    let tally = run(1, 12);
    assert!(tally.overlapped > 1000 && tally.cancelled > 10 && tally.closed_under > 100, "{tally:?}");
}

#[test]
#[ignore = "minutes; `cargo xtask accept threads` runs it"]
fn the_whole_form() {
    let seed = std::env::var("NTIO_SEED").map_or(1, |word| word.parse().expect("a number"));
    let begun = std::time::SystemTime::now();
    let mut all = Tally::default();
    let mut turns = 0_u64;
    while begun.elapsed().is_ok_and(|since| since.as_secs() < 300) {
        all.add(&run(seed + turns * 10_000, 200));
        turns += 1;
    }
    let mut out = std::io::stdout();
    writeln!(out, "FIGURES seed {seed}; {turns} turns of 4 machines with 64 threads: {all}")
        .expect("a standard output");
}
