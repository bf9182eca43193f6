//! Names in expressions: FsRtlIsNameInExpression, FsRtlDoesNameContainWildCards.
//!
//! Room: ntos/rtl. Called by: file systems (directory queries), `exports`. IRQL: any. Locks: none.
//! Source: the two DDI pages; rules NT-DIR-25, NT-DIR-27, NT-DIR-30.

use crate::cases::upcase;

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
const DOS_STAR: u16 = b'<' as u16;
const DOS_QUESTION: u16 = b'>' as u16;
const DOS_DOT: u16 = b'"' as u16;
const DOT: u16 = b'.' as u16;

/// FsRtlDoesNameContainWildCards.
#[must_use]
pub fn has_wildcards(name: &[u16]) -> bool {
    name.iter().any(|unit| matches!(*unit, STAR | QUESTION | DOS_STAR | DOS_QUESTION | DOS_DOT))
}

/// Whether `name` matches; for `ignore_case` the caller has upcased `expression` already (NT-DIR-30).
#[must_use]
pub fn matches(expression: &[u16], name: &[u16], ignore_case: bool) -> bool {
    if expression.is_empty() || name.is_empty() {
        return expression.is_empty() && name.is_empty();
    }
    // `reached[n]`: the part of the expression seen so far matches the first n units of the name (NT-DIR-25).
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    let final_dot = name.iter().rposition(|unit| *unit == DOT);
    let mut at = 0;
    while at < expression.len() {
        let element = expression[at];
        at += 1;
        let mut next = vec![false; name.len() + 1];
        // A run of `>` is one element of as many units as it is long, or fewer where it stops.
        let mut run = 1;
        if element == DOS_QUESTION {
            while expression.get(at) == Some(&DOS_QUESTION) {
                run += 1;
                at += 1;
            }
        }
        for start in (0..=name.len()).filter(|n| reached[*n]) {
            match element {
                STAR => next[start..].fill(true),
                DOS_STAR => {
                    let end = final_dot.filter(|dot| *dot >= start).map_or(name.len(), |dot| dot + 1);
                    next[start..=end].fill(true);
                }
                DOS_QUESTION => {
                    let free = name[start..].iter().take(run).take_while(|unit| **unit != DOT).count();
                    next[start + free] = true;
                }
                DOS_DOT if start == name.len() => next[start] = true,
                _ if start == name.len() => {}
                QUESTION => next[start + 1] = true,
                DOS_DOT => next[start + 1] |= name[start] == DOT,
                literal => {
                    let unit = if ignore_case { upcase(name[start]) } else { name[start] };
                    next[start + 1] |= unit == literal;
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// The names of the ledger's anchor table that match.
    fn found(expression: &str) -> Vec<&'static str> {
        let set = ["n.tmp", "ea", "ea.tmp", "ea.tmp.tmp", ".a", ".a.a", "a.", "..a", ".aa", "a.."];
        set.into_iter().filter(|name| matches(&wide(expression), &wide(name), false)).collect()
    }

    #[test]
    fn nt_dir_25_each_wildcard_takes_what_it_may() {
        let check = |e: &str, n: &str| matches(&wide(e), &wide(n), false);
        assert!(check("a*c", "abbc") && check("a*c", "ac") && !check("a*c", "acb"));
        assert!(check("a?c", "abc") && !check("a?c", "ac") && !check("abc?", "abc"));
        assert!(check("<.c", "a.b.c") && !check("<", "a.b") && check("<b", "a.b") && !check("<b", "a.bb"));
        assert!(check(">>>", "ab") && check(">>>.c", "a.c") && !check(">>", "abc") && check("a>>b", "acdb"));
        assert!(!check(">b", "b") && check(">", "b") && !check(">c", ".c"));
        assert!(check("a\"", "a") && check("a\"", "a.") && check("a\"b", "a.b") && !check("a\"b", "ab"));
    }

    #[test]
    fn nt_dir_26_star_dot_star_needs_a_dot() {
        assert!(!found("*.*").contains(&"ea"));
        assert_eq!(found("*").len(), 10);
        assert_eq!(found("*.*").len(), 9);
    }

    #[test]
    fn nt_dir_27_the_anchors_hold_on_names_without_short_ones() {
        assert_eq!(found("*."), ["a.", "a.."]);
        assert_eq!(found("?"), [""; 0]);
        assert_eq!(found("??"), ["ea", ".a", "a."]);
        assert_eq!(found("*a"), ["ea", ".a", ".a.a", "..a", ".aa"]);
        assert_eq!(found("*<a"), found("*a"));
        assert_eq!(found("<a"), ["ea", ".a", ".a.a", "..a"]);
        assert_eq!(found("<aa"), [".aa"]);
        assert_eq!(found("<."), found("*."));
        assert_eq!(found("<\""), found("<"));
        assert_eq!(found("*\""), found("*"));
        for none in ["\"", "\"\"", "\"\"\"", "* ", " *", "* *", "* .", "*. "] {
            assert_eq!(found(none), [""; 0], "{none}");
        }
        // The table's `<` finds .a, ..a and .aa too, by their short names: a volume that has some shows it.
        assert_eq!(found("<"), ["ea", "a.", "a.."]);
    }

    #[test]
    fn nt_dir_30_empty_matches_only_empty_and_case_is_the_callers_affair() {
        assert!(matches(&[], &[], false) && !matches(&wide("*"), &[], false) && !matches(&[], &wide("a"), false));
        assert!(matches(&wide("A*É"), &wide("abcé"), true) && !matches(&wide("a*"), &wide("abc"), true));
        assert!(!matches(&wide("A*"), &wide("abc"), false));
    }

    #[test]
    fn wildcards_are_five_characters() {
        for with in ["a*", "?", "<", ">", "\""] {
            assert!(has_wildcards(&wide(with)), "{with}");
        }
        assert!(!has_wildcards(&wide("plain name.txt")));
    }

    #[test]
    fn a_long_run_of_stars_takes_no_exponential_time() {
        let (expression, name) = (wide(&"*a".repeat(200)), wide(&"a".repeat(5000)));
        assert!(matches(&expression, &name, false));
        assert!(!matches(&wide(&format!("{}b", "*a".repeat(200))), &name, false));
    }
}
