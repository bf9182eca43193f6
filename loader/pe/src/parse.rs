//! The parser.

use crate::error::{Fault, PeError};
use core::ops::Range;
use object::LittleEndian as LE;
use object::pe::{self, ImageDosHeader, ImageNtHeaders64};
use object::read::coff::Symbol;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, ImageThunkData};

/// What a driver image says about itself.
#[derive(Debug)]
pub struct Pe<'a> {
    /// The whole file.
    pub bytes: &'a [u8],
    /// Address that the linker assumed.
    pub preferred_base: u64,
    /// Bytes of address space, a multiple of 4 KiB.
    pub size: u32,
    /// Bytes of the file that are mapped as headers.
    pub headers: u32,
    /// Where DriverEntry lies.
    pub entry: u32,
    /// The time stamp of the file header.
    pub stamp: u32,
    /// Sections by address.
    pub sections: Vec<Section>,
    /// Words to change when the image moves.
    pub relocations: Vec<Relocation>,
    /// Names wanted from other images.
    pub imports: Vec<Import>,
    /// Names offered to other images.
    pub exports: Vec<Export>,
    /// Unwind data, in order of address.
    pub functions: Vec<Function>,
    /// Where the function table itself lies: RVA and length.
    pub function_table: Range<u32>,
    /// Where the security cookie lies.
    pub cookie: Option<u32>,
    /// Function and variable names of the COFF symbol table (`/debug:symtab`), in order of address.
    pub symbols: Vec<(u32, String)>,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it lies in the image.
    pub rva: u32,
    /// Bytes in the image.
    pub size: u32,
    /// Its bytes in the file (not longer than `size`).
    pub raw: Range<usize>,
    /// Whether it holds code.
    pub execute: bool,
    /// Whether it may be written.
    pub write: bool,
    /// Whether it goes after initialization (INIT).
    pub discard: bool,
}

/// A word to change when the image moves.
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    /// Where it lies.
    pub rva: u32,
    /// Eight bytes (DIR64) or four (HIGHLOW).
    pub wide: bool,
}

/// A name wanted from another image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The other image, in lower case.
    pub image: String,
    /// The name.
    pub name: String,
    /// Where the address goes.
    pub slot: u32,
}

/// A name offered to other images.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// The name.
    pub name: String,
    /// Where it lies.
    pub rva: u32,
}

/// A RUNTIME_FUNCTION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// First byte.
    pub begin: u32,
    /// First byte behind it.
    pub end: u32,
    /// Its unwind information.
    pub unwind: u32,
}

/// Reads an image; `name` is for messages.
pub fn parse<'a>(name: &str, bytes: &'a [u8]) -> Result<Pe<'a>, PeError> {
    read(bytes).map_err(|fault| PeError { name: name.to_owned(), fault })
}

/// The largest SizeOfImage that is accepted.
const MOST_BYTES: u32 = 256 << 20;

fn not_pe(error: object::Error) -> Fault {
    Fault::NotPe(error.to_string())
}

fn read(bytes: &[u8]) -> Result<Pe<'_>, Fault> {
    let dos = ImageDosHeader::parse(bytes).map_err(not_pe)?;
    let mut at = u64::from(dos.nt_headers_offset());
    machine(bytes, at)?;
    let (nt, directories) = ImageNtHeaders64::parse(bytes, &mut at).map_err(not_pe)?;
    let optional = nt.optional_header();
    let align = optional.section_alignment();
    if align < 4096 {
        return Err(Fault::Alignment(align));
    }
    let table = nt.sections(bytes, at).map_err(not_pe)?;
    let size = optional.size_of_image().checked_next_multiple_of(4096).ok_or_else(|| outside("the image"))?;
    if size > MOST_BYTES {
        return Err(Fault::Size(size));
    }
    let headers = optional.size_of_headers();
    if headers as usize > bytes.len() || headers > size {
        return Err(outside("the header"));
    }
    let sections = sections(bytes, &table, headers, size)?;
    let fixed = nt.file_header().characteristics.get(LE).0 & pe::IMAGE_FILE_RELOCS_STRIPPED.0 != 0;
    let entry = optional.address_of_entry_point();
    if entry != 0 && !sections.iter().any(|s| s.execute && s.rva <= entry && entry - s.rva < s.size) {
        return Err(Fault::Entry(entry));
    }
    let mut pe = Pe {
        bytes,
        preferred_base: optional.image_base(),
        size,
        headers,
        entry,
        stamp: nt.file_header().time_date_stamp.get(LE),
        sections,
        relocations: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        functions: Vec::new(),
        function_table: 0..0,
        cookie: None,
        symbols: Vec::new(),
    };
    if fixed {
        return Err(Fault::Fixed);
    }
    let bad = |which| move |error: object::Error| Fault::Directory(which, error.to_string());
    if let Some(mut blocks) = directories.relocation_blocks(bytes, &table).map_err(bad("relocation"))? {
        while let Some(block) = blocks.next().map_err(bad("relocation"))? {
            for entry in block {
                let wide = match entry.typ {
                    pe::IMAGE_REL_BASED_ABSOLUTE => continue,
                    pe::IMAGE_REL_BASED_DIR64 => true,
                    pe::IMAGE_REL_BASED_HIGHLOW => false,
                    other => return Err(Fault::Relocation(other.0)),
                };
                let width = if wide { 8 } else { 4 };
                if entry.virtual_address.checked_add(width).is_none_or(|end| end > size) {
                    return Err(outside("a relocation"));
                }
                pe.relocations.push(Relocation { rva: entry.virtual_address, wide });
            }
        }
    }
    if let Some(imports) = directories.import_table(bytes, &table).map_err(bad("import"))? {
        read_imports(&imports, &mut pe).map_err(|e| e.unwrap_or_else(bad("import")))?;
    }
    if let Some(exports) = directories.export_table(bytes, &table).map_err(bad("export"))? {
        for export in exports.exports().map_err(bad("export"))? {
            if let (Some(name), object::read::pe::ExportTarget::Address(rva)) = (export.name, export.target) {
                pe.exports.push(Export { name: String::from_utf8_lossy(name).into_owned(), rva });
            }
        }
    }
    read_functions(&directories, &mut pe)?;
    pe.cookie = read_cookie(&directories, &pe);
    pe.symbols = read_symbols(nt, bytes, &pe.sections);
    Ok(pe)
}

fn outside(what: &str) -> Fault {
    Fault::Truncated(what.to_owned())
}

/// Judges machine and magic before the 64-bit parser stumbles over them.
fn machine(bytes: &[u8], at: u64) -> Result<(), Fault> {
    let word = |offset: u64| -> Option<u16> {
        let at = usize::try_from(at.checked_add(offset)?).ok()?;
        Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
    };
    if word(0) != Some(0x4550) || word(2) != Some(0) {
        return Err(Fault::NotPe("no PE signature".into()));
    }
    match word(4) {
        Some(number) if number == pe::IMAGE_FILE_MACHINE_AMD64.0 => Ok(()),
        Some(other) => Err(Fault::Machine(other)),
        None => Err(outside("the header")),
    }
}

fn sections(
    bytes: &[u8],
    table: &object::read::pe::SectionTable<'_>,
    headers: u32,
    size: u32,
) -> Result<Vec<Section>, Fault> {
    let mut sections: Vec<Section> = Vec::new();
    let mut end = headers;
    for header in table.iter() {
        let name = String::from_utf8_lossy(header.raw_name()).into_owned();
        let (raw_at, raw_len) = (header.pointer_to_raw_data.get(LE) as usize, header.size_of_raw_data.get(LE));
        let virtual_size = header.virtual_size.get(LE);
        let len = if virtual_size == 0 { raw_len } else { virtual_size };
        let rva = header.virtual_address.get(LE);
        if rva % 4096 != 0 {
            return Err(Fault::Alignment(rva & rva.wrapping_neg()));
        }
        let from_file = raw_len.min(len) as usize;
        if raw_at.checked_add(from_file).is_none_or(|end| end > bytes.len()) {
            return Err(Fault::Truncated(format!("section {name}")));
        }
        if rva < end {
            let before = sections.last().map_or_else(|| "the header".to_owned(), |s: &Section| s.name.clone());
            return Err(Fault::Overlap(before, name));
        }
        end = rva
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or_else(|| Fault::Truncated(format!("section {name}")))?;
        let bits = header.characteristics.get(LE).0;
        // Microsoft's linker marks INIT as discardable, lld does not; the name means the same.
        let discard = bits & pe::IMAGE_SCN_MEM_DISCARDABLE.0 != 0 || name == "INIT";
        sections.push(Section {
            name,
            rva,
            size: len,
            raw: raw_at..raw_at + from_file,
            execute: bits & pe::IMAGE_SCN_MEM_EXECUTE.0 != 0,
            write: bits & pe::IMAGE_SCN_MEM_WRITE.0 != 0,
            discard,
        });
    }
    Ok(sections)
}

fn read_imports(
    table: &object::read::pe::ImportTable<'_>,
    pe: &mut Pe<'_>,
) -> Result<(), Result<Fault, object::Error>> {
    let mut descriptors = table.descriptors().map_err(Err)?;
    while let Some(descriptor) = descriptors.next().map_err(Err)? {
        let image = String::from_utf8_lossy(table.name(descriptor.name.get(LE)).map_err(Err)?).to_lowercase();
        let mut slot = descriptor.first_thunk.get(LE);
        let lookup = match descriptor.original_first_thunk.get(LE) {
            0 => slot,
            at => at,
        };
        let mut thunks = table.thunks(lookup).map_err(Err)?;
        while let Some(thunk) = thunks.next::<ImageNtHeaders64>().map_err(Err)? {
            if thunk.is_ordinal() {
                return Err(Ok(Fault::Ordinal(image, thunk.ordinal())));
            }
            let (_, name) = table.hint_name(thunk.address()).map_err(Err)?;
            if slot.checked_add(8).is_none_or(|end| end > pe.size) {
                return Err(Ok(outside("an import slot")));
            }
            pe.imports.push(Import { image: image.clone(), name: String::from_utf8_lossy(name).into_owned(), slot });
            slot += 8;
        }
    }
    Ok(())
}

fn read_functions(directories: &object::read::pe::DataDirectories<'_>, pe: &mut Pe<'_>) -> Result<(), Fault> {
    let Some(directory) = directories.get(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION) else { return Ok(()) };
    let (rva, len) = directory.address_range();
    if len == 0 {
        return Ok(());
    }
    let damaged = |why: &str| Fault::Directory("exception", why.to_owned());
    let data = pe.at(rva, len as usize).ok_or_else(|| damaged("outside the image"))?;
    let mut functions = Vec::new();
    for entry in data.chunks_exact(12) {
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let function = Function { begin: word(0), end: word(4), unwind: word(8) };
        if function.begin >= function.end || function.end > pe.size || function.unwind >= pe.size {
            return Err(damaged("an entry lies outside the image"));
        }
        if functions.last().is_some_and(|before: &Function| before.end > function.begin) {
            return Err(damaged("entries are not in order"));
        }
        functions.push(function);
    }
    pe.functions = functions;
    pe.function_table = rva..rva + len / 12 * 12;
    Ok(())
}

/// Finds LoadConfig.SecurityCookie (offset 58h), which holds an address for the preferred base.
fn read_cookie(directories: &object::read::pe::DataDirectories<'_>, pe: &Pe<'_>) -> Option<u32> {
    let (rva, _) = directories.get(pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG)?.address_range();
    let size = u32::from_le_bytes(pe.at(rva, 4)?.try_into().ok()?);
    if rva == 0 || size < 0x60 {
        return None;
    }
    let address = u64::from_le_bytes(pe.at(rva.checked_add(0x58)?, 8)?.try_into().ok()?);
    let at = u32::try_from(address.checked_sub(pe.preferred_base)?).ok()?;
    (address != 0 && at.is_multiple_of(8) && at.checked_add(8)? <= pe.size).then_some(at)
}

fn read_symbols(nt: &ImageNtHeaders64, bytes: &[u8], sections: &[Section]) -> Vec<(u32, String)> {
    let Ok(table) = nt.symbols(bytes) else { return Vec::new() };
    let mut found = Vec::new();
    for (_, symbol) in table.iter() {
        let section = symbol.section_number.get(LE);
        let Some(section) = usize::from(section).checked_sub(1).and_then(|index| sections.get(index)) else { continue };
        if let Ok(name) = Symbol::name(symbol, table.strings())
            && !name.starts_with(b".")
            && let Some(rva) = section.rva.checked_add(symbol.value.get(LE))
        {
            found.push((rva, String::from_utf8_lossy(name).into_owned()));
        }
    }
    found.sort();
    found
}

impl Pe<'_> {
    /// Returns file bytes by their address in the image; `None` where the image has zeroes or nothing.
    #[must_use]
    pub fn at(&self, rva: u32, len: usize) -> Option<&[u8]> {
        let section = self.sections.iter().find(|s| s.rva <= rva && rva - s.rva < s.size)?;
        let start = section.raw.start + (rva - section.rva) as usize;
        let end = start.checked_add(len).filter(|end| *end <= section.raw.end)?;
        self.bytes.get(start..end)
    }
}
