//! A compiled driver that completes a packet twice (tests/drivers/t_twice.c): a process of its own, for it ends there.

use nt_machine::Machine;
use nt_machine::driver::DriverOptions;
use std::process::Command;

#[test]
#[ignore = "ends its process; run by the test below"]
fn victim_that_completes_twice() {
    let machine = Machine::builder().build().expect("a machine");
    machine.kernel().verify(std::env::var_os("VERIFY").is_some());
    let image = include_bytes!("../../tests/drivers/t_twice.sys");
    let _never = machine.load_driver("t_twice.sys", image, &DriverOptions::default());
}

#[test]
fn nt_m_09_the_bug_check_shows_where_a_compiled_driver_completed_the_packet_first_and_where_again() {
    for verified in [false, true] {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "victim_that_completes_twice", "--ignored", "--nocapture"]).env_remove("VERIFY");
        if verified {
            command.env("VERIFY", "1");
        }
        let output = command.output().expect("runs");
        assert!(!output.status.success(), "it stops");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let at = text.find("bug check 0x44 MULTIPLE_IRP_COMPLETE_REQUESTS").unwrap_or_else(|| panic!("{text}"));
        let (first, again) = text[at..].split_once("and again at").expect("two places");
        assert!(again.contains("t_twice.sys+0x") && again.contains("(TwiceAgain+0x"), "{again}");
        assert_eq!(first.contains("(TwiceFirst+0x"), verified, "{first}");
        assert_eq!(first.contains("with the verifier on"), !verified, "{first}");
        assert!(!first.contains("TwiceAgain"), "{first}");
    }
}
