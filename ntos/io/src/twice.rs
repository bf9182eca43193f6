//! Where packets were completed, while the verifier is on: who completes one twice is told of both places.
//!
//! Room: ntos/io. Called by: `complete`. IRQL: <= DISPATCH_LEVEL. Locks: the list's own, never across a driver.
//! Source: IoCompleteRequest page, bug check 0x44 page; rule NT-M-09. A place is a stack: frames of this program, and return
//! addresses in driver images, which the loader finds and names ([`set_driver_stacks`]).

use crate::irp::{self, Irp};
use crate::system::System;
use nt_abi::NtStatus;
use nt_ke::Mutex;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// How many completions are remembered.
const REMEMBERED: usize = 4096;

/// Who knows driver images.
#[derive(Clone, Copy, Debug)]
pub struct DriverStacks {
    /// Return addresses in driver images on this thread's stack, innermost first.
    pub capture: fn() -> Vec<u64>,
    /// Names one of them.
    pub name: fn(u64) -> String,
}

static DRIVERS: OnceLock<DriverStacks> = OnceLock::new();

/// Registers who knows driver images, once for the process.
pub fn set_driver_stacks(stacks: DriverStacks) {
    let _there = DRIVERS.set(stacks);
}

/// A place in the program.
#[derive(Debug)]
struct Place {
    native: Backtrace,
    driver: Vec<u64>,
}

impl Place {
    fn here() -> Self {
        let driver = DRIVERS.get().map(|drivers| (drivers.capture)()).unwrap_or_default();
        Self { native: Backtrace::force_capture(), driver }
    }

    /// One line a frame: drivers' first, they are who did it.
    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(drivers) = DRIVERS.get() {
            for &address in &self.driver {
                let _ = writeln!(text, "  {}", (drivers.name)(address));
            }
        }
        if self.native.status() == BacktraceStatus::Captured {
            let _ = writeln!(text, "{}", self.native);
        }
        text
    }
}

/// The newest completions of a machine.
#[derive(Debug, Default)]
pub(crate) struct Completions(Mutex<VecDeque<(u64, Place)>>);

/// Remembers that a packet is completed here, if this machine's verifier is on.
#[cold]
pub(crate) fn remember(packet: Irp) {
    let frame = nt_ke::current();
    if !frame.kernel.verifying() {
        return;
    }
    let place = Place::here();
    let mut list = System::of(&frame.kernel).completions.0.lock();
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back((packet.addr(), place));
}

/// Bug check 0x44: the packet is complete already, or its status says that it is not.
///
/// # Panics
/// Always: nothing of the machine can be trusted any more.
#[cold]
pub(crate) fn bug_check(packet: Irp) -> ! {
    let frame = nt_ke::current();
    let system = System::of(&frame.kernel);
    let pending = irp::status(packet).status == NtStatus::PENDING;
    let mut text = format!("bug check 0x44 MULTIPLE_IRP_COMPLETE_REQUESTS: IRP {:#x}", packet.addr());
    if packet.get(nt_abi::io::IRP::CurrentLocation) <= packet.get(nt_abi::io::IRP::StackCount) && pending {
        let _ = write!(text, " was completed with STATUS_PENDING\n{}", Place::here().text());
    } else {
        let list = system.completions.0.lock();
        let first = list.iter().rev().find(|(address, _)| *address == packet.addr());
        let _ = match first {
            Some((_, place)) => write!(text, " was completed first at\n{}", place.text()),
            None => writeln!(text, " was completed before; with the verifier on it would be known where"),
        };
        let _ = write!(text, "and again at\n{}", Place::here().text());
    }
    system.finding("NT-M-09", "bugcheck", "", &text);
    panic!("{text}");
}
