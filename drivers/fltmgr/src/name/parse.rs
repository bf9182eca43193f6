//! The parts of a name, as ranges of its units.
//!
//! Room: drivers/fltmgr. IRQL: any. Locks: none. Source: FltParseFileName, FLT_FILE_NAME_INFORMATION pages; rule FLT-N-05.

use std::ops::Range;

const SEPARATOR: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
const DOT: u16 = b'.' as u16;

/// Where the parts of a name lie; an empty range is a part that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// The directory, with a backslash at both ends.
    pub parent: Range<usize>,
    /// All after the last backslash, the stream too.
    pub component: Range<usize>,
    /// What follows the last dot, without dot and stream.
    pub extension: Range<usize>,
    /// The stream with its leading colon.
    pub stream: Range<usize>,
}

/// Parses a name whose path starts at `start` (behind volume and share); `short`: it is one component.
#[must_use]
pub fn parse(name: &[u16], start: usize, short: bool) -> Parts {
    let start = start.min(name.len());
    let last = name[start..].iter().rposition(|&unit| unit == SEPARATOR).map_or(start, |at| start + at + 1);
    let stream = name[last..].iter().position(|&unit| unit == COLON).map_or(name.len(), |at| last + at);
    let dot = name[last..stream].iter().rposition(|&unit| unit == DOT).map(|at| last + at + 1);
    Parts {
        parent: if short { 0..0 } else { start..last },
        component: last..name.len(),
        extension: dot.map_or(0..0, |dot| dot..stream),
        stream: if short { 0..0 } else { stream..name.len() },
    }
}
