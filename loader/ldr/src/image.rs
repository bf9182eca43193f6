//! One driver image in memory: map, relocate, bind, protect, unload.
//!
//! Room: loader/ldr. Called by: `nt_machine`, tests. Calls: `nt_pe`, `bind`, `rewrite`, `nt_cell::images`.
//! IRQL: PASSIVE_LEVEL. Locks: none.

use crate::bind::{self, Binder, Bound, STUB};
use crate::{fault, irql, rewrite};
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use nt_cell::images::{self, Mapped};
use nt_cell::{CodePtr, callout};
use nt_pe::{Function, Pe, PeError};

const PAGE: u64 = 4096;
const DEFAULT_COOKIE: u64 = 0x2b99_2ddf_a232;

/// How to load an image.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Bind names that no table knows to stubs that report a bugcheck when called.
    pub allow_missing: bool,
    /// Bind these names to stubs that return the value.
    pub stubs: Vec<(String, u64)>,
}

/// A name that could not be bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The image it should come from.
    pub image: String,
    /// The name.
    pub name: String,
    /// What the export table says about it, if it knows it.
    pub why: Option<&'static str>,
}

/// Why an image was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file is not an image that can be loaded.
    Pe(PeError),
    /// Imports that nothing provides: the image, and all of them.
    Missing(String, Vec<Missing>),
    /// The host gave no memory, or all image slots are taken.
    Memory(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pe(error) => error.fmt(f),
            Self::Missing(name, missing) => {
                write!(f, "{name}: {} missing import(s):", missing.len())?;
                for import in missing {
                    write!(f, "\n  {}!{}", import.image, import.name)?;
                    if let Some(why) = import.why {
                        write!(f, " (absent: {why})")?;
                    }
                }
                Ok(())
            }
            Self::Memory(name) => write!(f, "{name}: no memory to map the image"),
        }
    }
}
impl std::error::Error for LoadError {}
impl From<PeError> for LoadError {
    fn from(error: PeError) -> Self {
        Self::Pe(error)
    }
}

/// The import behind a stub of `--allow-missing`.
pub(crate) struct MissingImport {
    pub(crate) image: String,
    pub(crate) name: String,
}

/// What the dispatcher knows of an image. It is never freed: a walk may hold it while the image goes, and the dispatcher
/// may hold nothing that needs dropping. It costs 12 bytes a function and the symbol names.
pub(crate) struct Info {
    pub(crate) name: &'static str,
    pub(crate) base: u64,
    /// Bytes that belong to it, stubs included.
    total: u64,
    pub(crate) table: u32,
    functions: Vec<Function>,
    symbols: Vec<(u32, String)>,
}

impl Info {
    /// Finds the function that an address lies in.
    pub(crate) fn function(&self, rva: u32) -> Option<(usize, Function)> {
        let index = self.functions.partition_point(|f| f.begin <= rva).checked_sub(1)?;
        let function = self.functions[index];
        (rva < function.end).then_some((index, function))
    }

    /// Whether a call can return there: in a function, behind its first instruction.
    pub(crate) fn within_function(&self, rva: u32) -> bool {
        self.function(rva).is_some_and(|(_, function)| rva > function.begin)
    }

    /// Finds the last symbol at or before an address.
    pub(crate) fn symbol(&self, rva: u32) -> Option<(u32, &str)> {
        let index = self.symbols.partition_point(|(at, _)| *at <= rva).checked_sub(1)?;
        self.symbols.get(index).map(|(at, name)| (*at, name.as_str()))
    }
}

/// Finds the image that an address lies in. Lock-free: signal handlers call it.
pub(crate) fn info_at(addr: u64) -> Option<&'static Info> {
    let key = images::find(addr)?.key;
    // SAFETY: keys are addresses of leaked `Info`s: only `Image::load` publishes.
    Some(unsafe { &*(key as usize as *const Info) })
}

/// What was unloaded last, for reports of calls that came too late.
static UNLOADED: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];
static UNLOADS: AtomicUsize = AtomicUsize::new(0);

/// Returns the images that were unloaded last.
pub(crate) fn unloaded() -> impl Iterator<Item = &'static Info> {
    let keys = UNLOADED.iter().map(|slot| slot.load(Ordering::Acquire)).filter(|key| *key != 0);
    // SAFETY: addresses of leaked `Info`s: only the drop of an `Image` stores here.
    keys.map(|key| unsafe { &*(key as usize as *const Info) })
}

/// Finds the unloaded image that an address lay in: addresses of images are not used twice.
pub(crate) fn unloaded_at(addr: u64) -> Option<&'static Info> {
    unloaded().find(|info| addr >= info.base && addr - info.base < info.total)
}

/// A loaded driver image; unloaded when dropped.
///
/// # Invariants
/// 1. `base..base + total` is this image's own mapping in the image region.
pub struct Image {
    info: &'static Info,
    size: u64,
    total: u64,
    entry: u64,
    slot: usize,
    exports: Vec<(String, u64)>,
    discard: Vec<(u64, u64)>,
    rewritten: usize,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:#x}, {:#x} bytes", self.info.name, self.info.base, self.size)
    }
}

impl Image {
    /// Maps an image, binds its imports and makes it callable. `name` is the file's name (`t_flt.sys`).
    pub fn load(name: &str, bytes: &[u8], binder: &Binder, options: &Options) -> Result<Self, LoadError> {
        let pe = nt_pe::parse(name, bytes)?;
        let bound = bind::bind(&pe, binder, options).map_err(|all| LoadError::Missing(name.to_owned(), all))?;
        let no_memory = || LoadError::Memory(name.to_owned());
        let thunks = bound.len() * STUB;
        let stubs = ((thunks + irql::count(&pe) * irql::THUNK) as u64).next_multiple_of(PAGE);
        let (size, total) = (u64::from(pe.size), u64::from(pe.size) + stubs);
        let mut content = layout(&pe, total);
        let base = images::allocate(total).ok_or_else(no_memory)?;
        relocate(&pe, &mut content, base);
        for (index, (import, bound)) in pe.imports.iter().zip(&bound).enumerate() {
            let to = match bound {
                Bound::Direct(addr) => *addr,
                Bound::Stub(code) => {
                    let at = size as usize + index * STUB;
                    content[at..at + STUB].copy_from_slice(code);
                    base + at as u64
                }
            };
            let slot = import.slot as usize;
            content[slot..slot + 8].copy_from_slice(&to.to_le_bytes());
        }
        seed_cookie(&pe, &mut content);
        for section in pe.sections.iter().filter(|section| section.execute) {
            rewrite::redirect_shared(&mut content[section.rva as usize..(section.rva + section.size) as usize]);
        }
        let rewritten = irql::rewrite(&pe, &mut content, size as usize + thunks);
        place(base, &content).ok_or_else(no_memory)?;
        let info = Info {
            name: Box::leak(name.to_owned().into_boxed_str()),
            base,
            total,
            table: pe.function_table.start,
            functions: pe.functions.clone(),
            symbols: pe.symbols.clone(),
        };
        let info: &'static Info = Box::leak(Box::new(info));
        protect(base, PAGE.max(u64::from(pe.headers)), libc::PROT_READ);
        protect(base + size, stubs, libc::PROT_READ | libc::PROT_EXEC);
        for section in &pe.sections {
            let write = if section.write { libc::PROT_WRITE } else { 0 };
            let execute = if section.execute { libc::PROT_EXEC } else { 0 };
            protect(base + u64::from(section.rva), u64::from(section.size), libc::PROT_READ | write | execute);
        }
        callout::ensure();
        rewrite::warm_up();
        nt_cell::fault::set_hook(fault::hook);
        nt_cell::fault::set_blame(fault::blame);
        let key = core::ptr::from_ref(info).expose_provenance() as u64;
        let slot = images::publish(Mapped { base, size: total, key }).ok_or_else(no_memory)?;
        let discard = pe.sections.iter().filter(|s| s.discard && s.execute);
        Ok(Self {
            info,
            size,
            total,
            entry: base + u64::from(pe.entry),
            slot,
            exports: pe.exports.iter().map(|export| (export.name.clone(), base + u64::from(export.rva))).collect(),
            rewritten,
            discard: discard.map(|s| (base + u64::from(s.rva), u64::from(s.size))).collect(),
        })
    }

    /// Returns the file's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.info.name
    }

    /// Returns the first address.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.info.base
    }

    /// Returns SizeOfImage.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns how many reads and writes of CR8 were rewritten; the others trap.
    #[must_use]
    pub const fn rewritten(&self) -> usize {
        self.rewritten
    }

    /// Returns DriverEntry.
    ///
    /// # Panics
    /// For an image without an entry point.
    #[must_use]
    pub fn entry(&self) -> CodePtr {
        self.code(self.entry).expect("a driver has an entry point")
    }

    /// Returns an exported routine.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<CodePtr> {
        self.code(self.exports.iter().find(|(n, _)| n == name)?.1)
    }

    /// Returns the exported names with their addresses.
    pub fn exports(&self) -> impl Iterator<Item = (&String, u64)> {
        self.exports.iter().map(|(name, addr)| (name, *addr))
    }

    fn code(&self, addr: u64) -> Option<CodePtr> {
        if addr == self.info.base {
            return None;
        }
        // SAFETY: code of this image; the border answers for what it does.
        unsafe { CodePtr::from_raw(addr) }
    }

    /// Names an address of this image or another.
    #[must_use]
    pub fn symbolize(&self, addr: u64) -> String {
        crate::symbolize(addr)
    }

    /// Makes initialization code inaccessible, after DriverEntry returned: a late call into it is a bugcheck with its name.
    pub fn discard_initialization(&self) {
        for (start, len) in &self.discard {
            protect(*start, *len, libc::PROT_NONE);
        }
    }

    /// Unloads the image: its addresses stay inaccessible for good.
    pub fn unload(self) {}
}

impl Drop for Image {
    fn drop(&mut self) {
        images::withdraw(self.slot);
        let place = UNLOADS.fetch_add(1, Ordering::Relaxed) % UNLOADED.len();
        UNLOADED[place].store(core::ptr::from_ref(self.info).expose_provenance() as u64, Ordering::Release);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let at = self.info.base as usize as *mut libc::c_void;
        // SAFETY: replaces this image's own pages (invariant 1). The owner unloads only when no thread runs its code; a
        // pointer into it that some structure still holds faults.
        unsafe { libc::mmap(at, self.total as usize, libc::PROT_NONE, flags, -1, 0) };
    }
}

/// Lays headers and sections out as they lie in memory.
fn layout(pe: &Pe<'_>, total: u64) -> Vec<u8> {
    let mut content = vec![0; total as usize];
    content[..pe.headers as usize].copy_from_slice(&pe.bytes[..pe.headers as usize]);
    for section in &pe.sections {
        let at = section.rva as usize;
        content[at..at + section.raw.len()].copy_from_slice(&pe.bytes[section.raw.clone()]);
    }
    content
}

fn relocate(pe: &Pe<'_>, content: &mut [u8], base: u64) {
    let delta = base.wrapping_sub(pe.preferred_base);
    for relocation in &pe.relocations {
        let at = relocation.rva as usize;
        if relocation.wide {
            let word: &mut [u8; 8] = (&mut content[at..at + 8]).try_into().expect("eight bytes");
            *word = u64::from_le_bytes(*word).wrapping_add(delta).to_le_bytes();
        } else {
            let word: &mut [u8; 4] = (&mut content[at..at + 4]).try_into().expect("four bytes");
            *word = u32::from_le_bytes(*word).wrapping_add(delta as u32).to_le_bytes();
        }
    }
}

/// Replaces the linker's default security cookie by 48 random bits.
fn seed_cookie(pe: &Pe<'_>, content: &mut [u8]) {
    let Some(at) = pe.cookie.map(|at| at as usize) else { return };
    if content[at..at + 8] != DEFAULT_COOKIE.to_le_bytes() {
        return;
    }
    let mut random = [0u8; 8];
    // SAFETY: fills six bytes of a live buffer.
    let got = unsafe { libc::getrandom(random.as_mut_ptr().cast(), 6, 0) };
    if got == 6 {
        content[at..at + 8].copy_from_slice(&random);
    }
}

/// Makes the image's range writable and copies the content there.
fn place(base: u64, content: &[u8]) -> Option<()> {
    let at = base as usize as *mut libc::c_void;
    // SAFETY: a range that `images::allocate` gave out and nobody else uses.
    let done = unsafe { libc::mprotect(at, content.len(), libc::PROT_READ | libc::PROT_WRITE) };
    if done != 0 {
        return None;
    }
    // SAFETY: the range is writable, as long as the content, and no Rust object.
    unsafe { core::ptr::copy_nonoverlapping(content.as_ptr(), at.cast::<u8>(), content.len()) };
    Some(())
}

fn protect(start: u64, len: u64, bits: i32) {
    let len = len.next_multiple_of(PAGE) as usize;
    if len == 0 {
        return;
    }
    // SAFETY: callers pass page ranges of an image's own mapping; no Rust object lies there.
    let done = unsafe { libc::mprotect(start as usize as *mut libc::c_void, len, bits) };
    assert_eq!(done, 0, "the host refused to protect driver code");
}
