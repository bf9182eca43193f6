//! `spy`: the built-in filter that sees everything and changes nothing.
//!
//! Room: drivers/fltmgr. What it counts is what the report shows per filter.

use crate::data::CallbackData;
use crate::native::{MiniFilter, PostOp, PreOp};
use nt_abi::flt::{IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN};
use std::sync::atomic::{AtomicU64, Ordering};

/// The built-in filter.
#[derive(Default, Debug)]
pub struct Spy {
    altitude: String,
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Spy {
    /// Makes one at an altitude of the group "FSFilter Activity Monitor".
    #[must_use]
    pub fn new(altitude: Option<&str>) -> Self {
        Self { altitude: altitude.unwrap_or("385100").to_owned(), ..Self::default() }
    }

    /// Returns {writes seen to their end, bytes written}.
    #[must_use]
    pub fn writes(&self) -> (u64, u64) {
        (self.writes.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl MiniFilter for Spy {
    fn name(&self) -> &str {
        "spy"
    }
    fn altitude(&self) -> &str {
        &self.altitude
    }
    fn operations(&self) -> Vec<(u8, u32)> {
        let packets = (0..28).filter(|major| !matches!(major, 0x10 | 0x16 | 0x18));
        packets.chain([IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN]).map(|major| (major, 0)).collect()
    }
    fn pre_operation(&self, _data: CallbackData) -> PreOp {
        PreOp::WithCallback(0)
    }
    fn post_operation(&self, data: CallbackData, _context: u64) -> PostOp {
        if data.major() == nt_abi::io::IRP_MJ_WRITE && data.status().status.is_success() {
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(data.status().information, Ordering::Relaxed);
        }
        PostOp::Finished
    }
}
