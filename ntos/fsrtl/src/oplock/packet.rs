//! The packets that oplocks keep: requests that are granted, operations that wait.
//!
//! Room: ntos/fsrtl. Called by: `oplock`. Calls: `nt_io`. Touches: IRPs, the output of FSCTL_REQUEST_OPLOCK. IRQL: <= APC_LEVEL;
//! the cancel routine at DISPATCH_LEVEL. Locks: the cancel lock, by the routine. Source: the pages of FSCTL_REQUEST_OPLOCK,
//! REQUEST_OPLOCK_INPUT_BUFFER and REQUEST_OPLOCK_OUTPUT_BUFFER; rules NT-OPL-01, NT-OPL-09, NT-OPL-11.

use super::kind::{Kind, Opening};
use nt_abi::io::{FILE_OPLOCK_BROKEN_TO_LEVEL_2, FILE_OPLOCK_BROKEN_TO_NONE, IRP};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::cancelable::{Keeper, routine_of, set_routine};
use nt_io::complete;
use nt_io::irp::{self, IoStatus, Irp};

const REQUEST_OPLOCK_CURRENT_VERSION: u16 = 1;
const REQUEST_OPLOCK_INPUT_FLAG_REQUEST: u32 = 1;
const REQUEST_OPLOCK_INPUT_FLAG_ACK: u32 = 2;
const REQUEST_OPLOCK_INPUT_FLAG_COMPLETE_ACK_ON_CLOSE: u32 = 4;
const REQUEST_OPLOCK_OUTPUT_FLAG_ACK_REQUIRED: u32 = 1;
const REQUEST_OPLOCK_OUTPUT_FLAG_MODES_PROVIDED: u32 = 2;
const INPUT: usize = 12;
const OUTPUT: usize = 0x18;

/// What is done with a packet once its status stands in it.
pub type End = Box<dyn FnOnce(Irp) + Send>;

/// A packet of FSCTL_*OPLOCK*, which the package ends.
pub struct Request {
    pub(super) irp: Irp,
    end: End,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "oplock request {:#x}", self.irp.addr())
    }
}

impl Request {
    /// A packet that is completed at its end.
    #[must_use]
    pub fn new(irp: Irp) -> Self {
        Self::ending(irp, Box::new(complete::complete_request))
    }

    /// A packet that somebody else takes on at its end.
    #[must_use]
    pub fn ending(irp: Irp, end: End) -> Self {
        Self { irp, end }
    }

    pub(super) fn finish(self, status: NtStatus, information: u64) -> NtStatus {
        irp::set_status(self.irp, IoStatus::new(status, information));
        (self.end)(self.irp);
        status
    }
}

/// REQUEST_OPLOCK_INPUT_BUFFER.
pub(super) enum Asked {
    Grant(Kind),
    Acknowledge { level: u32, at_close: bool },
}

/// Reads what FSCTL_REQUEST_OPLOCK asks for.
pub(super) fn asked(packet: Irp, input: u32, output: u32) -> NtResult<Asked> {
    let invalid = || NtStatus::INVALID_PARAMETER.error();
    if (input as usize) < INPUT || (output as usize) < OUTPUT {
        return NtStatus::BUFFER_TOO_SMALL.fail();
    }
    let buffer = packet.region_at(IRP::AssociatedIrp_SystemBuffer, INPUT);
    let word = |at| buffer.load::<u32>(at).map_err(|_| invalid());
    let version = buffer.load::<u16>(0).map_err(|_| invalid())?;
    let length = buffer.load::<u16>(2).map_err(|_| invalid())?;
    let (level, flags) = (word(4)?, word(8)?);
    if version != REQUEST_OPLOCK_CURRENT_VERSION || usize::from(length) < INPUT {
        return Err(invalid());
    }
    match flags & (REQUEST_OPLOCK_INPUT_FLAG_REQUEST | REQUEST_OPLOCK_INPUT_FLAG_ACK) {
        REQUEST_OPLOCK_INPUT_FLAG_REQUEST => Kind::caching(level).map(Asked::Grant).ok_or(invalid()),
        REQUEST_OPLOCK_INPUT_FLAG_ACK => {
            Ok(Asked::Acknowledge { level, at_close: flags & REQUEST_OPLOCK_INPUT_FLAG_COMPLETE_ACK_ON_CLOSE != 0 })
        }
        _ => Err(invalid()),
    }
}

/// A granted request that is to end, and what it tells its holder.
pub(super) struct Ended {
    request: Request,
    was: Kind,
    to: Option<Kind>,
    status: NtStatus,
    acknowledge: bool,
    modes: Option<Opening>,
}

impl Ended {
    pub(super) fn new(request: Request, was: Kind, to: Option<Kind>, status: NtStatus) -> Self {
        Self { request, was, to, status, acknowledge: false, modes: None }
    }

    /// One whose holder has to acknowledge; `modes` is the open that it would have hindered.
    pub(super) fn acknowledged(self, modes: Option<Opening>) -> Self {
        Self { acknowledge: true, modes, ..self }
    }

    /// Ends it; no lock of ours is held.
    pub(super) fn give(self) {
        let information = match (self.was, self.to) {
            _ if self.status == NtStatus::CANCELLED => 0,
            (Kind::Cache(_), _) => self.describe(),
            (_, Some(_)) => FILE_OPLOCK_BROKEN_TO_LEVEL_2,
            (_, None) => FILE_OPLOCK_BROKEN_TO_NONE,
        };
        self.request.finish(self.status, information);
    }

    /// REQUEST_OPLOCK_OUTPUT_BUFFER (NT-OPL-09).
    fn describe(&self) -> u64 {
        let mut bytes = [0; OUTPUT];
        let mut flags = if self.acknowledge { REQUEST_OPLOCK_OUTPUT_FLAG_ACK_REQUIRED } else { 0 };
        if let Some(modes) = self.modes {
            flags |= REQUEST_OPLOCK_OUTPUT_FLAG_MODES_PROVIDED;
            bytes[16..20].copy_from_slice(&modes.access.to_le_bytes());
            bytes[20..22].copy_from_slice(&(modes.share as u16).to_le_bytes());
        }
        bytes[..2].copy_from_slice(&REQUEST_OPLOCK_CURRENT_VERSION.to_le_bytes());
        bytes[2..4].copy_from_slice(&(OUTPUT as u16).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.was.level().to_le_bytes());
        bytes[8..12].copy_from_slice(&self.to.map_or(0, Kind::level).to_le_bytes());
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        let buffer: Region = self.request.irp.region_at(IRP::AssociatedIrp_SystemBuffer, OUTPUT);
        buffer.write_from(&bytes).map_or(0, |()| OUTPUT as u64)
    }
}

struct Requests;

impl Keeper for Requests {
    fn cancelled(packet: Irp) {
        super::cancel(packet.get(IRP::Tail_DriverContext.index(0)), packet);
    }
}

/// Lets a packet be cancelled; `true` when it was already, and is the caller's to end.
pub(super) fn arm(packet: Irp, key: u64) -> bool {
    packet.set(IRP::Tail_DriverContext.index(0), key);
    set_routine(packet, routine_of::<Requests>())
}
