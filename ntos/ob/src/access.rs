//! Access masks: generic rights and what they map to.
//!
//! Room: ntos/ob. Source: wdm.h; rule NT-A-01 (GENERIC_WRITE on a file is 00120116).

pub use nt_abi::ob::{
    EVENT_MODIFY_STATE, GENERIC_ALL, GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE, MAXIMUM_ALLOWED, SYNCHRONIZE,
};

/// GENERIC_MAPPING.
#[derive(Clone, Copy, Debug)]
pub struct GenericMapping {
    /// What GENERIC_READ stands for.
    pub read: u32,
    /// What GENERIC_WRITE stands for.
    pub write: u32,
    /// What GENERIC_EXECUTE stands for.
    pub execute: u32,
    /// What GENERIC_ALL stands for.
    pub all: u32,
}

impl GenericMapping {
    /// No generic right means anything.
    pub const NONE: Self = Self { read: 0, write: 0, execute: 0, all: 0x001F_FFFF };
    /// Files (NT-A-01).
    pub const FILE: Self = Self { read: 0x0012_0089, write: 0x0012_0116, execute: 0x0012_00A0, all: 0x001F_01FF };
    /// Events.
    pub const EVENT: Self = Self { read: 0x0002_0001, write: 0x0002_0002, execute: 0x0012_0000, all: 0x001F_0003 };
    /// Sections.
    pub const SECTION: Self = Self { read: 0x0002_0005, write: 0x0002_0002, execute: 0x0002_0008, all: 0x000F_001F };
    /// Completion ports.
    pub const PORT: Self = Self { read: 0x0002_0001, write: 0x0002_0002, execute: 0x0012_0000, all: 0x001F_0003 };

    /// Replaces generic bits by what they stand for (RtlMapGenericMask); MAXIMUM_ALLOWED becomes everything.
    #[must_use]
    pub const fn map(&self, desired: u32) -> u32 {
        let mut granted = desired & 0x01FF_FFFF;
        if desired & GENERIC_READ != 0 {
            granted |= self.read;
        }
        if desired & GENERIC_WRITE != 0 {
            granted |= self.write;
        }
        if desired & GENERIC_EXECUTE != 0 {
            granted |= self.execute;
        }
        if desired & (GENERIC_ALL | MAXIMUM_ALLOWED) != 0 {
            granted |= self.all;
        }
        granted
    }
}
