//! Faults of driver code: t_fault.sys; GS, IRQL and the shared page: t_gs.sys.
#![allow(unsafe_code, reason = "the import table of the fixture")]
#![allow(clippy::print_stderr, reason = "measured costs are printed")]

mod common;

use common::{call, load};
use nt_cell::{UserBlock, exports, kpcr};
use nt_ldr::SiteKind;

exports! { "ntoskrnl.exe" => }

#[test]
fn processor_faults_become_their_statuses() {
    let image = load("t_fault.sys");
    let freed = UserBlock::pages(4096).expect("arena").addr();
    for (name, argument, status) in [
        ("CaughtDivide", 0, 0xc000_0094),
        ("CaughtOverflow", 0, 0xc000_0095),
        ("CaughtBreakpoint", 0, 0x8000_0003u64),
        ("CaughtIllegal", 0, 0xc000_001d),
        ("CaughtPrivileged", 0, 0xc000_0096),
        ("CaughtHalt", 0, 0xc000_0096),
        ("CaughtNonCanonical", 0, 0xc000_0005),
        ("CaughtKernelHalf", 0, 0xc000_0005),
        ("CaughtWildCall", 0x1234_5000, 0xc000_0005),
        ("CaughtWildCall", 0x8000_0000_0000_0000, 0xc000_0005),
        ("CaughtReadOnly", 0, 0xc000_0005),
        ("CaughtUser", freed, 0xc000_0005),
    ] {
        assert_eq!(call(&image, name, &[argument]), Ok(status), "{name}");
    }
}

#[test]
fn fail_fast_cannot_be_caught() {
    let image = load("t_fault.sys");
    let dead = call(&image, "FastFail", &[3]).expect_err("no SEH by design").bugcheck.expect("a bugcheck");
    assert_eq!((dead.code, dead.parameters[0]), (0x139, 3));
}

#[test]
fn a_wild_jump_is_the_drivers_bugcheck() {
    let image = load("t_fault.sys");
    let raised = call(&image, "WildJump", &[0x4141_0000]).expect_err("nobody catches");
    assert_eq!(raised.address, 0x4141_0000);
    let dead = raised.bugcheck.expect("a bugcheck");
    assert_eq!((dead.code, dead.parameters[2], dead.parameters[3]), (0x1e, 8, 0x4141_0000));
}

#[test]
fn a_callback_pointer_to_nowhere_is_a_bugcheck_with_its_address() {
    let _image = load("t_fault.sys");
    // SAFETY: not code at all; the border answers for it.
    let wild = unsafe { nt_cell::CodePtr::from_raw(0x4242_0000) }.expect("not null");
    let raised = nt_cell::callout::call(wild, &[]).expect_err("nothing is there");
    assert_eq!((raised.address, raised.bugcheck.map(|dead| dead.code)), (0x4242_0000, Some(0x1e)));
}

#[test]
fn a_used_up_stack_is_a_bugcheck_and_the_thread_goes_on() {
    let image = load("t_fault.sys");
    for _ in 0..2 {
        let dead = call(&image, "Overflow", &[0]).expect_err("endless").bugcheck.expect("a bugcheck");
        assert_eq!((dead.code, dead.parameters[0]), (0x7f, 8));
    }
    assert_eq!(call(&image, "CaughtDivide", &[0]), Ok(0xc000_0094));
}

#[test]
fn initialization_code_is_gone_after_driver_entry() {
    let image = load("t_fault.sys");
    assert_eq!(call(&image, "InitOnly", &[]), Ok(7));
    image.discard_initialization();
    let raised = call(&image, "InitOnly", &[]).expect_err("discarded");
    assert!(image.symbolize(raised.address).contains("InitOnly"));
}

#[test]
fn an_unloaded_driver_is_not_called() {
    let image = load("t_fault.sys");
    let code = common::routine(&image, "CaughtDivide");
    image.unload();
    let raised = nt_cell::callout::call(code, &[0]).expect_err("unmapped");
    assert_eq!(raised.address, code.addr());
}

#[test]
fn inline_reads_of_the_kpcr_see_this_thread() {
    let image = load("t_gs.sys");
    let check = || {
        let was = kpcr::set_current_thread(0x1234_5678);
        assert_eq!(call(&image, "CurrentThread", &[]), Ok(0x1234_5678));
        assert_eq!(call(&image, "Processor", &[]), Ok(u64::from(kpcr::processor() as u8)));
        assert_eq!(call(&image, "Self", &[]), Ok(kpcr::current().addr()));
        assert_eq!(call(&image, "SetIrql", &[2]), Ok(0));
        assert_eq!((kpcr::irql(), call(&image, "Irql", &[]), call(&image, "IrqlHigh", &[])), (2, Ok(2), Ok(2)));
        assert_eq!(call(&image, "SetIrql", &[0]), Ok(2));
        kpcr::set_current_thread(was);
    };
    check();
    std::thread::scope(|scope| {
        scope.spawn(check).join().expect("a new thread has its KPCR");
    });
}

#[test]
fn cr8_is_rewritten_where_nothing_jumps_in_and_emulated_elsewhere() {
    let image = load("t_gs.sys");
    assert_eq!(image.rewritten(), 5, "all but two");
    assert_eq!(kpcr::set_irql(1), 0);
    assert_eq!(call(&image, "IrqlLoop", &[3]), Ok(1), "trapped and emulated");
    assert_eq!(call(&image, "IrqlTarget", &[3]), Ok(1), "trapped and emulated");
    assert_eq!(call(&image, "IrqlMany", &[3]), Ok(1), "rewritten");
    assert_eq!(kpcr::set_irql(0), 1);
    let time = |name: &str, rounds: u64| {
        let start = std::time::Instant::now();
        let done = call(&image, name, &[rounds]);
        assert_eq!(done, Ok(0));
        start.elapsed().as_nanos() as f64 / rounds as f64
    };
    let fast = (0..10).map(|_| time("IrqlMany", 100_000)).fold(f64::MAX, f64::min);
    let slow = time("IrqlLoop", 1_000);
    eprintln!("cr8 rewritten {fast:.1} ns, trapped {slow:.0} ns");
    assert!(fast < slow, "a rewritten read does not trap");
}

#[test]
fn the_shared_data_page_is_ours() {
    let image = load("t_gs.sys");
    nt_ldr::set_shared_time(55, 0x1_2345_6789, 99);
    assert_eq!(call(&image, "SystemTime", &[]), Ok(0x1_2345_6789));
    assert_eq!(call(&image, "TickCount", &[]), Ok(99));
}

#[test]
fn a_scan_lists_what_bypasses_imports() {
    let bytes = common::fixture("t_gs.sys");
    let sites = nt_ldr::scan(&nt_pe::parse("t_gs.sys", &bytes).expect("an image"));
    let count = |wanted: fn(&SiteKind) -> bool| sites.iter().filter(|site| wanted(&site.kind)).count();
    assert_eq!(count(|kind| *kind == SiteKind::Irql), 7);
    assert_eq!(count(|kind| matches!(kind, SiteKind::Kpcr(0x188 | 0x184 | 0x18))), 3);
    assert_eq!(count(|kind| matches!(kind, SiteKind::SharedData(0x14 | 0x320))), 2);
}
