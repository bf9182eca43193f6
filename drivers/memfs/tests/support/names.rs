//! Renames, links and deletes as a test asks for them.

use super::*;

pub const DELETE: u32 = 0x1_0000;
pub const DIR: u32 = 1;
pub const DELETE_ON_CLOSE: u32 = 0x1000;
pub const OPEN_REPARSE: u32 = 0x20_0000;
pub const REPLACE: u32 = 1;
pub const POSIX: u32 = 2;
pub const IGNORE_READONLY: u32 = 0x40;

/// FILE_RENAME_INFORMATION or FILE_LINK_INFORMATION.
pub fn name_information(flags: u32, root: Handle, name: &str) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bytes = flags.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&root.0.to_le_bytes());
    bytes.extend_from_slice(&(units.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&units);
    bytes.resize(bytes.len().max(24), 0);
    bytes
}

/// `C:\NAME` as a full NT name.
pub fn full(name: &str) -> String {
    format!("\\??\\C:\\{name}")
}

impl World {
    /// Opens with DELETE and nothing that shares data.
    pub fn to_delete(&self, name: &str) -> File<'_> {
        self.open_file(name, DELETE | 0x80 | SYNCHRONIZE, SYNC)
    }

    /// A new file, opened as [`World::to_delete`] does.
    pub fn to_delete_new(&self, name: &str) -> File<'_> {
        self.put(name, b"");
        self.to_delete(name)
    }

    /// Opens what exists.
    pub fn open_file(&self, name: &str, access: u32, options: u32) -> File<'_> {
        let (handle, _) = self.try_open(name, access, options, 1).unwrap_or_else(|status| panic!("{name}: {status}"));
        self.adopt(handle)
    }

    /// Opens with a share mode; existing or new.
    pub fn shared(&self, name: &str, access: u32, share: u32) -> Result<File<'_>, NtStatus> {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: full(name).encode_utf16().collect(),
            options: SYNC,
            share,
            disposition: 3,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.frame(), &spec).map(|(handle, _)| self.adopt(handle)).map_err(NtStatus::from)
    }

    /// Opens a directory with a share mode.
    pub fn shared_directory(&self, name: &str, access: u32, share: u32) -> File<'_> {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: full(name).encode_utf16().collect(),
            options: SYNC | DIR,
            share,
            disposition: 3,
            ..CreateSpec::default()
        };
        self.adopt(create::nt_create_file(&self.frame(), &spec).expect("a directory").0)
    }

    /// Opens minding case, as a POSIX program does.
    pub fn strict(&self, name: &str, access: u32, disposition: u32) -> Result<File<'_>, NtStatus> {
        let spec = CreateSpec {
            access: access | SYNCHRONIZE,
            name: full(name).encode_utf16().collect(),
            options: SYNC | OPEN_REPARSE,
            attributes: 0,
            disposition,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.frame(), &spec).map(|(handle, _)| self.adopt(handle)).map_err(NtStatus::from)
    }

    /// A new file with these bytes, closed again.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.sync_file(name);
        assert_eq!(file.write(bytes, Some(0)).returned, NtStatus::SUCCESS, "{name}");
    }

    /// What a file holds; `None` when there is none.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let (handle, _) = self.try_open(name, GENERIC_READ | SYNCHRONIZE, SYNC, 1).ok()?;
        let file = self.adopt(handle);
        let length = file.eof() as usize;
        Some(if length == 0 { Vec::new() } else { file.read(length, Some(0)).1 })
    }

    /// Why an open for READ_ATTRIBUTES fails, if it does.
    pub fn absent(&self, name: &str) -> Option<NtStatus> {
        match self.try_open(name, 0x80 | SYNCHRONIZE, SYNC, 1) {
            Ok((handle, _)) => {
                drop(self.adopt(handle));
                None
            }
            Err(status) => Some(status),
        }
    }

    /// Sets a file's attributes.
    pub fn attributes(&self, name: &str, attributes: u32) {
        let file = self.open_file(name, 0x100 | SYNCHRONIZE, SYNC);
        file.set_attributes(attributes);
    }
}

impl File<'_> {
    pub fn set_attributes(&self, attributes: u32) {
        let mut basic = vec![0; 40];
        basic[32..36].copy_from_slice(&attributes.to_le_bytes());
        assert_eq!(self.set(class::BASIC, &basic), NtStatus::SUCCESS);
    }

    /// FileRenameInformation beside the old name.
    pub fn rename(&self, name: &str, replace: bool) -> NtStatus {
        self.set(class::RENAME, &name_information(u32::from(replace), Handle::NULL, name))
    }

    /// FileRenameInformationEx.
    pub fn rename_ex(&self, name: &str, flags: u32) -> NtStatus {
        self.set(class::RENAME_EX, &name_information(flags, Handle::NULL, name))
    }

    pub fn link(&self, name: &str, replace: bool) -> NtStatus {
        self.set(class::LINK, &name_information(u32::from(replace), Handle::NULL, name))
    }

    pub fn link_ex(&self, name: &str, flags: u32) -> NtStatus {
        self.set(class::LINK_EX, &name_information(flags, Handle::NULL, name))
    }

    pub fn dispose(&self, delete: bool) -> NtStatus {
        self.set(class::DISPOSITION, &[u8::from(delete)])
    }

    pub fn dispose_ex(&self, flags: u32) -> NtStatus {
        self.set(class::DISPOSITION_EX, &flags.to_le_bytes())
    }

    /// FileStandardInformation's {NumberOfLinks, DeletePending}.
    pub fn links(&self) -> (u32, bool) {
        let bytes = self.query(class::STANDARD, 24);
        (super::directory::word(&bytes, 16), bytes[20] != 0)
    }

    /// FileNameInformation.
    pub fn name(&self) -> String {
        let bytes = self.query(class::NAME, 1024);
        let length = super::directory::word(&bytes, 0) as usize;
        let units: Vec<u16> =
            bytes[4..4 + length].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    }

    /// FileBasicInformation: {created, accessed, written, changed}, attributes.
    pub fn basic(&self) -> ([i64; 4], u32) {
        let bytes = self.query(class::BASIC, 40);
        let time = |at: usize| super::directory::long(&bytes, at * 8) as i64;
        ([time(0), time(1), time(2), time(3)], super::directory::word(&bytes, 32))
    }

    pub fn id(&self) -> u64 {
        super::directory::long(&self.query(class::INTERNAL, 8), 0)
    }
}
