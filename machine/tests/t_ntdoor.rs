//! Nt and Zw as a compiled driver calls them with a user's previous mode (tests/drivers/t_door.h).

use nt_cell::{Addr, UserBlock};
use nt_io::control::ControlArguments;
use nt_io::service::Caller;
use nt_machine::client::Client;
use nt_machine::driver::{Driver, DriverOptions, Unloaded};
use nt_machine::file::{GENERIC_READ, SYNCHRONIZE, spec};
use nt_machine::{CreateSpec, Handle, Machine, NtStatus};

const IOCTL_TDOOR: u32 = 0x0022_2003;
const NT_WRITE_FILE: u32 = 5;
const ZW_WRITE_FILE: u32 = 6;
const ZW_CLOSE: u32 = 12;

/// A machine with the door, and a user process that has it open.
struct House {
    machine: Machine,
    driver: Driver,
    client: Client,
    door: Handle,
    request: UserBlock,
    data: UserBlock,
}

impl House {
    fn new() -> Self {
        let machine = Machine::builder().build().expect("a machine");
        let image = include_bytes!("../../tests/drivers/t_ntdoor.sys");
        let driver = machine.load_driver("t_ntdoor.sys", image, &DriverOptions::default()).expect("the door loads");
        let client = machine.process("caller").expect("a process");
        let door = client.create(&CreateSpec { disposition: 1, ..spec("\\??\\TDoor") }).expect("the door opens").0;
        let block = || UserBlock::new(256).expect("arena");
        Self { machine, driver, client, door, request: block(), data: block() }
    }

    /// Makes the driver call; returns what the call returned.
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
            input: (Addr::user(self.request.addr()), 112),
            output: (Addr::NULL, 0),
            file_system: false,
        };
        let status = self.client.call(|frame| nt_io::control::nt_control_file(frame, &arguments));
        assert_eq!(status, NtStatus::SUCCESS, "the door itself");
        NtStatus(region.load::<u32>(4).expect("arena"))
    }

    /// {handle, event, APC, context, status block, buffer, 5, offset 0, no key}.
    fn write(&self, op: u32, handle: Handle, iosb: u64, buffer: u64) -> NtStatus {
        self.data.region().store::<i64>(64, 0).expect("arena");
        self.call(op, &[handle.0, 0, 0, 0, iosb, buffer, 5, self.data.addr() + 64, 0])
    }

    fn end(self) {
        self.client.close(self.door).expect("open");
        drop((self.client, self.request, self.data));
        assert_eq!(self.machine.unload_driver(self.driver), Unloaded::Yes);
        let leaks = self.machine.shutdown();
        // Pool is the process's: another test of this file may hold some.
        assert_eq!((leaks.requests, leaks.handles.len()), (0, 0), "{leaks:?}");
    }
}

#[test]
fn nt_b_12_a_driver_in_a_users_thread_calls_nt_as_the_user() {
    let house = House::new();
    let file = house.client.create(&spec("C:\\door.bin")).expect("a file").0;
    house.data.region().sub(0, 5).write_from(b"hello").expect("arena");
    let (iosb, buffer) = (house.data.addr() + 32, house.data.addr());
    assert_eq!(house.write(NT_WRITE_FILE, file, iosb, buffer), NtStatus::SUCCESS);
    assert_eq!(house.data.region().load::<u64>(40), Ok(5));
    let mut bytes = [0; 8];
    assert_eq!(house.client.read(file, Some(0), &mut bytes), Ok(5));
    assert_eq!(&bytes[..5], b"hello");

    let kernel = *b"boxes";
    let kernel = kernel.as_ptr() as u64;
    assert_eq!(house.write(NT_WRITE_FILE, file, iosb, kernel), NtStatus::ACCESS_VIOLATION, "NT-B-12: a kernel buffer");
    assert_eq!(house.write(NT_WRITE_FILE, file, 0, buffer), NtStatus::ACCESS_VIOLATION, "NT-W-19: no status block");
    assert_eq!(house.write(ZW_WRITE_FILE, file, iosb, kernel), NtStatus::SUCCESS, "NT-B-11: Zw vouches for it");
    assert_eq!(house.client.read(file, Some(0), &mut bytes), Ok(5));
    assert_eq!(&bytes[..5], b"boxes");
    house.client.close(file).expect("open");
    house.end();
}

#[test]
fn nt_b_11_zw_does_not_check_the_access_of_a_handle() {
    let house = House::new();
    let made = house.client.create(&spec("C:\\read.bin")).expect("a file").0;
    house.client.close(made).expect("open");
    let read_only = CreateSpec { access: GENERIC_READ | SYNCHRONIZE, disposition: 1, ..spec("C:\\read.bin") };
    let file = house.client.create(&read_only).expect("a file").0;
    let (iosb, buffer) = (house.data.addr() + 32, house.data.addr());
    assert_eq!(house.write(NT_WRITE_FILE, file, iosb, buffer), NtStatus::ACCESS_DENIED);
    assert_eq!(house.write(ZW_WRITE_FILE, file, iosb, buffer), NtStatus::SUCCESS);
    assert_eq!(house.call(ZW_CLOSE, &[file.0]), NtStatus::SUCCESS);
    assert_eq!(house.write(ZW_WRITE_FILE, file, iosb, buffer), NtStatus::INVALID_HANDLE);
    house.end();
}
