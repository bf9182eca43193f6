//! Descriptors and tokens in tests.

use super::names::DIR;
use super::{File, World};
use nt_abi::NtStatus;
use nt_abi::se::SE_DACL_PRESENT;
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::create::{self, CreateSpec};
use nt_io::driver::{Answer, NativeDriver, OwnedIrp};
use nt_io::security::{nt_query_security_object, nt_set_security_object, user_reader};
use nt_se::{Ace, Acl, Descriptor, Sid, TokenSpec};

pub const OWNER: u32 = 1;
pub const GROUP: u32 = 2;
pub const DACL: u32 = 4;
pub const SACL: u32 = 8;
pub const LABEL: u32 = 0x10;
pub const READ_CONTROL: u32 = 0x2_0000;
pub const WRITE_DAC: u32 = 0x4_0000;
pub const WRITE_OWNER: u32 = 0x8_0000;
pub const SYSTEM_SECURITY: u32 = 0x100_0000;
pub const ALL: u32 = 0x1F_01FF;
/// The user that is nobody special.
pub const ME: Sid = Sid::account(1001);

pub fn user() -> TokenSpec {
    TokenSpec::user(ME, &[Sid::USERS])
}

/// A DACL by which everybody has `mask` and nobody more.
pub fn everyone(mask: u32) -> Descriptor {
    let dacl = Some(Acl::new(vec![Ace::allow(mask, &Sid::EVERYONE)]));
    Descriptor { control: SE_DACL_PRESENT, dacl, ..Descriptor::default() }
}

impl World {
    pub fn run_as(&self, token: TokenSpec) {
        nt_se::subject::run_as(&self.kernel, &self.process, token).expect("a token");
    }

    pub fn spec(&self, name: &str, access: u32, options: u32, disposition: u32) -> CreateSpec {
        let name = format!("\\??\\C:\\{name}").encode_utf16().collect();
        CreateSpec { access, name, options, disposition, ..CreateSpec::default() }
    }

    pub fn try_make(
        &self,
        name: &str,
        options: u32,
        given: Option<&Descriptor>,
        disposition: u32,
    ) -> Result<File<'_>, NtStatus> {
        let mut spec = self.spec(name, ALL, options, disposition);
        spec.security = given.map(Descriptor::bytes);
        let made = create::nt_create_file(&self.frame(), &spec).map_err(NtStatus::from);
        made.map(|(handle, _)| self.adopt(handle))
    }

    /// Makes a file, or a directory with [`DIR`].
    pub fn secured(&self, name: &str, options: u32, given: Option<&Descriptor>) -> File<'_> {
        self.try_make(name, options & DIR, given, 2).unwrap_or_else(|status| panic!("{name}: {status}"))
    }

    /// Why a file cannot be opened for `access`.
    pub fn refusal(&self, name: &str, access: u32) -> Option<NtStatus> {
        match self.try_open(name, access, 0, 1) {
            Ok((handle, _)) => {
                drop(self.adopt(handle));
                None
            }
            Err(status) => Some(status),
        }
    }

    /// What an open is granted.
    pub fn granted(&self, name: &str, access: u32, options: u32) -> Result<u32, NtStatus> {
        let (handle, _) = self.try_open(name, access, options, 1)?;
        let file = self.adopt(handle);
        Ok(file.granted())
    }
}

impl File<'_> {
    /// What the handle was granted.
    pub fn granted(&self) -> u32 {
        let found = nt_ps::current_process(&self.world.frame()).handles.reference(self.handle).expect("a handle");
        found.granted
    }

    /// NtQuerySecurityObject: the status, LengthNeeded, the buffer.
    pub fn raw_security(&self, information: u32, length: u32) -> (NtStatus, u32, Vec<u8>) {
        let block = UserBlock::new(length as usize + 16).expect("arena");
        block.region().fill(0xEE).expect("arena");
        block.region().store::<u32>(0, 0).expect("arena");
        let (told, buffer) = (Addr::user(block.addr()), Addr::user(block.addr() + 16));
        let status = nt_query_security_object(&self.world.frame(), self.handle, information, buffer, length, told);
        let needed = block.region().load::<u32>(0).expect("arena");
        (status, needed, block.region().sub(16, length as usize).to_vec().expect("arena"))
    }

    pub fn security(&self, information: u32) -> Descriptor {
        let (status, needed, bytes) = self.raw_security(information, 4096);
        assert_eq!(status, NtStatus::SUCCESS);
        Descriptor::parse(&bytes[..needed as usize]).expect("a self-relative descriptor")
    }

    pub fn set_security_at(&self, information: u32, address: u64) -> NtStatus {
        nt_set_security_object(&self.world.frame(), self.handle, information, address, &user_reader)
    }

    pub fn set_security_bytes(&self, information: u32, bytes: &[u8]) -> NtStatus {
        let block = UserBlock::new(bytes.len()).expect("arena");
        block.region().sub(0, bytes.len()).write_from(bytes).expect("arena");
        self.set_security_at(information, block.addr())
    }

    pub fn set_security(&self, information: u32, new: &Descriptor) -> NtStatus {
        self.set_security_bytes(information, &new.bytes())
    }
}

/// A driver that knows opens and nothing else.
pub struct Bare;

impl NativeDriver for Bare {
    fn dispatch(&self, _: nt_io::device::Device, irp: OwnedIrp) -> Answer {
        let major = irp.stack().get(nt_abi::io::IO_STACK_LOCATION::MajorFunction);
        let known = matches!(major, nt_abi::io::IRP_MJ_CREATE | nt_abi::io::IRP_MJ_CLEANUP | nt_abi::io::IRP_MJ_CLOSE);
        irp.complete(if known { NtStatus::SUCCESS } else { NtStatus::INVALID_DEVICE_REQUEST }, 0)
    }
}
