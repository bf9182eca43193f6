//! The built-in streaming devices, from kernel code written in Rust.

use nt_abi::ks::{KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN, KSSTATE_STOP};
use nt_machine::file::{OPEN, spec};
use nt_machine::{CreateSpec, KernelClient, KernelFile, KsSpec, Machine, NtStatus};

fn filter(kernel: &KernelClient, name: &str) -> KernelFile {
    let spec = CreateSpec { disposition: OPEN, ..spec(&format!("\\??\\NtioKs.{name}")) };
    kernel.open(&spec).expect("the device is there")
}

fn running(filter: &KernelFile, id: u32) -> KernelFile {
    let pin = filter.pin(id, id == 2).expect("a pin");
    for state in [KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN] {
        pin.set_state(state).expect("a step up");
    }
    pin
}

#[test]
fn ks_h_02_a_rawsink_gets_the_used_bytes_of_each_frame_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.raw");
    std::fs::write(&path, b"kept ").expect("a file");
    let machine = Machine::builder().ks(KsSpec::RawSink { path: path.clone() }).build().expect("a machine");
    let kernel = machine.kernel_client().expect("a thread");
    let filter = filter(&kernel, "rawsink");
    let pin = running(&filter, 0);
    let large = vec![7; 200_000];
    assert_eq!(pin.ks_stream_write(&[b"one ", b"", b"two "]), Ok(8));
    assert_eq!(pin.ioctl_write_stream(&[b"three ", &large]), Ok(200_006));
    assert_eq!(filter.pin(1, false).expect("the raw pin").ks_write(b" end"), Ok(4));
    pin.set_state(KSSTATE_STOP).expect("a stop");
    assert_eq!(pin.ks_stream_write(&[b"late"]), Err(NtStatus::INVALID_DEVICE_REQUEST.error()));
    drop((pin, filter, kernel));
    assert_eq!(machine.streams()[0].taken(), (3, 200_018));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
    let expected = [b"kept one two three ".as_slice(), &large, b" end"].concat();
    assert!(std::fs::read(&path).expect("the file") == expected, "the file holds what was there, then each frame");
}

#[test]
fn ks_h_03_a_source_pin_fills_the_room_of_each_frame() {
    let machine = Machine::builder().ks(KsSpec::Null).build().expect("a machine");
    let kernel = machine.kernel_client().expect("a thread");
    let filter = filter(&kernel, "null");
    let pin = running(&filter, 2);
    assert_eq!(pin.ks_stream_read(&[5, 0, 100]), Ok(vec![vec![0; 5], Vec::new(), vec![0; 100]]));
    assert_eq!(pin.ioctl_read_stream(&[3]), Ok(vec![vec![0; 3]]));
    assert_eq!(pin.ks_stream_write(&[b"x"]), Err(NtStatus::INVALID_DEVICE_REQUEST.error()), "KS-I-10");
    drop((pin, filter, kernel));
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
