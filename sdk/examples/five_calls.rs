//! The five calls that ntio exists for, from Rust: `cargo run --example five_calls`.
#![expect(clippy::print_stdout, reason = "an example tells what it did")]

use ntio::{KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN, KSSTATE_STOP, KsSpec, Machine, NtResult, spec};

/// Makes each call once.
pub fn main() -> NtResult<()> {
    let machine = Machine::builder().ks(KsSpec::Null).build()?;
    machine.add_built_in("spy", None)?;
    let kernel = machine.kernel_client()?;
    let client = machine.process("reader")?;

    // 1. ZwWriteFile, and 2. FltWriteFile below the filter `spy`, and 3. KsWriteFile at the current position.
    let file = kernel.open(&spec("C:\\five.txt"))?;
    assert_eq!(file.zw_write(Some(0), b"Zw, ")?, 4);
    assert_eq!(file.flt_write(&machine.instance("spy", 0)?, Some(8), b"Flt.")?, 4);
    assert_eq!(file.ks_write(b"Ks, ")?, 4); // FltWriteFile left the position alone
    drop(file);
    let (opened, _) = client.create(&spec("C:\\five.txt"))?;
    let mut bytes = [0; 16];
    let count = client.read(opened, Some(0), &mut bytes)?;
    client.close(opened)?;
    assert_eq!(&bytes[..count], b"Zw, Ks, Flt.");
    println!("C:\\five.txt holds {:?}", String::from_utf8_lossy(&bytes[..count]));

    // 4. KsStreamIo and 5. IOCTL_KS_WRITE_STREAM, to a pin of the streaming device `null`; KsWriteFile to its raw pin.
    let mut device = spec("\\??\\NtioKs.null");
    device.disposition = ntio::FILE_OPEN;
    let filter = kernel.open(&device)?;
    let pin = filter.pin(0, false)?;
    for state in [KSSTATE_ACQUIRE, KSSTATE_PAUSE, KSSTATE_RUN] {
        pin.set_state(state)?;
    }
    assert_eq!(pin.ks_stream_write(&[b"one frame", b"and another"])?, 20);
    assert_eq!(pin.ioctl_write_stream(&[b"by a control code"])?, 17);
    pin.set_state(KSSTATE_STOP)?;
    assert_eq!(filter.pin(1, false)?.ks_write(b"plain bytes")?, 11);
    drop((pin, filter));
    let (requests, bytes) = machine.streams()[0].taken();
    println!("\\Device\\NtioKs\\null took {bytes} bytes in {requests} requests");

    let (filters, leaks) = (machine.filters(), machine.shutdown());
    assert!(leaks.is_empty(), "{leaks:?}");
    println!("filters: {filters:?}; nothing was left behind");
    Ok(())
}
