//! Altitudes: decimal strings of any length, compared as numbers.
//!
//! Room: drivers/fltmgr. Source: "Load order groups and altitudes"; rules FLT-I-01 to FLT-I-03, FLT-I-15.

use nt_abi::{NtResult, NtStatus};
use std::cmp::Ordering;
use std::fmt;

/// A valid altitude.
#[derive(Clone, Debug)]
pub struct Altitude {
    text: String,
    whole: String,
    fraction: String,
}

impl Altitude {
    /// Takes digits with at most one point; anything else is INVALID_PARAMETER (FLT-I-01).
    pub fn parse(text: &str) -> NtResult<Self> {
        let mut parts = text.split('.');
        let whole = parts.next().unwrap_or("");
        let fraction = parts.next().unwrap_or("");
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return NtStatus::INVALID_PARAMETER.fail();
        }
        Ok(Self {
            text: text.to_owned(),
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }

    /// Returns the string as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Altitude {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Altitude {}
impl PartialOrd for Altitude {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Altitude {
    fn cmp(&self, other: &Self) -> Ordering {
        let whole = self.whole.len().cmp(&other.whole.len()).then_with(|| self.whole.cmp(&other.whole));
        whole.then_with(|| self.fraction.cmp(&other.fraction))
    }
}
impl fmt::Display for Altitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altitude(text: &str) -> Altitude {
        Altitude::parse(text).unwrap_or_else(|status| panic!("{text}: {status}"))
    }

    #[test]
    fn flt_i_01_only_digits_and_one_point() {
        for bad in ["", "-1", "+1", "1.2.3", "12a", " 1", "."] {
            assert_eq!(Altitude::parse(bad).err(), Some(NtStatus::INVALID_PARAMETER.error()), "{bad:?}");
        }
    }

    #[test]
    fn flt_i_02_comparison_is_numeric_with_unlimited_precision() {
        assert!(altitude("03333") > altitude("100.123456"));
        assert!(altitude("325000.3") < altitude("325000.7"));
        assert_eq!(altitude("40700"), altitude("040700.0"));
        assert!(altitude("0.1") > altitude("0.09999999999999999999999999"));
        let long = "1".repeat(50);
        assert!(altitude(&format!("{long}2")) > altitude(&format!("{long}1")));
    }
}
