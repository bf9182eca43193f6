//! The expression of `ntio trace --filter`.
//!
//! Room: front/cli. Called by: `trace`. `or` binds weakest, then `and`, then `not`; parentheses group. A term compares a member of the
//! event with a word: `= != < <= > >=`, and `~` for "contains". A list holds when one of its members does; `filter` and
//! `altitude` speak of the callbacks. A term without a comparison asks whether the member is true, not zero, not empty.

use serde_json::Value;
use std::cmp::Ordering;

/// A parsed expression.
#[derive(Debug, PartialEq)]
pub(super) enum Select {
    All,
    Not(Box<Select>),
    Both(Box<Select>, Box<Select>),
    Either(Box<Select>, Box<Select>),
    Term { member: String, comparison: Comparison, word: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
    Contains,
    Holds,
}

const COMPARISONS: [(&str, Comparison); 8] = [
    ("!=", Comparison::IsNot),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Is),
    ("=", Comparison::Is),
    ("<", Comparison::Less),
    (">", Comparison::More),
    ("~", Comparison::Contains),
];

/// Members that an event has; a typing mistake is told instead of matching nothing.
const MEMBERS: [&str; 22] = [
    "seq",
    "t_ns",
    "ns",
    "pid",
    "process",
    "tid",
    "end_tid",
    "op",
    "file",
    "offset",
    "length",
    "flags",
    "status",
    "information",
    "fast",
    "generated",
    "rules",
    "marks",
    "filter",
    "altitude",
    "verdict",
    "phase",
];

/// Those of them that are numbers: compared with a word that is none, they would match nothing.
const NUMBERS: [&str; 11] =
    ["seq", "t_ns", "ns", "pid", "tid", "end_tid", "offset", "length", "flags", "status", "information"];

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Select, String> {
    let words = split(text);
    let mut parser = Parser { words: &words };
    let select = parser.either()?;
    match parser.words.first() {
        None => Ok(select),
        Some(word) => Err(format!("'{word}' is not expected there")),
    }
}

/// Splits at blanks, parentheses and comparisons; quotes keep a word whole.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else if first == '(' || first == ')' {
            1
        } else if let Some((sign, _)) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            sign.len()
        } else {
            rest.find(|c: char| c.is_whitespace() || "()=!<>~".contains(c)).filter(|at| *at > 0).unwrap_or(rest.len())
        };
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    words
}

struct Parser<'a> {
    words: &'a [String],
}

impl Parser<'_> {
    fn take(&mut self) -> Option<String> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first.clone())
    }

    fn accept(&mut self, word: &str) -> bool {
        let there = self.words.first().is_some_and(|first| first == word);
        if there {
            self.words = &self.words[1..];
        }
        there
    }

    fn either(&mut self) -> Result<Select, String> {
        let mut left = self.both()?;
        while self.accept("or") || self.accept("||") {
            left = Select::Either(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Select, String> {
        let mut left = self.one()?;
        while self.accept("and") || self.accept("&&") {
            left = Select::Both(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Select, String> {
        if self.accept("not") {
            return Ok(Select::Not(Box::new(self.one()?)));
        }
        if self.accept("(") {
            let inner = self.either()?;
            return if self.accept(")") { Ok(inner) } else { Err("a ')' is missing".to_owned()) };
        }
        let member = self.take().ok_or("a member's name is missing")?;
        if !MEMBERS.contains(&member.as_str()) {
            return Err(format!("an event has no member '{member}'; there are {}", MEMBERS.join(", ")));
        }
        let next = self.words.first().map(String::as_str);
        let Some((_, comparison)) = COMPARISONS.iter().find(|(sign, _)| Some(*sign) == next) else {
            return Ok(Select::Term { member, comparison: Comparison::Holds, word: String::new() });
        };
        let _sign = self.take();
        let word = self.take().ok_or_else(|| format!("what '{member}' is compared with is missing"))?;
        let word = word.trim_matches(|c| c == '"' || c == '\'').to_owned();
        if NUMBERS.contains(&member.as_str()) && *comparison != Comparison::Contains && number(&word).is_none() {
            let example = if member == "status" { "0xC0000022" } else { "4096 or 0x1000" };
            return Err(format!("'{member}' is a number, and '{word}' is none; write for instance {example}"));
        }
        Ok(Select::Term { member, comparison: *comparison, word })
    }
}

impl Select {
    /// Is the event one of those?
    pub(super) fn holds(&self, event: &Value) -> bool {
        match self {
            Self::All => true,
            Self::Not(inner) => !inner.holds(event),
            Self::Both(left, right) => left.holds(event) && right.holds(event),
            Self::Either(left, right) => left.holds(event) || right.holds(event),
            Self::Term { member, comparison, word } => term(event, member, *comparison, word),
        }
    }
}

fn term(event: &Value, member: &str, comparison: Comparison, word: &str) -> bool {
    let values: Vec<&Value> = match member {
        "filter" | "altitude" | "verdict" | "phase" => {
            event["hops"].as_array().into_iter().flatten().map(|hop| &hop[member]).collect()
        }
        _ => match &event[member] {
            Value::Array(list) => list.iter().collect(),
            other => vec![other],
        },
    };
    // "Not equal" of a list means that no member is equal.
    if comparison == Comparison::IsNot {
        return !values.iter().any(|value| compare(value, Comparison::Is, word));
    }
    values.iter().any(|value| compare(value, comparison, word))
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn compare(value: &Value, comparison: Comparison, word: &str) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => return false,
        other => other.to_string(),
    };
    let order = match (number(&text), number(word)) {
        (Some(value), Some(word)) => value.cmp(&word),
        _ => {
            // `op=write` is IRP_MJ_WRITE.
            let short = text.strip_prefix("IRP_MJ_").unwrap_or(&text).to_ascii_lowercase();
            let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
            if short == word { Ordering::Equal } else { text.cmp(&word) }
        }
    };
    match comparison {
        Comparison::Is => order == Ordering::Equal,
        Comparison::IsNot => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::AtMost => order != Ordering::Greater,
        Comparison::More => order == Ordering::Greater,
        Comparison::AtLeast => order != Ordering::Less,
        Comparison::Contains => text.to_lowercase().contains(&word.to_lowercase()),
        Comparison::Holds => !matches!(text.as_str(), "" | "0" | "false" | "0x00000000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(text: &str) -> bool {
        let event = json!({"op": "IRP_MJ_WRITE", "file": "\\d\\Name.txt", "offset": -1, "length": 4096, "status": "0xc000000d",
            "fast": false, "rules": ["NT-O-08", "NT-W-04"], "hops": [{"filter": "spy", "altitude": "385100", "verdict": "COMPLETE"}]});
        parse(text).expect(text).holds(&event)
    }

    #[test]
    fn a_term_speaks_of_words_numbers_and_lists() {
        for yes in [
            "op=IRP_MJ_WRITE",
            "op = write",
            "length>=0x1000",
            "offset<0",
            "status=0xC000000D",
            "status",
            "not fast",
            "file~name",
            "rules=nt-o-08",
            "rules!=NT-O-01",
            "filter=spy",
            "verdict = complete",
            "altitude>300000",
            "file=\"\\d\\Name.txt\"",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in ["op=read", "length<4096", "fast", "rules!=NT-O-08", "filter=other", "tid", "status=0"] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn terms_are_joined_as_usual() {
        assert!(holds("op=read or op=write and length=4096"));
        assert!(!holds("(op=read or op=write) and length=1"));
        assert!(holds("not (op=read or fast) && filter=spy"));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (text, told) in [
            ("lenght=3", "lenght"),
            ("op=", "op"),
            ("(op=write", "')'"),
            ("op=write op=read", "'op'"),
            ("", "missing"),
            ("length>abc", "'abc'"),
            ("length>abc", "'length'"),
            ("status=STATUS_SUCCESS", "0xC0000022"),
            ("not offset<4k", "'4k'"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
