//! A compiled filter that sends opens elsewhere, and reparse points as a compiled driver meets them (tests/drivers/t_redirect.c).

mod compiled;

use compiled::{all_good, at, listening};
use nt_machine::driver::Unloaded;
use nt_machine::file::spec;
use nt_machine::{CreateSpec, Machine};

#[test]
fn nt_rep_21_a_compiled_filter_redirects_a_program() {
    let (machine, lines) = listening(Machine::builder());
    let image = include_bytes!("../../tests/drivers/t_redirect.sys");
    let driver = machine.load_driver("t_redirect.sys", image, &at("385100")).expect("the filter loads");
    let client = machine.process("program").expect("a process");
    let (file, _) = client.create(&spec("C:\\real")).expect("a file");
    assert_eq!(client.write(file, Some(0), b"what it finds"), Ok(13));
    client.close(file).expect("open");
    let again = client.create(&CreateSpec { disposition: 1, ..spec("C:\\real.elsewhere") });
    let (file, _) = again.unwrap_or_else(|error| panic!("another name for it: {error:?}, {:?}", lines.lock()));
    let mut bytes = [0; 13];
    assert_eq!((client.read(file, Some(0), &mut bytes), &bytes), (Ok(13), b"what it finds"));
    client.close(file).expect("open");
    // What is made there is made where the filter says.
    let (file, made) = client.create(&spec("C:\\new.elsewhere")).expect("a file");
    assert_eq!(made, 2);
    client.close(file).expect("open");
    let (file, _) = client.create(&CreateSpec { disposition: 1, ..spec("C:\\new") }).expect("there it is");
    client.close(file).expect("open");
    drop(client);
    assert_eq!(machine.unload_driver(driver), Unloaded::Yes);
    all_good(&lines, 30);
    let told = lines.lock().expect("no other holder panics").iter().any(|line| line == "t_redirect: 4 sent elsewhere");
    assert!(told, "{:?}", lines.lock());
    let leaks = machine.shutdown();
    assert!(leaks.is_empty(), "{leaks:?}");
}
