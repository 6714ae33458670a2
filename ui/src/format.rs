//! Numbers and ids as people read them.

use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;

/// What stands where a value is unknown.
pub const UNKNOWN: &str = "–";

const KILO: u64 = 1_000;
const MEGA: u64 = 1_000 * KILO;
const GIGA: u64 = 1_000 * MEGA;

/// Bytes in decimal units, three significant digits at most: `840 kB`, `1.57 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..KILO => return format!("{count} B"),
        KILO..MEGA => (KILO, "kB"),
        MEGA..GIGA => (MEGA, "MB"),
        GIGA.. => (GIGA, "GB"),
    };
    let value = count as f64 / unit as f64;
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {name}")
}

/// Whole per cent of `total`, at most 100; `None` where there is nothing to divide by.
#[must_use]
pub fn percent(loaded: u64, total: Option<u64>) -> Option<u64> {
    let total = total.filter(|total| *total > 0)?;
    Some((u128::from(loaded.min(total)) * 100 / u128::from(total)) as u64)
}

/// A span: `84 ms`, `1.2 s`, `42 s`, `3 min 05 s`.
#[must_use]
pub fn span(millis: Millis) -> String {
    match millis.0 {
        millis @ 0..KILO => format!("{millis} ms"),
        millis @ KILO..10_000 => format!("{:.1} s", millis as f64 / 1_000.0),
        millis @ 10_000..60_000 => format!("{} s", millis / 1_000),
        millis => format!("{} min {:02} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}

/// Whole seconds until something is due, rounded up, so that "0 s" is never shown early.
#[must_use]
pub fn seconds_until(millis: Millis) -> String {
    format!("{} s", millis.0.div_ceil(1_000))
}

/// A moment of the log: minutes, seconds and thousandths since the node was made.
#[must_use]
pub fn moment(at: Millis) -> String {
    format!(
        "{}:{:02}.{:03}",
        at.0 / 60_000,
        at.0 % 60_000 / 1_000,
        at.0 % 1_000
    )
}

/// Tokens per second: two digits that matter. Speeds that are no number are unknown.
#[must_use]
pub fn rate(tokens_per_second: f64) -> String {
    if !tokens_per_second.is_finite() || tokens_per_second <= 0.0 {
        UNKNOWN.to_owned()
    } else if tokens_per_second < 9.95 {
        format!("{tokens_per_second:.1}")
    } else {
        count(tokens_per_second.round() as u64)
    }
}

/// Tokens per second of an answer, from asking to its end: the wait for the prompt and the way are in
/// it. (The time after the first token says nothing where several tokens arrive in one frame.)
/// `None` where there is nothing to measure.
#[must_use]
pub fn answer_rate(tokens: u32, total: Millis) -> Option<f64> {
    (tokens > 0 && total.0 > 0).then(|| f64::from(tokens) * 1_000.0 / total.0 as f64)
}

/// A count with a narrow space between thousands: `12 345`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 token`, `2 tokens`.
#[must_use]
pub fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A peer in a table: the end of its id, because all ids start alike.
#[must_use]
pub fn short_id(peer: NodeId) -> String {
    format!("…{}", peer.fmt_short())
}

/// Reputation between 0 and 1, as a whole number of per cent.
#[must_use]
pub fn reputation(value: f64) -> String {
    if value.is_finite() {
        format!("{:.0} %", value.clamp(0.0, 1.0) * 100.0)
    } else {
        UNKNOWN.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_decimal_units_and_few_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (839_872, "840 kB"),
            (1_569_472, "1.57 MB"),
            (12_345_678, "12.3 MB"),
            (9_999_999, "10.0 MB"),
            (3_100_000_000, "3.10 GB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn per_cent_needs_a_total_and_never_passes_a_hundred() {
        assert_eq!(percent(1, Some(3)), Some(33));
        assert_eq!(percent(5, Some(3)), Some(100));
        assert_eq!(percent(u64::MAX, Some(u64::MAX)), Some(100));
        assert_eq!(percent(5, Some(0)), None);
        assert_eq!(percent(5, None), None);
    }

    #[test]
    fn spans_grow_coarser() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_240, "1.2 s"),
            (42_999, "42 s"),
            (185_000, "3 min 05 s"),
        ] {
            assert_eq!(span(Millis(millis)), text);
        }
    }

    #[test]
    fn a_wait_is_rounded_up() {
        assert_eq!(seconds_until(Millis(0)), "0 s");
        assert_eq!(seconds_until(Millis(1)), "1 s");
        assert_eq!(seconds_until(Millis(2_001)), "3 s");
    }

    #[test]
    fn moments_line_up() {
        assert_eq!(moment(Millis(61_007)), "1:01.007");
    }

    #[test]
    fn rates_are_unknown_unless_positive() {
        assert_eq!(rate(f64::NAN), UNKNOWN);
        assert_eq!(rate(0.0), UNKNOWN);
        assert_eq!(rate(3.25), "3.2");
        assert_eq!(rate(84.6), "85");
        assert_eq!(rate(1_234.0), "1\u{202f}234");
    }

    #[test]
    fn an_answers_rate_counts_from_the_question() {
        assert_eq!(answer_rate(10, Millis(2_000)), Some(5.0));
        assert_eq!(answer_rate(0, Millis(2_000)), None);
        assert_eq!(answer_rate(5, Millis(0)), None);
    }

    #[test]
    fn counts_have_thousands_and_a_noun() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1, "token", "tokens"), "1 token");
        assert_eq!(counted(0, "token", "tokens"), "0 tokens");
    }

    #[test]
    fn reputation_stays_between_nothing_and_all() {
        assert_eq!(reputation(0.934), "93 %");
        assert_eq!(reputation(7.0), "100 %");
        assert_eq!(reputation(f64::NAN), UNKNOWN);
    }
}
