//! Threads that use the same few handles while others of them close those.

use crate::call::Call;
use crate::job::Random;
use crate::{CLOSING, spec};
use nt_abi::NtStatus;
use nt_ke::wait;
use nt_machine::Machine;
use nt_ob::Handle;
use nt_ps::Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const THREADS: usize = 16;

/// The handles that all of them use.
#[derive(Default)]
pub struct Handles([AtomicU64; 4]);

/// What a use of a handle that may be closed, or be another by now, returns.
const MAY: [NtStatus; 7] = [
    NtStatus::SUCCESS,
    NtStatus::PENDING,
    NtStatus::INVALID_HANDLE,
    NtStatus::CANCELLED,
    NtStatus::FILE_CLOSED,
    NtStatus::FILE_LOCK_CONFLICT,
    NtStatus::INVALID_PARAMETER, // an asynchronous one has no position
];

/// Returns how often a handle was used, and the calls whose requests may still be under way.
pub fn run(machine: &Machine, process: &Arc<Process>, handles: &Handles, seed: u64, rounds: u32) -> (u64, Vec<Call>) {
    let client = machine.client_of(process).expect("a thread");
    let mut random = Random::new(seed);
    let (mut uses, mut kept) = (0, Vec::new());
    for _ in 0..rounds {
        // Half of them are synchronous; those are not locked, because the one that waited could be the last to close.
        let at = random.below(4);
        let (slot, synchronous) = (&handles.0[at], at >= 2);
        let closes = random.below(3) == 0;
        client.call(|frame| {
            if closes {
                let options = if synchronous { 0x20 } else { 0 };
                let (fresh, _) = nt_io::create::nt_create_file(frame, &spec(CLOSING, options)).expect("an open");
                let old = slot.swap(fresh.0, Ordering::AcqRel);
                if old != 0 {
                    nt_io::event::close(frame, Handle(old)).expect("closed once");
                }
                return;
            }
            let handle = Handle(slot.load(Ordering::Acquire));
            let at = random.below(64) as i64 * 64;
            let call = Call::new(handle, at, &[random.below(256) as u8; 64]);
            let returned = match random.below(4) {
                0 => call.read(frame),
                1 if !synchronous => call.lock(frame, 8),
                _ => call.write(frame),
            };
            assert!(MAY.contains(&returned) || returned == NtStatus::END_OF_FILE, "{returned}");
            uses += 1;
            kept.push(call);
        });
    }
    // The last to leave would wait for locks that nobody lets go: the handles go first.
    client.call(|frame| {
        for slot in &handles.0 {
            let old = slot.swap(0, Ordering::AcqRel);
            if old != 0 {
                nt_io::event::close(frame, Handle(old)).expect("closed once");
            }
        }
        let _slept = wait::delay(frame, nt_ke::Mode::Kernel, false, -10_000);
        nt_io::cancel::thread_ends(frame);
    });
    (uses, kept)
}
