//! Cancelling writes that wait for the cache: nt-io.md section 13, cc.md section 4.
mod support;

use nt_abi::NtStatus;
use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_MJ_WRITE, IRP_PAGING_IO};
use nt_cell::Addr;
use nt_cell::arena::UserBlock;
use nt_io::device::{self, Device, DeviceSpec};
use nt_io::driver::{self, Answer, NativeDriver, OwnedIrp};
use nt_ke::{Mode, wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use support::*;

/// A driver over the volume: paging writes wait in it while it is shut.
struct Gate {
    below: Device,
    shut: AtomicBool,
    waiting: AtomicU32,
}

impl NativeDriver for Gate {
    fn dispatch(&self, _device: Device, irp: OwnedIrp) -> Answer {
        let paging = irp.irp().get(IRP::Flags) & IRP_PAGING_IO != 0;
        if paging && irp.stack().get(IO_STACK_LOCATION::MajorFunction) == IRP_MJ_WRITE {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            while self.shut.load(Ordering::SeqCst) {
                let _slept = wait::delay(&nt_ke::current(), Mode::Kernel, false, -10_000);
            }
        }
        irp.skip_to(self.below)
    }
}

#[test]
fn nt_x_08_a_write_that_waits_for_the_cache_can_be_cancelled_and_then_nothing_is_done() {
    let world = World::new();
    let gate = Gate { below: world.volume.device, shut: AtomicBool::new(true), waiting: AtomicU32::new(0) };
    let gate = Arc::new(gate);
    let made = driver::create_native(&world.kernel, "\\Driver\\Gate", Arc::clone(&gate) as _).expect("driver");
    let above = device::create(&world.kernel, *made, &DeviceSpec { kind: 8, ..DeviceSpec::default() }).expect("device");
    device::attach(above.body(), world.volume.device).expect("attaches");
    device::ready(above.body());
    let manager = nt_cc::Manager::of(&world.kernel);
    manager.set_policy(Some(nt_cc::Policy::Behind));
    let file = world.async_file("x08");
    assert_eq!(file.write(&[b'.'; 64 << 10], Some(0)), pended(NtStatus::SUCCESS, 64 << 10));
    manager.set_dirty_limit(1);
    let (first, second) = (world.async_file("x08"), world.async_file("x08"));
    for waits in [&first, &second] {
        let done = waits.write(b"cancelled", Some(100));
        assert_eq!(done, Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    }
    let block = UserBlock::new(16).expect("arena");
    let frame = world.frame();
    assert_eq!(nt_io::cancel::nt_cancel_io_file(&frame, first.handle, Addr::user(block.addr())), NtStatus::SUCCESS);
    assert_eq!((first.iosb(), second.iosb()), (Iosb::Is(NtStatus::CANCELLED, 0), Iosb::Untouched));
    // The last close of a file does the same, and tells nobody.
    nt_io::event::close(&frame, second.handle).expect("open");
    assert_eq!((world.processes.in_flight(), second.iosb()), (0, Iosb::Untouched));
    gate.shut.store(false, Ordering::SeqCst);
    world.kernel.drain();
    assert!(gate.waiting.load(Ordering::SeqCst) > 0, "the lazy writer had to wait");
    manager.set_dirty_limit(1 << 16);
    assert_eq!(file.bytes_of("x08"), vec![b'.'; 64 << 10], "nothing of either");
    // One that is not cancelled is done when there is room.
    gate.shut.store(true, Ordering::SeqCst);
    assert_eq!(file.write(&[b'-'; 8 << 10], Some(0)), pended(NtStatus::SUCCESS, 8 << 10));
    manager.set_dirty_limit(1);
    let third = world.async_file("x08");
    let late = third.write(b"done", Some(4));
    assert_eq!(late, Done { returned: NtStatus::PENDING, iosb: Iosb::Untouched });
    gate.shut.store(false, Ordering::SeqCst);
    world.kernel.drain();
    assert_eq!(third.iosb(), Iosb::Is(NtStatus::SUCCESS, 4));
    assert_eq!(file.bytes_of("x08")[..12], *b"----done----");
    drop((file, third));
    device::detach(world.volume.device);
}
