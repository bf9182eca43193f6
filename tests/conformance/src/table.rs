//! The list through a door, and the table of what came out.
//!
//! Room: tests/conformance. Called by: the test, the program.

use crate::cases::{self, Case};
use crate::door::{Door, Stop};
use crate::doors::{DriverCalls, FuseDoor, Names, NativeCalls, NtDoor, Recorded, Shown};
use crate::house::House;
use crate::run::Run;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `nt_machine::Client`.
    Native,
    /// A compiled driver's Nt calls.
    DriverNt,
    /// A compiled driver's Zw calls.
    DriverZw,
    /// System calls on a mount.
    Fuse,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Native, Self::DriverNt, Self::DriverZw, Self::Fuse];
}

/// What a list did at one door.
#[derive(Debug)]
pub struct Column {
    /// The door.
    pub door: &'static str,
    /// Was fast I/O refused?
    pub refuses_fast_io: bool,
    /// By case.
    pub cells: BTreeMap<&'static str, Cell>,
    /// How many requests fast I/O took.
    pub fast: u64,
    /// How many requests there were.
    pub transfers: u64,
}

/// What one case did at one door.
#[derive(Debug)]
pub struct Cell {
    /// Why it ended early; `None` for ok.
    pub stop: Option<Stop>,
    /// What each step showed.
    pub shown: Vec<Shown>,
}

fn each(door: &dyn Door, house: Option<&House>, hosted: bool, filter: &str) -> BTreeMap<&'static str, Cell> {
    let door = Recorded::new(door);
    let chosen = cases::all().filter(|case| case.name.contains(filter)).enumerate();
    chosen
        .map(|(at, Case { name, run })| {
            let steps = Run::new(&door, house, &format!("c{at:03}"), hosted);
            let stop = run(&steps).err();
            let shown = door.take();
            steps.end();
            let _ending = door.take();
            (name, Cell { stop, shown })
        })
        .collect()
}

/// Runs every case whose name contains `filter` through a door; an error says what the machine left behind.
pub fn column(way: Way, refuses_fast_io: bool, filter: &str) -> Result<Column, String> {
    column_of(way, House::new(refuses_fast_io), filter)
}

/// The same in a house of one's own.
pub fn column_of(way: Way, house: House, filter: &str) -> Result<Column, String> {
    let refuses_fast_io = house.refuses_fast_io();
    let client = |name: &str| house.machine().process(name).expect("a process");
    let (name, cells) = match way {
        Way::Native => {
            let door = NtDoor::new(NativeCalls::new(client("native")));
            (door.name(), each(&door, Some(&house), house.is_hosted(), filter))
        }
        Way::DriverNt | Way::DriverZw => {
            let driver = DriverCalls::load(house.machine());
            let names = if way == Way::DriverNt { Names::Nt } else { Names::Zw };
            let door = NtDoor::new(DriverCalls::new(client("driver"), names));
            let result = (door.name(), each(&door, Some(&house), house.is_hosted(), filter));
            drop(door);
            DriverCalls::unload(house.machine(), driver)?;
            result
        }
        Way::Fuse => {
            let door = FuseDoor::new(&house);
            (door.name(), each(&door, Some(&house), house.is_hosted(), filter))
        }
    };
    let (fast, transfers) = (house.fast_transfers(), house.transfers());
    house.end()?;
    Ok(Column { door: name, refuses_fast_io, cells, fast, transfers })
}

/// Runs the list in a directory that somebody mounted: `C:` is there, and no other volume. `hosted`: its files are the host's.
#[must_use]
pub fn in_mount(directory: &Path, hosted: bool) -> Column {
    let door = FuseDoor::at(directory);
    let cells = each(&door, None, hosted, "");
    Column { door: door.name(), refuses_fast_io: false, cells, fast: 0, transfers: 0 }
}

impl Column {
    /// The title of the column.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}{}", self.door, if self.refuses_fast_io { ", packets only" } else { "" })
    }

    /// What went wrong, a paragraph a case.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let wrong = self.cells.iter().filter_map(|(name, cell)| match &cell.stop {
            Some(Stop::Wrong { step, expected, seen }) => {
                Some(format!("{name} [{}]: {step}\n  expected {expected}\n  seen     {seen}", self.title()))
            }
            _ => None,
        });
        wrong.collect()
    }

    /// How many cells are ok, not expressible, wrong.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let ok = self.cells.values().filter(|cell| cell.stop.is_none()).count();
        let wrong = self.cells.values().filter(|cell| matches!(cell.stop, Some(Stop::Wrong { .. }))).count();
        (ok, self.cells.len() - ok - wrong, wrong)
    }
}

/// Holds two columns against each other, step by step, where both could express the whole case; a paragraph a case.
#[must_use]
pub fn differences(left: &Column, right: &Column) -> Vec<String> {
    let mut found = Vec::new();
    for (name, cell) in &left.cells {
        let Some(other) = right.cells.get(name) else { continue };
        if cell.stop.is_some() || other.stop.is_some() {
            continue;
        }
        let pairs = cell.shown.iter().zip(&other.shown);
        let differs = pairs.enumerate().find(|(_, (one, two))| !one.agrees(two));
        let (titles, counts) = ([left.title(), right.title()], [cell.shown.len(), other.shown.len()]);
        if let Some((at, (one, two))) = differs {
            found.push(format!("{name}, step {at}\n  {}: {one:?}\n  {}: {two:?}", titles[0], titles[1]));
        } else if counts[0] != counts[1] {
            found.push(format!("{name}: {} steps at {}, {} at {}", counts[0], titles[0], counts[1], titles[1]));
        }
    }
    found
}

/// The doors that carried each case through, as doors.txt has it: a line a case.
#[must_use]
pub fn doors(columns: &[Column]) -> String {
    let mut text = String::from("# Written by cargo run -p ntio_conformance -- --write; a test keeps it true.\n");
    for case in cases::all() {
        text.push_str(case.name);
        for (door, word) in [("native", "native"), ("driver", "sys"), ("fuse", "fuse")] {
            let carried = |column: &Column| column.cells.get(case.name).is_some_and(|cell| cell.stop.is_none());
            if columns.iter().any(|column| column.door.starts_with(door) && carried(column)) {
                text.push(' ');
                text.push_str(word);
            }
        }
        text.push('\n');
    }
    text
}

/// Prints the table: a line a case, then why some doors could not express some.
#[must_use]
pub fn print(columns: &[Column]) -> String {
    let mut text = String::new();
    let mut reasons: Vec<&str> = Vec::new();
    let width = cases::all().map(|case| case.name.len()).max().unwrap_or(0);
    let titles: Vec<String> = columns.iter().map(Column::title).collect();
    let _ = writeln!(text, "{:width$}  {}", "case", titles.join(" | "));
    for case in cases::all().filter(|case| columns.iter().any(|column| column.cells.contains_key(case.name))) {
        let cells: Vec<String> = columns
            .iter()
            .zip(&titles)
            .map(|(column, title)| {
                let cell = match column.cells.get(case.name).map(|cell| &cell.stop) {
                    None => String::new(),
                    Some(None) => "ok".to_owned(),
                    Some(Some(Stop::Wrong { .. })) => "WRONG".to_owned(),
                    Some(Some(Stop::NotExpressible(why))) => {
                        let at = reasons.iter().position(|reason| reason == why).unwrap_or_else(|| {
                            reasons.push(why);
                            reasons.len() - 1
                        });
                        format!("- [{}]", at + 1)
                    }
                };
                format!("{cell:width$}", width = title.len())
            })
            .collect();
        let _ = writeln!(text, "{:width$}  {}", case.name, cells.join(" | "));
    }
    for (at, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "[{}] not expressible: {reason}", at + 1);
    }
    for column in columns {
        let (ok, not, wrong) = column.counts();
        let (title, fast, transfers) = (column.title(), column.fast, column.transfers);
        let _ = writeln!(
            text,
            "{title}: {ok} ok, {not} not expressible, {wrong} wrong; {fast} of {transfers} requests by fast I/O"
        );
    }
    for paragraph in columns.iter().flat_map(Column::wrong) {
        let _ = writeln!(text, "{paragraph}");
    }
    text
}
