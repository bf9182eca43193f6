//! System time as calendar fields: RtlTimeToTimeFields, RtlTimeFieldsToTime.
//!
//! Room: ntos/rtl. IRQL: any. Locks: none. Source: the two DDI pages; days counted in the proleptic Gregorian calendar.

const PER_MILLISECOND: i64 = 10_000;
const PER_DAY: i64 = 86_400_000 * PER_MILLISECOND;
/// Days from 1 March 0000 to 1 January 1601.
const EPOCH: i64 = 584_694;

/// TIME_FIELDS as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimeFields {
    /// 1601 and later.
    pub year: i16,
    /// 1 to 12.
    pub month: i16,
    /// 1 to 31.
    pub day: i16,
    /// 0 to 23.
    pub hour: i16,
    /// 0 to 59.
    pub minute: i16,
    /// 0 to 59.
    pub second: i16,
    /// 0 to 999.
    pub milliseconds: i16,
    /// 0 is Sunday.
    pub weekday: i16,
}

/// Splits a time in 100 ns units since 1601.
#[must_use]
pub fn to_fields(time: i64) -> TimeFields {
    let (days, rest) = (time.div_euclid(PER_DAY), time.rem_euclid(PER_DAY) / PER_MILLISECOND);
    // Years that start in March put the leap day last: each month's first day is then a linear function.
    let day = days + EPOCH;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    TimeFields {
        year: year as i16,
        month: month as i16,
        day: (of_year - (153 * shifted + 2) / 5 + 1) as i16,
        hour: (rest / 3_600_000) as i16,
        minute: (rest / 60_000 % 60) as i16,
        second: (rest / 1000 % 60) as i16,
        milliseconds: (rest % 1000) as i16,
        weekday: (days + 1).rem_euclid(7) as i16,
    }
}

/// Joins fields to a time; the weekday does not count. `None` if a field is out of range.
#[must_use]
pub fn from_fields(fields: &TimeFields) -> Option<i64> {
    let TimeFields { year, month, day, hour, minute, second, milliseconds, .. } = *fields;
    let in_range = (1601..=30_827).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..1000).contains(&milliseconds);
    if !in_range {
        return None;
    }
    let shifted_year = i64::from(year) - i64::from(month <= 2);
    let shifted_month = (i64::from(month) + 9) % 12;
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100
        + shifted_year / 400
        + (153 * shifted_month + 2) / 5
        + i64::from(day)
        - 1
        - EPOCH;
    let clock = ((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second)) * 1000 + i64::from(milliseconds);
    Some(days * PER_DAY + clock * PER_MILLISECOND)
}

fn days_in(year: i16, month: i16) -> i16 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i16::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_a_monday_in_1601() {
        let epoch = TimeFields { year: 1601, month: 1, day: 1, weekday: 1, ..TimeFields::default() };
        assert_eq!(to_fields(0), epoch);
        assert_eq!(from_fields(&epoch), Some(0));
    }

    #[test]
    fn the_unix_epoch_is_where_it_is_known_to_be() {
        let fields = to_fields(116_444_736_000_000_000);
        assert_eq!((fields.year, fields.month, fields.day, fields.weekday), (1970, 1, 1, 4));
    }

    #[test]
    fn every_day_of_two_eras_comes_back_and_follows_the_day_before() {
        let mut before = to_fields(0);
        for day in 1..300_000 {
            let time = day * PER_DAY + 12_345_678 * PER_MILLISECOND;
            let fields = to_fields(time);
            assert_eq!(from_fields(&fields), Some(time), "{fields:?}");
            assert_eq!(fields.weekday, (before.weekday + 1) % 7);
            let next_day = fields.day == before.day + 1 && fields.month == before.month;
            let next_month = fields.day == 1 && before.day == days_in(before.year, before.month);
            assert!(next_day || next_month, "{before:?} then {fields:?}");
            before = fields;
        }
    }

    #[test]
    fn fields_out_of_range_are_no_time() {
        let good = to_fields(PER_DAY * 150_000);
        for bad in [
            TimeFields { year: 1600, ..good },
            TimeFields { month: 0, ..good },
            TimeFields { month: 13, ..good },
            TimeFields { year: 1900, month: 2, day: 29, ..good },
            TimeFields { hour: 24, ..good },
            TimeFields { second: 60, ..good },
            TimeFields { milliseconds: 1000, ..good },
        ] {
            assert_eq!(from_fields(&bad), None, "{bad:?}");
        }
        assert!(from_fields(&TimeFields { year: 2000, month: 2, day: 29, ..good }).is_some());
    }
}
