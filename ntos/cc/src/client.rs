//! What the cache manager asks of the file system before it reads or writes on its own account.
//!
//! Room: ntos/cc. Called by: `lazy`, read-ahead. IRQL: PASSIVE_LEVEL. Locks: none of ours.
//! Source: CACHE_MANAGER_CALLBACKS page; rules NT-CC-07, NT-CC-35. A driver gives four routines and a context; a file
//! system in Rust gives a trait object.

use crate::manager::Policy;
use nt_cell::{CodePtr, callout};
use std::sync::Arc;

/// The top-level marker of the cache manager: FSRTL_CACHE_TOP_LEVEL_IRP.
pub const CACHE_TOP_LEVEL: u64 = 2;
/// The top-level marker of a fast copy: FSRTL_FAST_IO_TOP_LEVEL_IRP.
pub const FAST_IO_TOP_LEVEL: u64 = 4;
/// The top-level marker of the mapped page writer: FSRTL_MOD_WRITE_TOP_LEVEL_IRP.
pub const MOD_WRITE_TOP_LEVEL: u64 = 3;
/// What lies above is a packet: FSRTL_MAX_TOP_LEVEL_IRP_FLAG.
pub const LAST_TOP_LEVEL: u64 = 0xFFFF;

/// A file system in Rust, as the cache sees it.
pub trait CacheClient: Send + Sync {
    /// AcquireForLazyWrite: `false` means "try the next round".
    fn acquire_for_lazy_write(&self, wait: bool) -> bool;
    /// ReleaseFromLazyWrite.
    fn release_from_lazy_write(&self);
    /// AcquireForReadAhead.
    fn acquire_for_read_ahead(&self, wait: bool) -> bool {
        self.acquire_for_lazy_write(wait)
    }
    /// ReleaseFromReadAhead.
    fn release_from_read_ahead(&self) {
        self.release_from_lazy_write();
    }
    /// When dirty pages are written, unless the machine was told otherwise.
    fn policy(&self) -> Policy {
        Policy::Behind
    }
}

/// Whom a cache map calls back.
#[derive(Clone)]
pub enum Callbacks {
    /// A file system in Rust.
    Native(Arc<dyn CacheClient>),
    /// A driver: AcquireForLazyWrite, ReleaseFromLazyWrite, AcquireForReadAhead, ReleaseFromReadAhead, and the context.
    Driver([Option<CodePtr>; 4], u64),
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Native(_)) { "Native" } else { "Driver" })
    }
}

fn ask(code: Option<CodePtr>, context: u64, wait: bool) -> bool {
    code.is_none_or(|code| callout::call(code, &[context, u64::from(wait)]).is_ok_and(|yes| yes & 0xFF != 0))
}

fn tell(code: Option<CodePtr>, context: u64) {
    if let Some(code) = code {
        let _raised = callout::call(code, &[context]);
    }
}

impl Callbacks {
    pub(crate) fn policy(&self) -> Policy {
        match self {
            Self::Native(client) => client.policy(),
            Self::Driver(..) => Policy::Behind,
        }
    }
    pub(crate) fn acquire_for_lazy_write(&self, wait: bool) -> bool {
        match self {
            Self::Native(client) => {
                let held = client.acquire_for_lazy_write(wait);
                if held {
                    nt_ke::current().thread.set_top_level(CACHE_TOP_LEVEL);
                }
                held
            }
            Self::Driver(codes, context) => ask(codes[0], *context, wait),
        }
    }
    pub(crate) fn release_from_lazy_write(&self) {
        match self {
            Self::Native(client) => {
                nt_ke::current().thread.set_top_level(0);
                client.release_from_lazy_write();
            }
            Self::Driver(codes, context) => tell(codes[1], *context),
        }
    }
    pub(crate) fn acquire_for_read_ahead(&self) -> bool {
        match self {
            Self::Native(client) => {
                let held = client.acquire_for_read_ahead(true);
                if held {
                    nt_ke::current().thread.set_top_level(CACHE_TOP_LEVEL);
                }
                held
            }
            Self::Driver(codes, context) => ask(codes[2], *context, true),
        }
    }
    pub(crate) fn release_from_read_ahead(&self) {
        match self {
            Self::Native(client) => {
                nt_ke::current().thread.set_top_level(0);
                client.release_from_read_ahead();
            }
            Self::Driver(codes, context) => tell(codes[3], *context),
        }
    }
}
