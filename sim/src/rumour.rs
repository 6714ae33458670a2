//! Lies that are told to everybody: what goes out in place of an announcement.

use crate::liar::Lie;
use thrum_protocol::SigningKey;
use thrum_protocol::capability::CapabilityRecord;
use thrum_protocol::limits::MAX_CAPABILITY_LIFE;

/// count; announcements of one flood. More than a neighbour takes from one peer.
const FLOOD: u64 = 600;

/// The announcements that a liar makes of its machine's. `first` is the first it made.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a lie concerns one or two messages; all others pass as they are"
)]
pub(crate) fn twisted(
    lie: Lie,
    key: &SigningKey,
    first: &mut Option<Vec<u8>>,
    bytes: Vec<u8>,
) -> Vec<Vec<u8>> {
    let Ok((_, record)) = CapabilityRecord::open(&bytes) else {
        return vec![bytes];
    };
    let at = |sequence: u64| CapabilityRecord {
        sequence,
        expires: sequence + MAX_CAPABILITY_LIFE.0,
        ..record.clone()
    };
    match lie {
        Lie::AnnouncesFlood => (0..FLOOD)
            .map(|more| at(record.sequence + more).seal(key))
            .collect(),
        Lie::AnnouncesForged => {
            let text = String::from_utf8(bytes).expect("a record is text");
            vec![text.replace("\"slots\":2", "\"slots\":7").into_bytes()]
        }
        Lie::AnnouncesLate => vec![at(record.sequence - 2 * MAX_CAPABILITY_LIFE.0).seal(key)],
        Lie::AnnouncesReplayed => {
            let first = first.get_or_insert_with(|| bytes.clone());
            let again = usize::try_from(FLOOD).expect("a small number");
            let mut out = vec![bytes];
            out.extend(vec![first.clone(); again]);
            out
        }
        _ => vec![bytes],
    }
}
