//! The driver door: a compiled driver makes the calls that its control code names (tests/drivers/t_door.h).
//!
//! Room: tests/conformance. Calls: `nt_machine` (loads t_ntdoor.sys), the driver's device. The driver runs in the caller's thread,
//! previous mode user: its Nt calls are a user's, its Zw calls a driver's.

use super::{Calls, Raw, native::relative};
use crate::door::Direction;
use nt_cell::{Addr, UserBlock};
use nt_io::control::ControlArguments;
use nt_io::service::Caller;
use nt_machine::driver::{Driver, DriverOptions, Unloaded};
use nt_machine::{Client, CreateSpec, Handle, Machine, NtStatus};

const IOCTL_TDOOR: u32 = 0x0022_2003;
const REQUEST: usize = 112;
const ZW_WAIT: u32 = 13;
const ZW_CREATE_EVENT: u32 = 14;

/// Which of a service's two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// NtWriteFile: validates for the previous mode.
    Nt,
    /// ZwWriteFile: vouches for its caller.
    Zw,
}

/// The calls of a loaded driver.
#[derive(Debug)]
pub struct DriverCalls {
    client: Client,
    door: Handle,
    names: Names,
    request: UserBlock,
    words: UserBlock,
}

impl DriverCalls {
    /// Loads the driver.
    pub fn load(machine: &Machine) -> Driver {
        let image = include_bytes!("../../../drivers/t_ntdoor.sys");
        machine.load_driver("t_ntdoor.sys", image, &DriverOptions::default()).expect("t_ntdoor.sys loads")
    }

    /// Unloads it.
    pub fn unload(machine: &Machine, driver: Driver) -> Result<(), String> {
        match machine.unload_driver(driver) {
            Unloaded::Yes => Ok(()),
            other => Err(format!("t_ntdoor.sys: {other:?}")),
        }
    }

    /// Opens the driver's device as this process.
    #[must_use]
    pub fn new(client: Client, names: Names) -> Self {
        let name = "\\??\\TDoor".encode_utf16().collect();
        let spec = CreateSpec { access: 0x12_019F, name, options: 0x20, ..CreateSpec::default() };
        let (door, _) = client.create(&spec).expect("the door opens");
        let block = || UserBlock::new(1024).expect("arena");
        Self { client, door, names, request: block(), words: block() }
    }

    /// Makes the driver call; returns what the call returned, or the status that it raised.
    fn call(&self, op: u32, args: &[u64]) -> NtStatus {
        let region = self.request.region();
        region.store::<u32>(0, op).expect("arena");
        region.store::<u32>(4, 0x5A5A_5A5A).expect("arena");
        for slot in 0..13 {
            region.store::<u64>(8 + slot * 8, args.get(slot).copied().unwrap_or(0)).expect("arena");
        }
        let arguments = ControlArguments {
            caller: Caller::plain(self.door, Addr::user(self.request.addr() + 128)),
            code: IOCTL_TDOOR,
            input: (Addr::user(self.request.addr()), REQUEST as u32),
            output: (Addr::NULL, 0),
            file_system: false,
        };
        let status = self.client.call(|frame| nt_io::control::nt_control_file(frame, &arguments));
        assert_eq!(status, NtStatus::SUCCESS, "the door itself");
        NtStatus(region.load::<u32>(4).expect("arena"))
    }

    /// The call by either name: Zw's number is one more.
    fn either(&self, nt: u32, args: &[u64]) -> NtStatus {
        self.call(nt + u32::from(self.names == Names::Zw), args)
    }
}

impl Drop for DriverCalls {
    fn drop(&mut self) {
        let _closed = self.client.close(self.door);
    }
}

impl Calls for DriverCalls {
    fn name(&self) -> &'static str {
        match self.names {
            Names::Nt => "driver (Nt)",
            Names::Zw => "driver (Zw)",
        }
    }
    fn user(&self) -> bool {
        self.names == Names::Nt
    }
    fn create(&self, spec: &CreateSpec) -> (NtStatus, u64, u64) {
        // {0 handle, 16 status block, 32 allocation, 48 UNICODE_STRING, 64 OBJECT_ATTRIBUTES, 128 name}.
        let (region, at) = (self.words.region(), self.words.addr());
        let name: Vec<u8> = spec.name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        region.sub(0, 128).fill(0).expect("arena");
        region.sub(128, name.len()).write_from(&name).expect("arena");
        region.store::<i64>(32, spec.allocation).expect("arena");
        region.store::<u16>(48, name.len() as u16).expect("arena");
        region.store::<u16>(50, name.len() as u16).expect("arena");
        region.store::<u64>(56, at + 128).expect("arena");
        region.store::<u32>(64, 48).expect("arena");
        region.store::<u64>(80, at + 48).expect("arena");
        region.store::<u32>(88, spec.attributes).expect("arena");
        let word = |value: u32| u64::from(value);
        let status = self.either(
            1,
            &[
                at,
                word(spec.access),
                at + 64,
                at + 16,
                if spec.allocation == 0 { 0 } else { at + 32 },
                word(spec.file_attributes),
                word(spec.share),
                word(spec.disposition),
                word(spec.options),
                0,
                0,
            ],
        );
        (status, region.load::<u64>(24).expect("arena"), region.load::<u64>(0).expect("arena"))
    }
    fn close(&self, handle: u64) -> NtStatus {
        self.either(11, &[handle])
    }
    fn transfer(&self, direction: Direction, raw: &Raw) -> NtStatus {
        let op = if direction == Direction::Read { 3 } else { 5 };
        let Raw { file, event, block, buffer, length, offset, key } = *raw;
        self.either(op, &[file, event, 0, 0, block, buffer, u64::from(length), offset, key])
    }
    fn query(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus {
        self.either(7, &[handle, block, buffer, u64::from(length), u64::from(class)])
    }
    fn set(&self, handle: u64, block: u64, buffer: u64, length: u32, class: u32) -> NtStatus {
        self.either(9, &[handle, block, buffer, u64::from(length), u64::from(class)])
    }
    fn event(&self, access: u32, notification: bool, signalled: bool) -> Result<u64, NtStatus> {
        let at = self.words.addr();
        let kind = u64::from(!notification);
        match self.call(ZW_CREATE_EVENT, &[at, u64::from(access), 0, kind, u64::from(signalled)]) {
            NtStatus::SUCCESS => Ok(self.words.region().load::<u64>(0).expect("arena")),
            status => Err(status),
        }
    }
    fn wait(&self, handle: u64, milliseconds: u32) -> NtStatus {
        self.words.region().store::<i64>(0, relative(milliseconds)).expect("arena");
        self.call(ZW_WAIT, &[handle, 0, self.words.addr()])
    }
}
