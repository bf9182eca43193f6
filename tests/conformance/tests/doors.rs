//! Every case through every door that can express it, as it is and with fast I/O refused; then the columns against each other.
//!
//! The FUSE door fails where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be. `cargo run -p ntio_conformance` prints
//! the table, and with `--write` brings doors.txt up to date.

use nt_machine::VolumeSpec;
use ntio_conformance::house::House;
use ntio_conformance::table::{Column, Way, column, column_of, differences, doors, print};

fn without_fuse() -> bool {
    std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1")
}

/// Runs the list through a door and judges the column by itself.
fn holds(way: Way, refuses_fast_io: bool) -> Column {
    let column = column(way, refuses_fast_io, "").expect("nothing is left behind");
    let wrong = column.wrong();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    // Without this the second run would compare nothing.
    assert_eq!(column.fast == 0, refuses_fast_io, "{} of {} requests by fast I/O", column.fast, column.transfers);
    let (ok, not, _) = column.counts();
    assert!(ok >= not.min(30), "a door that can express next to nothing:\n{}", print(&[column]));
    column
}

/// The fast path and its twin, step by step.
fn twins(way: Way) -> [Column; 2] {
    let both = [holds(way, false), holds(way, true)];
    same(&both[0], &both[1]);
    both
}

fn same(one: &Column, other: &Column) {
    let found = differences(one, other);
    assert!(found.is_empty(), "{} cases differ:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_native_door() {
    let _both = twins(Way::Native);
}

#[test]
fn a_drivers_calls_show_what_native_calls_show() {
    let [native, _] = twins(Way::Native);
    for way in [Way::DriverNt, Way::DriverZw] {
        let [driver, _] = twins(way);
        same(&native, &driver);
    }
}

#[test]
fn the_posix_door() {
    if !without_fuse() {
        let _both = twins(Way::Fuse);
    }
}

#[test]
fn a_dir_volume_shows_what_the_ram_volume_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let ram = holds(Way::Native, false);
    let house = House::with(VolumeSpec::Dir { path: folder.path().to_owned() }, false);
    let dir = column_of(Way::Native, house, "").expect("nothing is left behind");
    assert!(dir.wrong().is_empty(), "{}", dir.wrong().join("\n"));
    same(&ram, &dir);
}

#[test]
fn the_list_of_doors_is_true() {
    let columns: Vec<Column> = Way::ALL
        .into_iter()
        .filter(|way| *way != Way::Fuse || !without_fuse())
        .map(|way| column(way, false, "").expect("nothing is left behind"))
        .collect();
    let seen = doors(&columns);
    let written = include_str!("../doors.txt");
    let written: String = if without_fuse() { written.replace(" fuse\n", "\n") } else { written.to_owned() };
    assert_eq!(seen, written, "cargo run -p ntio_conformance -- --write");
    // A case that no door carries through would be an idle claim.
    let idle: Vec<&str> = seen.lines().skip(1).filter(|line| !line.contains(' ')).collect();
    assert!(idle.is_empty(), "{idle:?}");
}
