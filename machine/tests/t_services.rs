//! The file services under their Nt and Zw names, from a system thread and from a user's (tests/drivers/t_services.c).

mod compiled;

use nt_cell::{Addr, UserBlock};
use nt_io::control::ControlArguments;
use nt_io::service::Caller;
use nt_machine::driver::{DriverOptions, Unloaded};
use nt_machine::file::spec;
use nt_machine::{CreateSpec, Machine, NtStatus, VolumeSpec};

const IOCTL_TSERVICES: u32 = 0x0022_2007;

#[test]
fn nt_b_11_and_nt_b_12_hold_for_every_file_service_that_drivers_import() {
    let builder = Machine::builder().volume(VolumeSpec::Ram { size: Some(64 << 20) });
    let (machine, lines) = compiled::listening(builder);
    let image = include_bytes!("../../tests/drivers/t_services.sys");
    let driver = machine.load_driver("t_services.sys", image, &DriverOptions::default()).expect("the driver loads");
    let client = machine.process("caller").expect("a process");
    let door = client.create(&CreateSpec { disposition: 1, ..spec("\\??\\TServices") }).expect("its device opens").0;
    let page = UserBlock::new(4096).expect("arena");
    let arguments = ControlArguments {
        caller: Caller::plain(door, Addr::user(page.addr() + 4000)),
        code: IOCTL_TSERVICES,
        input: (Addr::user(page.addr()), 3072),
        output: (Addr::NULL, 0),
        file_system: false,
    };
    let status = client.call(|frame| nt_io::control::nt_control_file(frame, &arguments));
    assert_eq!(status, NtStatus::SUCCESS);
    client.close(door).expect("open");
    drop((client, page));
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    compiled::all_good(&lines, 110);
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
