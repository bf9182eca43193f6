//! Why a file is no image that can be loaded.

use core::fmt;

/// A file that cannot be loaded, and why.
#[derive(Debug)]
pub struct PeError {
    /// The file, as the caller named it.
    pub name: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No MZ or PE signature, or a damaged header; the text is the parser's.
    NotPe(String),
    /// Another machine than x86-64 (the COFF machine number).
    Machine(u16),
    /// Sections aligned to less than a page, so that they cannot have rights of their own.
    Alignment(u32),
    /// More address space than any driver needs: a damaged header would make the loader take it.
    Size(u32),
    /// A section's bytes or addresses lie outside the file or the image.
    Truncated(String),
    /// Two sections share addresses.
    Overlap(String, String),
    /// Relocations were stripped and the image must be moved.
    Fixed,
    /// A relocation of a type that x86-64 images do not have.
    Relocation(u16),
    /// Imports by number instead of by name (the image they come from, the ordinal).
    Ordinal(String, u16),
    /// A directory (named) points outside the image or is damaged.
    Directory(&'static str, String),
    /// The entry point lies outside every executable section.
    Entry(u32),
}

impl fmt::Display for PeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.fault {
            Fault::NotPe(why) => write!(f, "not a PE image ({why})"),
            Fault::Machine(0x14c) => f.write_str("a 32-bit image; only x86-64 drivers can be loaded"),
            Fault::Machine(other) => write!(f, "made for machine {other:#x}; only x86-64 drivers can be loaded"),
            Fault::Alignment(to) => write!(f, "sections aligned to {to:#x} bytes; at least 0x1000 is needed"),
            Fault::Size(bytes) => write!(f, "wants {bytes:#x} bytes of address space; at most 0x10000000 are given"),
            Fault::Truncated(what) => write!(f, "truncated: {what} lies outside the file"),
            Fault::Overlap(a, b) => write!(f, "sections {a} and {b} overlap"),
            Fault::Fixed => f.write_str("relocations were stripped, and the image cannot stay at its preferred base"),
            Fault::Relocation(kind) => write!(f, "relocation of unknown type {kind}"),
            Fault::Ordinal(image, number) => write!(f, "imports {image} by ordinal {number}; only names can be bound"),
            Fault::Directory(which, why) => write!(f, "damaged {which} directory ({why})"),
            Fault::Entry(rva) => write!(f, "entry point {rva:#x} lies in no executable section"),
        }
    }
}
impl std::error::Error for PeError {}
