//! Random operations on the machine and on a reference, compared one by one.
//!
//! Room: tests/conformance. Called by: its test, `cargo xtask accept model`. A run is a list of episodes; an episode has a seed of its own
//! that follows from the run's, starts with an empty volume and ends with every handle closed and every file compared. A
//! difference is told with the episode's seed, and as the shortest list of operations that still shows it.

pub mod ops;
pub mod reference;
pub mod subject;

use crate::door::{Block, Done, Word};
use nt_io::system::AsyncPolicy;
use nt_machine::{NtStatus, VolumeSpec};
use ops::{Op, Random};
use reference::{Expect, Reference, Waiter};
use std::collections::BTreeMap;
use std::fmt::Write;
use subject::{Seen, Subject};

/// Operations of one episode.
pub const EPISODE: u64 = 1_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many operations, rounded up to whole episodes.
    pub operations: u64,
    /// The run's seed.
    pub seed: u64,
    /// The volume.
    pub volume: VolumeSpec,
    /// How requests on asynchronous handles end: in the call, marked pending or not.
    pub policy: AsyncPolicy,
}

/// The seed of an episode.
#[must_use]
pub fn episode_seed(seed: u64, episode: u64) -> u64 {
    Random::new(seed ^ episode.wrapping_mul(0xA076_1D64_78BD_642F)).draw()
}

/// The operations of an episode.
#[must_use]
pub fn operations(seed: u64) -> Vec<Op> {
    let mut random = Random::new(seed);
    (0..EPISODE).map(|_| ops::draw(&mut random)).collect()
}

/// A difference.
#[derive(Debug)]
struct Difference {
    at: usize,
    expected: String,
    seen: String,
}

/// What a run met: how often which operation ended with which status. Operations on an empty slot are not counted.
pub type Met = BTreeMap<(&'static str, u32), u64>;

/// Runs a plan.
///
/// # Errors
/// The first difference: the seeds, the shortest list that shows it, what was expected and seen.
pub fn run(plan: &Plan) -> Result<Met, String> {
    let mut subject = Subject::new(plan.volume.clone(), plan.policy)?;
    let mut met = Met::new();
    for episode in 0..plan.operations.div_ceil(EPISODE) {
        let seed = episode_seed(plan.seed, episode);
        let list = operations(seed);
        if let Err(difference) = play(&mut subject, &list, plan.policy, &mut met) {
            let _emptied = subject.sweep();
            let _leaks = subject.end();
            return Err(tell(plan, episode, seed, &list, &difference));
        }
    }
    subject.end().map_err(|left| format!("seed {}: {left}", plan.seed))?;
    Ok(met)
}

/// How an operation ended, for the tally.
fn ended(expected: &Expect) -> Option<NtStatus> {
    match expected {
        Expect::Nothing => None,
        Expect::Done(Done { returned: Word::Status(NtStatus::PENDING), block: Block::Is(status, _) }, _)
        | Expect::Done(Done { returned: Word::Status(status), .. }, _)
        | Expect::Error(status)
        | Expect::Created(status, _) => Some(*status),
        Expect::Waits => Some(NtStatus::PENDING),
        Expect::Done(..) | Expect::Sizes(..) | Expect::Ranges(..) => Some(NtStatus::SUCCESS),
    }
}

fn text(value: &dyn std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(600) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// Plays one episode.
fn play(subject: &mut Subject, list: &[Op], policy: AsyncPolicy, met: &mut Met) -> Result<(), Difference> {
    let mut reference = Reference::new(policy != AsyncPolicy::Inline);
    for (at, op) in list.iter().enumerate() {
        let (expected, seen) = (reference.step(op), subject.step(op));
        if let Some(status) = ended(&expected) {
            *met.entry((op.name(), status.0)).or_default() += 1;
        }
        let posted = || reference.may_be_posted(op) && agrees(&expected, &at_once(&seen));
        if !agrees(&expected, &seen) && !posted() {
            return Err(Difference { at, expected: text(&expected), seen: text(&seen) });
        }
        for (number, waiter) in reference.waiters.iter().enumerate() {
            let wanted = if *waiter == Waiter::Silent { Waiter::Waits } else { *waiter };
            let stands = subject.waiter(number);
            if stands != Some(wanted) {
                let expected = format!("lock request {number} of those that waited: {waiter:?}");
                return Err(Difference { at, expected, seen: text(&stands) });
            }
        }
    }
    for slot in 0..ops::SLOTS {
        reference.step(&Op::Close { slot });
    }
    let found = subject.sweep();
    subject.forget();
    let wanted: Vec<(usize, Vec<u8>)> = reference.contents().map(|(name, bytes)| (name, bytes.to_vec())).collect();
    if found == wanted {
        return Ok(());
    }
    let sizes = |list: &[(usize, Vec<u8>)]| list.iter().map(|(name, bytes)| (*name, bytes.len())).collect::<Vec<_>>();
    let (expected, mut seen) = (format!("at the end, (name, size): {:?}", sizes(&wanted)), text(&sizes(&found)));
    for ((name, one), (_, two)) in wanted.iter().zip(&found).filter(|(one, two)| one != two) {
        let at = one.iter().zip(two).position(|(a, b)| a != b);
        let _ = write!(seen, "; file {name} differs first at {at:?}");
    }
    Err(Difference { at: list.len(), expected, seen })
}

/// A host says by another word that no file can be that long (NT-O-17).
fn short(seen: Done) -> Done {
    let word = |status| if status == NtStatus::FILE_TOO_LARGE { NtStatus::DISK_FULL } else { status };
    let returned = match seen.returned {
        Word::Status(status) => Word::Status(word(status)),
        other => other,
    };
    let block = match seen.block {
        Block::Is(status, information) => Block::Is(word(status), information),
        other => other,
    };
    Done { returned, block }
}

/// What a posted write would have come to in its own thread (NT-S-13).
fn at_once(seen: &Seen) -> Seen {
    match seen {
        Seen::Done(Done { returned: Word::Status(NtStatus::PENDING), block: Block::Is(status, count) }, bytes) => {
            Seen::Done(Done { returned: Word::Status(*status), block: Block::Is(*status, *count) }, bytes.clone())
        }
        other => other.clone(),
    }
}

fn agrees(expected: &Expect, seen: &Seen) -> bool {
    match (expected, seen) {
        (Expect::Nothing, Seen::Nothing) => true,
        (Expect::Done(done, bytes), Seen::Done(seen, brought)) => {
            *done == short(*seen) && bytes.as_ref().is_none_or(|bytes| bytes == brought)
        }
        (Expect::Error(status), Seen::Done(Done { returned, block }, _)) => {
            let Done { returned, block } = &short(Done { returned: *returned, block: *block });
            let told = matches!(*status, NtStatus::END_OF_FILE | NtStatus::NOT_FOUND);
            let block = *block == Block::Untouched || (told && *block == Block::Is(*status, 0));
            *returned == Word::Status(*status) && block
        }
        (Expect::Created(status, information), Seen::Created(seen, shown)) => {
            status == seen && (status.is_error() || information == shown)
        }
        (Expect::Waits, Seen::Done(done, _)) => {
            *done == Done { returned: Word::Status(NtStatus::PENDING), block: Block::Untouched }
        }
        (Expect::Sizes(end, pending, position), Seen::Sizes(seen, shown, stands)) => {
            (end, pending, position) == (seen, shown, stands)
        }
        (Expect::Ranges(bytes), Seen::Ranges(ranges)) => {
            let ordered = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
            let inside = ranges.iter().all(|(start, end)| start < end && *end <= bytes.len() as u64);
            let held = |at: u64| ranges.iter().any(|(start, end)| (*start..*end).contains(&at));
            let mut holes = bytes.chunks(512).enumerate().filter(|(at, _)| !held(*at as u64 * 512));
            ordered && inside && holes.all(|(_, part)| part.iter().all(|byte| *byte == 0))
        }
        _ => false,
    }
}

/// Does the list show a difference in a machine of its own?
fn fails(plan: &Plan, list: &[Op]) -> Option<Difference> {
    let mut subject = Subject::new(plan.volume.clone(), plan.policy).ok()?;
    let outcome = play(&mut subject, list, plan.policy, &mut Met::new()).err();
    let _emptied = subject.sweep();
    let _leaks = subject.end();
    outcome
}

/// Leaves out what the difference does not need: halves, quarters, ... single operations.
fn shorten(shows: &dyn Fn(&[Op]) -> bool, list: &[Op]) -> Vec<Op> {
    let mut list = list.to_vec();
    let mut size = list.len().div_ceil(2);
    loop {
        let (mut at, mut smaller) = (0, false);
        while at < list.len() {
            let end = (at + size).min(list.len());
            let rest = [&list[..at], &list[end..]].concat();
            if shows(&rest) {
                (list, smaller) = (rest, true);
            } else {
                at = end;
            }
        }
        if size == 1 && !smaller {
            return list;
        }
        size = if smaller { size } else { size / 2 }.clamp(1, list.len().max(1));
    }
}

/// Says what differs, and how little is enough for it.
fn tell(plan: &Plan, episode: u64, seed: u64, list: &[Op], difference: &Difference) -> String {
    let mut text = format!(
        "seed {}, episode {episode} (seed {seed}), operation {}:\n  expected {}\n  seen     {}\n",
        plan.seed, difference.at, difference.expected, difference.seen
    );
    if fails(plan, list).is_none() {
        text.push_str("the episode alone shows no difference: the machine remembers what came before\n");
        return text;
    }
    let list = shorten(&|list| fails(plan, list).is_some(), list);
    let _ = writeln!(text, "{} operations are enough:", list.len());
    for op in &list {
        let _ = writeln!(text, "  {op:?}");
    }
    if let Some(Difference { at, expected, seen }) = fails(plan, &list) {
        let _ = writeln!(text, "which show at {at}:\n  expected {expected}\n  seen     {seen}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_and_told_as_the_shortest_list_that_shows_it() {
        // A machine that ends requests in the call is none that marks them pending.
        let volume = VolumeSpec::Ram { size: Some(64 << 20) };
        let mut subject = Subject::new(volume.clone(), AsyncPolicy::Inline).expect("a machine");
        let list = operations(episode_seed(1, 0));
        let found = play(&mut subject, &list, AsyncPolicy::Pend, &mut Met::new()).expect_err("a difference");
        assert!(found.expected.contains("PENDING") && !found.seen.contains("PENDING"), "{found:?}");
        let _emptied = subject.sweep();
        subject.end().expect("nothing is left behind");
        // The same kind of list, cut down by a stand-in for the difference: an asynchronous write.
        let shows = |list: &[Op]| {
            let mut reference = Reference::new(true);
            list.iter().any(|op| matches!((op, reference.step(op)), (Op::Write { .. }, Expect::Done(done, _)) if done.returned == Word::Status(NtStatus::PENDING)))
        };
        let short = shorten(&shows, &list);
        assert_eq!(short.iter().map(Op::name).collect::<Vec<_>>(), ["open", "write"]);
    }
}
