//! IRQL: a number in the KPCR that drivers raise and lower.
//!
//! Room: ntos/ke. IRQL: any. Source: wdm.h levels; KeRaiseIrql page.
//! The host does not mask anything at a raised level: rules about IRQL are checked, not enforced by hardware.

pub use nt_abi::ke::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};

/// Returns the current IRQL of this processor (this host thread).
#[must_use]
pub fn current() -> u8 {
    nt_cell::kpcr::irql()
}

/// Sets the IRQL until the guard goes; used around callbacks that Windows runs at a higher level.
#[must_use]
pub fn at(level: u8) -> Restore {
    let was = current();
    nt_cell::kpcr::set_irql(level);
    Restore { was }
}

/// Puts the former IRQL back.
#[derive(Debug)]
pub struct Restore {
    was: u8,
}

impl Drop for Restore {
    fn drop(&mut self) {
        nt_cell::kpcr::set_irql(self.was);
        if self.was < APC_LEVEL
            && let Some(frame) = crate::try_current()
        {
            frame.thread.special_apcs_enabled(); // NT-E-02
        }
    }
}
