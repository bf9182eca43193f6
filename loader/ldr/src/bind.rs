//! Imports: where each name comes from, and the stubs between a driver and Rust.
//!
//! Room: loader/ldr. Called by: `image`, `ntio imports`. Calls: the export tables of all rooms.

use crate::asm::{self, ntldr_edge, ntldr_missing, ntldr_variadic};
use crate::image::{Image, Missing, MissingImport, Options};
use crate::{leaves, strings};
use nt_cell::{Entry, Export, Support};
use nt_pe::{Import, Pe};
use std::collections::HashMap;

/// Everything that a driver's imports can be bound to.
#[derive(Default)]
pub struct Binder {
    rows: HashMap<(&'static str, &'static str), &'static Export>,
    images: HashMap<(String, String), u64>,
}

impl core::fmt::Debug for Binder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Binder({} rows, {} names of drivers)", self.rows.len(), self.images.len())
    }
}

/// One import of an image and how it would be bound.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// The image it comes from.
    pub image: String,
    /// The name.
    pub name: String,
    /// How complete our routine is; `None` for a name that no table knows.
    pub support: Option<Support>,
}

impl Binder {
    /// Takes the export tables of the rooms; the loader adds its own, which win: a fault in them is the driver's.
    #[must_use]
    pub fn new(tables: &[&'static [Export]]) -> Self {
        let own: [&'static [Export]; 2] = [leaves::EXPORTS, strings::EXPORTS];
        let rows = tables.iter().chain(&own).flat_map(|table| table.iter()).map(|row| ((row.image, row.name), row));
        Self { rows: rows.collect(), images: HashMap::new() }
    }

    /// Adds the names that a loaded driver exports.
    pub fn add_image(&mut self, image: &Image) {
        for (name, addr) in image.exports() {
            self.images.insert((image.name().to_lowercase(), name.clone()), addr);
        }
    }

    /// Finds the row for a name. The HAL is part of ntoskrnl.exe on current systems, so either finds the other's rows.
    #[must_use]
    pub fn find(&self, image: &str, name: &str) -> Option<&'static Export> {
        let other = match image {
            "hal.dll" => "ntoskrnl.exe",
            "ntoskrnl.exe" => "hal.dll",
            same => same,
        };
        let find = |image: &str| self.rows.get(&(image, name)).copied();
        find(image).or_else(|| find(other))
    }

    pub(crate) fn driver_export(&self, image: &str, name: &str) -> Option<u64> {
        self.images.get(&(image.to_owned(), name.to_owned())).copied()
    }
}

/// Lists an image's imports with our support for each, without mapping anything.
#[must_use]
pub fn imports(pe: &Pe<'_>, binder: &Binder) -> Vec<ImportRow> {
    pe.imports
        .iter()
        .map(|import| {
            let support = match binder.driver_export(&import.image, &import.name) {
                Some(_) => Some(Support::Full),
                None => binder.find(&import.image, &import.name).map(|row| row.support),
            };
            ImportRow { image: import.image.clone(), name: import.name.clone(), support }
        })
        .collect()
}

/// What goes into one import slot.
pub(crate) enum Bound {
    /// This address.
    Direct(u64),
    /// The address of a stub with this code.
    Stub([u8; STUB]),
}

/// Bytes of one stub.
pub(crate) const STUB: usize = 24;

/// `mov r11, data; mov rax, to; jmp rax`.
fn jump(to: u64, data: u64) -> Bound {
    let mut code = [0xcc; STUB];
    code[..2].copy_from_slice(&[0x49, 0xbb]);
    code[2..10].copy_from_slice(&data.to_le_bytes());
    code[10..12].copy_from_slice(&[0x48, 0xb8]);
    code[12..20].copy_from_slice(&to.to_le_bytes());
    code[20..22].copy_from_slice(&[0xff, 0xe0]);
    Bound::Stub(code)
}

/// `mov rax, value; ret`.
fn constant(value: u64) -> Bound {
    let mut code = [0xcc; STUB];
    code[..2].copy_from_slice(&[0x48, 0xb8]);
    code[2..10].copy_from_slice(&value.to_le_bytes());
    code[10] = 0xc3;
    Bound::Stub(code)
}

/// Decides what each import of `pe` becomes; all that cannot be bound are listed.
pub(crate) fn bind(pe: &Pe<'_>, binder: &Binder, options: &Options) -> Result<Vec<Bound>, Vec<Missing>> {
    let (mut bound, mut missing) = (Vec::new(), Vec::new());
    for import in &pe.imports {
        match one(import, binder, options) {
            Ok(to) => bound.push(to),
            Err(why) => missing.push(Missing { image: import.image.clone(), name: import.name.clone(), why }),
        }
    }
    if missing.is_empty() { Ok(bound) } else { Err(missing) }
}

fn one(import: &Import, binder: &Binder, options: &Options) -> Result<Bound, Option<&'static str>> {
    if let Some((_, value)) = options.stubs.iter().find(|(name, _)| *name == import.name) {
        return Ok(constant(*value));
    }
    if let Some(addr) = binder.driver_export(&import.image, &import.name) {
        return Ok(Bound::Direct(addr));
    }
    let row = binder.find(&import.image, &import.name);
    let address = |code: unsafe extern "win64" fn()| (code as *const ()).expose_provenance() as u64;
    match row.map(|row| row.entry) {
        Some(Entry::Code(code)) => Ok(Bound::Direct(address(code))),
        Some(Entry::Raises(code)) => Ok(jump(asm::address(&ntldr_edge), address(code))),
        Some(Entry::Variadic(code)) => Ok(jump(asm::address(&ntldr_variadic), address(code))),
        Some(Entry::Data(at)) => Ok(Bound::Direct(at())),
        Some(Entry::Missing) | None if options.allow_missing => {
            // Leaked: a stub can be called as long as the image is mapped, and reports may name it later.
            let record = MissingImport { image: import.image.clone(), name: import.name.clone() };
            let record: &'static MissingImport = Box::leak(Box::new(record));
            let at = core::ptr::from_ref(record).expose_provenance() as u64;
            Ok(jump(asm::address(&ntldr_missing), at))
        }
        Some(Entry::Missing) | None => Err(row.and_then(|row| match row.support {
            Support::Absent(why) => Some(why),
            _ => None,
        })),
    }
}
