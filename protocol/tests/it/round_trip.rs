//! Whatever is sealed opens to the same, for its sender alone.

use crate::samples::{any_advert, any_task_message, key, node};
use proptest::prelude::*;
use thrum_protocol::advert::Advert;
use thrum_protocol::limits::MAX_FRAME_BYTES;
use thrum_protocol::record::{ContributionRecord, DonationChoice, DonationRecord, Record as _};
use thrum_protocol::task::TaskMessage;
use thrum_protocol::view::DonateLimits;

proptest! {
    #[test]
    fn task_messages_open_to_what_was_sealed(message in any_task_message(), sender in 1..=255_u8) {
        let bytes = message.seal(&key(sender));
        prop_assert!(bytes.len() <= MAX_FRAME_BYTES);
        prop_assert_eq!(TaskMessage::open(&bytes).unwrap(), (node(sender), message));
    }

    #[test]
    fn adverts_open_to_what_was_sealed(advert in any_advert(), sender in 1..=255_u8) {
        let bytes = advert.seal(&key(sender));
        prop_assert_eq!(Advert::open(&bytes).unwrap(), (node(sender), advert));
    }

    #[test]
    fn records_are_read_back(slots: u32, max_new_tokens: u32, share_percent: u32, jobs_done: u64, tokens_done: u64) {
        let donation = DonationRecord {
            choice: DonationChoice::On,
            limits: DonateLimits { slots, max_new_tokens, share_percent },
        };
        prop_assert_eq!(DonationRecord::from_bytes(&donation.to_bytes()), Some(donation));
        let contribution = ContributionRecord { jobs_done, tokens_done };
        let bytes = contribution.to_bytes();
        prop_assert_eq!(ContributionRecord::from_bytes(&bytes), Some(contribution));
    }

    #[test]
    fn damaged_records_are_none(bytes: Vec<u8>) {
        prop_assert_eq!(DonationRecord::from_bytes(&bytes), None);
        prop_assert_eq!(ContributionRecord::from_bytes(&bytes), None);
    }
}

#[test]
fn a_record_of_a_megabyte_is_not_read() {
    let mut bytes = ContributionRecord::default().to_bytes();
    bytes.splice(1..1, std::iter::repeat_n(b' ', 1 << 20));
    assert_eq!(ContributionRecord::from_bytes(&bytes), None);
}
