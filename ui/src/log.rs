//! The last lines of the node's log.

use std::collections::VecDeque;
use std::fmt::Write as _;
use thrum_protocol::view::{LogLevel, LogLine};

use crate::{format, words};

/// lines; what the page keeps. Some minutes of a busy node; more belongs in a file.
pub const MAX_LINES: usize = 500;

/// bytes; the text that one line may take on the page.
const MAX_LINE_BYTES: usize = 2_048;

/// A ring of lines; each keeps its number, so that a list can be drawn without redrawing old ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    lines: VecDeque<(u64, LogLine)>,
    next: u64,
}

impl Log {
    /// Adds a line; the oldest one goes when there are more than [`MAX_LINES`].
    pub fn push(&mut self, mut line: LogLine) {
        if line.message.len() > MAX_LINE_BYTES {
            let end = line.message.floor_char_boundary(MAX_LINE_BYTES);
            line.message.truncate(end);
            line.message.push('…');
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((self.next, line));
        self.next += 1;
    }

    /// Lines of at least this level with their numbers, oldest first.
    pub fn at_least(&self, level: LogLevel) -> impl Iterator<Item = (u64, &LogLine)> {
        self.lines
            .iter()
            .filter(move |(_, line)| line.level >= level)
            .map(|(number, line)| (*number, line))
    }

    /// The same lines as text, for a report.
    #[must_use]
    pub fn text(&self, level: LogLevel) -> String {
        let mut text = String::new();
        for (_, line) in self.at_least(level) {
            writeln!(
                text,
                "{:>10} {:<5} {}",
                format::moment(line.at_millis),
                words::level(line.level),
                line.message
            )
            .expect("writing to a String succeeds");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thrum_protocol::time::Millis;

    fn line(at: u64, level: LogLevel, message: &str) -> LogLine {
        LogLine {
            at_millis: Millis(at),
            level,
            message: message.to_owned(),
        }
    }

    #[test]
    fn keeps_the_last_lines_and_their_numbers() {
        let mut log = Log::default();
        for at in 0..MAX_LINES as u64 + 3 {
            log.push(line(at, LogLevel::Info, "x"));
        }
        let numbers: Vec<u64> = log.at_least(LogLevel::Debug).map(|(n, _)| n).collect();
        assert_eq!(numbers.len(), MAX_LINES);
        assert_eq!(numbers.first(), Some(&3));
        assert_eq!(numbers.last(), Some(&(MAX_LINES as u64 + 2)));
    }

    #[test]
    fn filters_by_level_on_screen_and_in_a_report() {
        let mut log = Log::default();
        log.push(line(5, LogLevel::Debug, "quiet"));
        log.push(line(61_000, LogLevel::Warn, "loud"));
        assert_eq!(log.at_least(LogLevel::Info).count(), 1);
        assert_eq!(log.text(LogLevel::Warn), "  1:01.000 warn  loud\n");
    }

    #[test]
    fn cuts_a_long_line_between_characters() {
        let mut log = Log::default();
        log.push(line(0, LogLevel::Info, &"ä".repeat(5_000)));
        let (_, kept) = log.at_least(LogLevel::Info).next().expect("one line");
        assert!(kept.message.len() <= MAX_LINE_BYTES + '…'.len_utf8());
        assert!(kept.message.ends_with("ä…"));
    }
}
