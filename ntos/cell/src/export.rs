//! The one table that says which names a driver can import, and how complete each is.
//!
//! Room: ntos/cell. Called by: every `exports.rs` (fills it), the loader and `ntio imports` (read it).
//! House rule 12: an export is full, partial (why) or absent (what it would return); the loader binds the first two.

/// How complete an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// Every rule of the ledger for it holds.
    Full,
    /// It works, except for what the text says.
    Partial(&'static str),
    /// It is known and missing; the text says what is missing.
    Absent(&'static str),
}

/// What an import binds to.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A win64 routine that never raises.
    Code(unsafe extern "win64" fn()),
    /// A win64 routine that may leave a status in the raise slot ([`crate::raise`]); bound through an edge stub.
    Raises(unsafe extern "win64" fn()),
    /// A win64 routine `fn(va_list: u64) -> u64` for a variadic import; bound through a spilling stub.
    Variadic(unsafe extern "win64" fn()),
    /// Data: the routine returns the address that the import slot gets (IoFileObjectType and its like).
    Data(fn() -> u64),
    /// Nothing: the import cannot be bound.
    Missing,
}

/// One row: a name that an image of Windows exports.
pub struct Export {
    /// The image, in lower case: `ntoskrnl.exe`, `fltmgr.sys`, `ks.sys`, `hal.dll`.
    pub image: &'static str,
    /// The exported name.
    pub name: &'static str,
    /// How complete it is.
    pub support: Support,
    /// What it binds to.
    pub entry: Entry,
}
