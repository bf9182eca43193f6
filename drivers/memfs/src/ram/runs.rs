//! Units of a stream, as runs: which of them a sparse stream has.
//!
//! Room: drivers/memfs. Called by: the `ram` backing. Locks: the caller holds the node's data lock.

use std::collections::BTreeMap;

/// A set of numbers, kept as runs that neither meet nor touch.
#[derive(Default)]
pub(super) struct Runs {
    /// First of a run, and the first behind it.
    runs: BTreeMap<u64, u64>,
    count: u64,
}

impl Runs {
    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The first behind the last run.
    pub(super) fn end(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// The first run of those in `[from, to)`, cut to it.
    pub(super) fn next(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let reaching = self.runs.range(..=from).next_back().filter(|(_, end)| **end > from);
        let (&first, &end) = reaching.or_else(|| self.runs.range(from..).next())?;
        (first < to && from < to).then(|| (first.max(from), end.min(to)))
    }

    /// Are all of `[from, to)` here?
    pub(super) fn hold(&self, from: u64, to: u64) -> bool {
        from >= to || self.next(from, to) == Some((from, to))
    }

    /// How many of `[from, to)` are not here.
    pub(super) fn lacking(&self, from: u64, to: u64) -> u64 {
        let (mut at, mut here) = (from, 0);
        while let Some((first, end)) = self.next(at, to) {
            here += end - first;
            at = end;
        }
        to.saturating_sub(from) - here
    }

    /// Adds `[from, to)`.
    pub(super) fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        self.count += self.lacking(from, to);
        let (mut first, mut end) = (from, to);
        // Runs that it meets or touches become one with it.
        while let Some((&start, &stop)) = self.runs.range(..=end).next_back().filter(|(_, stop)| **stop >= first) {
            self.runs.remove(&start);
            (first, end) = (first.min(start), end.max(stop));
        }
        self.runs.insert(first, end);
    }

    /// Takes `[from, to)` away.
    pub(super) fn remove(&mut self, from: u64, to: u64) {
        while let Some((first, end)) = self.next(from, to) {
            let (start, stop) =
                self.runs.range(..=first).next_back().map_or((first, end), |(&start, &stop)| (start, stop));
            self.runs.remove(&start);
            for (left, right) in [(start, first), (end, stop)] {
                if left < right {
                    self.runs.insert(left, right);
                }
            }
            self.count -= end - first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_a_list_of_numbers_says() {
        let (mut runs, mut list, mut seed) = (Runs::default(), [false; 64], 1_u64);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (a, b) = ((seed >> 33) % 64, (seed >> 43) % 65);
            let (from, to) = (a.min(b), a.max(b));
            let adds = seed >> 63 == 0;
            if adds {
                runs.insert(from, to)
            } else {
                runs.remove(from, to)
            }
            list[from as usize..to as usize].fill(adds);
            assert_eq!(runs.count(), list.iter().filter(|&&here| here).count() as u64);
            assert_eq!(runs.end(), list.iter().rposition(|&here| here).map_or(0, |at| at as u64 + 1));
            let (mut at, mut told) = (0, [false; 64]);
            while let Some((first, end)) = runs.next(at, 64) {
                assert!(at <= first && first < end && (end == 64 || !list[end as usize]), "a run ends where it ends");
                told[first as usize..end as usize].fill(true);
                at = end;
            }
            assert_eq!(told, list);
            assert_eq!(runs.hold(from, to), list[from as usize..to as usize].iter().all(|&here| here));
        }
    }
}
