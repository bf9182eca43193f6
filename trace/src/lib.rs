//! The rules as the programs carry them: a table, one constant an id, and the list of those that a call met.
//!
//! Room: trace. Called by: any room, by [`rule!`](crate::rule); front ends, to print. Calls: nothing. Touches: one thread-local list.
//! IRQL: any. Locks: none. Source: `spec/rules`, compiled in by the build script; nothing is read at run time.
//! Not here: which tests prove a rule (`ntio_rules`), the events of a request (`nt_machine`'s recorder).

mod met;

pub use met::{Asking, Collector, asked, meet, meet_named, name_span, so_far, span, was_named};

/// How far a rule is implemented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// A test proves it.
    Implemented,
    /// The note says which part.
    Partial,
    /// Nothing proves it.
    Absent,
    /// There is nothing to test; the note says why.
    Doc,
}

impl Status {
    /// Returns the word that `ntio rules` prints.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Implemented => "implemented",
            Self::Partial => "partial",
            Self::Absent => "absent",
            Self::Doc => "doc",
        }
    }
}

/// One rule of the contract.
#[derive(Debug)]
pub struct Rule {
    /// `NT-W-07`.
    pub id: &'static str,
    /// The page or the section of the ledger.
    pub page: &'static str,
    /// The whole rule.
    pub says: &'static str,
    /// How far it is implemented.
    pub status: Status,
    /// The strongest thing behind it: `windows-test` down to `decision`.
    pub evidence: &'static str,
    /// The doors that can express it: `native`, `sys`, `fuse`.
    pub doors: &'static [&'static str],
    /// Partial how, what differs at a door; may be empty.
    pub note: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// The name of a rule: its place in [`RULES`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u16);

impl RuleId {
    /// Returns the rule.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        &RULES[usize::from(self.0)]
    }
}

impl std::fmt::Debug for RuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.rule().id)
    }
}

/// One constant a rule: `NT_W_07`.
pub mod id {
    use super::RuleId;
    include!(concat!(env!("OUT_DIR"), "/ids.rs"));
}

/// Finds a rule by its id, in any case, with `-` or `_`.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    place(id).map(RuleId::rule)
}

fn place(id: &str) -> Option<RuleId> {
    let id = id.to_ascii_uppercase().replace('_', "-");
    let at = RULES.binary_search_by(|rule| rule.id.cmp(id.as_str())).ok()?;
    u16::try_from(at).ok().map(RuleId)
}

/// Says that the code here carries out a rule: `rule!(NT_W_07)`. An id that does not exist does not compile; a
/// [`Collector`] on this thread lists the rule.
///
/// ```
/// let collector = nt_trace::Collector::start();
/// nt_trace::rule!(NT_W_07);
/// assert_eq!(collector.met(), [nt_trace::id::NT_W_07]);
/// ```
#[macro_export]
macro_rules! rule {
    ($id:ident) => {
        $crate::meet($crate::id::$id)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_in_either_spelling() {
        assert_eq!(find("nt_w_07").map(|rule| rule.id), Some("NT-W-07"));
        assert_eq!(find("FLT-W-12").map(|rule| rule.id), Some("FLT-W-12"));
        assert!(find("NT-W-99").is_none());
        assert_eq!(id::KS_S_14.rule().id, "KS-S-14");
    }

    #[test]
    fn the_table_is_sorted_and_its_words_are_known() {
        assert!(RULES.is_sorted_by(|a, b| a.id < b.id));
        let evidence = ["windows-test", "ms-source", "seed", "header", "doc", "client", "reimplementation", "decision"];
        for rule in RULES {
            assert!(evidence.contains(&rule.evidence), "{}: {}", rule.id, rule.evidence);
            assert!(rule.doors.iter().all(|door| ["native", "sys", "fuse"].contains(door)), "{}", rule.id);
        }
    }
}
