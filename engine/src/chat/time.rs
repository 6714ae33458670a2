//! Dates as `strftime` writes them, in English.

use minijinja::{Error, ErrorKind};

use super::LocalTime;

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// characters of an English name that its short form has.
const SHORT: usize = 3;

/// characters of a date's format; templates use a dozen.
const MAX_FORMAT: usize = 1_024;

/// Writes `now` in a format of `strftime`'s.
pub(super) fn strftime(now: LocalTime, format: &str) -> Result<String, Error> {
    let refused = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    if format.len() > MAX_FORMAT {
        return Err(refused(format!(
            "a format for dates has at most {MAX_FORMAT} bytes"
        )));
    }
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let code = chars.next().unwrap_or('%');
        let field = field(now, code);
        text.push_str(&field.ok_or_else(|| refused(format!("%{code} is not known in a date")))?);
    }
    Ok(text)
}

fn field(now: LocalTime, code: char) -> Option<String> {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = now;
    let month_name = MONTHS.get(usize::from(month).checked_sub(1)?)?;
    let day_name = DAYS[day_of_week(year, month, day)];
    let hour_of_12 = (hour + 11) % 12 + 1;
    Some(match code {
        'A' => day_name.to_owned(),
        'a' => day_name[..SHORT].to_owned(),
        'B' => (*month_name).to_owned(),
        'b' | 'h' => month_name[..SHORT].to_owned(),
        'D' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
        'd' => format!("{day:02}"),
        'e' => format!("{day:2}"),
        'F' => format!("{year}-{month:02}-{day:02}"),
        'H' => format!("{hour:02}"),
        'I' => format!("{hour_of_12:02}"),
        'j' => format!("{:03}", day_of_year(year, month, day)),
        'M' => format!("{minute:02}"),
        'm' => format!("{month:02}"),
        'n' => "\n".to_owned(),
        'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        'R' => format!("{hour:02}:{minute:02}"),
        'S' => format!("{second:02}"),
        'T' => format!("{hour:02}:{minute:02}:{second:02}"),
        't' => "\t".to_owned(),
        'Y' => year.to_string(),
        'y' => format!("{:02}", year.rem_euclid(100)),
        '%' => "%".to_owned(),
        _ => return None,
    })
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn day_of_year(year: i32, month: u8, day: u8) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_day = u32::from(month > 2 && is_leap(year));
    let before = BEFORE.get(usize::from(month).wrapping_sub(1));
    before.copied().unwrap_or(0) + u32::from(day) + leap_day
}

/// 0 for Sunday, by Gauss's rule.
fn day_of_week(year: i32, month: u8, day: u8) -> usize {
    let before = i64::from(year) - 1;
    let days = before * 365 + before.div_euclid(4) - before.div_euclid(100)
        + before.div_euclid(400)
        + i64::from(day_of_year(year, month, day));
    days.rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_strftime_does() {
        let now = LocalTime {
            year: 2026,
            month: 11,
            day: 21,
            hour: 9,
            minute: 5,
            second: 7,
        };
        let check = |format: &str, expected: &str| {
            assert_eq!(
                strftime(now, format).ok().as_deref(),
                Some(expected),
                "{format}"
            );
        };
        check("%d %b %Y", "21 Nov 2026");
        check(
            "%A, %B %e %H:%M:%S %p %I %j %y %a%%",
            "Saturday, November 21 09:05:07 AM 09 325 26 Sat%",
        );
        check("%Y-%m-%d = %F", "2026-11-21 = 2026-11-21");
        let leap = LocalTime {
            year: 2024,
            month: 2,
            day: 29,
            ..now
        };
        assert_eq!(
            strftime(leap, "%A %j").ok().as_deref(),
            Some("Thursday 060")
        );
        assert!(strftime(now, "%Q").is_err());
        assert!(
            strftime(
                LocalTime {
                    month: 13,
                    hour: 255,
                    ..now
                },
                "%B"
            )
            .is_err()
        );
    }
}
