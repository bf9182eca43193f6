//! Completion routines written in Rust, for clients of KsStreamIo.
//!
//! Room: drivers/ks. Called by: Rust clients; run by `nt_io`'s completion. IRQL: <= DISPATCH_LEVEL. Locks: none.
//! Source: IoCompletion routine page; rules KS-S-20 to KS-S-24. The packet gets a real win64 routine whose context is a
//! generation-checked key, so a routine that outlives its owner finds nothing and answers SUCCESS.

use crate::streamio::Completion;
use nt_abi::NtStatus;
use nt_cell::Slab;
use nt_io::device::Device;
use nt_io::irp::Irp;
use std::sync::{Arc, LazyLock};

/// What a completion routine is called with.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// DeviceObject: `None` for the submitter of a request (KS-S-21).
    pub device: Option<Device>,
    /// The packet.
    pub packet: Irp,
}

type Body = Arc<dyn Fn(&Completed) -> NtStatus + Send + Sync>;

static ROUTINES: LazyLock<Slab<Body>> = LazyLock::new(Slab::new);

/// A completion routine; it answers as long as this value lives.
#[derive(Debug)]
pub struct Routine {
    key: u64,
}

impl Routine {
    /// Makes a routine. Its body answers SUCCESS, or MORE_PROCESSING_REQUIRED to keep the packet (KS-S-23).
    #[must_use]
    pub fn new(body: impl Fn(&Completed) -> NtStatus + Send + Sync + 'static) -> Self {
        Self { key: ROUTINES.insert(Arc::new(body)) }
    }

    /// Returns it as the arguments of KsStreamIo; `invoke` are KSCOMPLETION_INVOCATION bits.
    #[must_use]
    pub fn completion(&self, invoke: u32) -> Completion {
        Completion { routine: crate::exports::native_completion(), context: self.key, invoke }
    }
}

impl Drop for Routine {
    fn drop(&mut self) {
        ROUTINES.remove(self.key);
    }
}

/// Runs the routine that a context names.
pub(crate) fn run(key: u64, completed: &Completed) -> NtStatus {
    let body = ROUTINES.get(key).map(|body| Arc::clone(&body));
    body.map_or(NtStatus::SUCCESS, |body| body(completed))
}
