//! Capability records: what is sealed opens, and what no honest peer signs is refused by name.

use crate::samples::{advert, any_capability, capability, key, node};
use proptest::prelude::*;
use thrum_protocol::advert::Advert;
use thrum_protocol::capability::{CapabilityRecord, SpeedClass};
use thrum_protocol::id::ModelId;
use thrum_protocol::limits::{
    MAX_CAPABILITY_BYTES, MAX_CAPABILITY_LIFE, MAX_CAPABILITY_RELAYS, MAX_OFFERS, MAX_TEXT_BYTES,
};
use thrum_protocol::model_namespace;
use thrum_protocol::signed::OpenError;
use thrum_protocol::time::Millis;

proptest! {
    #[test]
    fn records_open_to_what_was_sealed(record in any_capability(), sender in 1..=255_u8) {
        let bytes = record.seal(&key(sender));
        let opened = CapabilityRecord::open(&bytes);
        if bytes.len() > MAX_CAPABILITY_BYTES {
            let long = matches!(opened, Err(OpenError::OverLimit { field: "record", .. }));
            prop_assert!(long);
        } else {
            prop_assert_eq!(opened.unwrap(), (node(sender), record));
        }
    }

    #[test]
    fn random_bytes_are_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(CapabilityRecord::open(&bytes).is_err());
    }

    #[test]
    fn a_cut_or_flipped_record_is_never_other_content(
        record in any_capability(),
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let bytes = record.seal(&key(1));
        let at = at.index(bytes.len());
        prop_assert!(CapabilityRecord::open(&bytes[..at]).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        // Another spelling of the same content may verify.
        if let Ok(opened) = CapabilityRecord::open(&flipped) {
            prop_assert_eq!(opened, (node(1), record));
        }
    }

    #[test]
    fn a_class_holds_every_speed_from_its_slowest(speed: u64) {
        let class = SpeedClass::of(speed);
        let per_second = speed / 1_000;
        prop_assert!(class.tokens_per_second() <= per_second);
        prop_assert!(per_second < SpeedClass(class.0 + 1).tokens_per_second());
    }

    #[test]
    fn any_class_has_a_speed(class: u8) {
        let slowest = SpeedClass(class).tokens_per_second();
        prop_assert!(slowest <= SpeedClass(class.saturating_add(1)).tokens_per_second());
    }
}

#[test]
fn a_life_of_nothing_or_of_too_long_is_refused() {
    for (life, allowed) in [
        (0, false),
        (1, true),
        (MAX_CAPABILITY_LIFE.0, true),
        (MAX_CAPABILITY_LIFE.0 + 1, false),
    ] {
        let record = CapabilityRecord {
            expires: capability().sequence + life,
            ..capability()
        };
        let opened = CapabilityRecord::open(&record.seal(&key(1)));
        match opened {
            Ok(_) => assert!(allowed, "{life} ms"),
            Err(error) => {
                let named =
                    matches!(error, OpenError::Lifetime { life: told } if told == Millis(life));
                assert!(named && !allowed, "{life} ms: {error}");
            }
        }
    }
    let backwards = CapabilityRecord {
        expires: 0,
        ..capability()
    };
    let error = CapabilityRecord::open(&backwards.seal(&key(1))).expect_err("it ends before");
    assert!(matches!(error, OpenError::Lifetime { .. }), "{error}");
}

#[test]
fn records_over_their_limits_are_refused() {
    let mut long = capability();
    long.relays = vec![node(3); MAX_CAPABILITY_RELAYS + 1];
    refused(&long, "relays");
    let mut long = capability();
    long.models = vec![long.models[0].clone(); MAX_OFFERS + 1];
    refused(&long, "models");
    let mut long = capability();
    long.models[0].name = "x".repeat(MAX_TEXT_BYTES + 1);
    refused(&long, "models.name");
    let mut long = capability();
    long.models = vec![long.models[0].clone(); MAX_OFFERS];
    for model in &mut long.models {
        model.name = "x".repeat(MAX_TEXT_BYTES);
    }
    refused(&long, "record");
}

#[test]
fn what_is_signed_for_another_purpose_is_no_record() {
    let bytes = advert().seal(&key(1));
    assert!(CapabilityRecord::open(&bytes).is_err());
    assert!(Advert::open(&capability().seal(&key(1))).is_err());
    let mut value: serde_json::Value =
        serde_json::from_slice(&capability().seal(&key(1))).expect("it is JSON");
    value["sender_id"] = node(2).to_string().into();
    let forged = serde_json::to_vec(&value).expect("it is JSON");
    let error = CapabilityRecord::open(&forged).expect_err("another signed it");
    assert!(matches!(error, OpenError::WrongSignature), "{error}");
}

#[test]
fn a_model_s_namespace_is_short_and_its_own() {
    let namespace = model_namespace(ModelId([0xab; 32]));
    assert_eq!(namespace, "thrum/1/model/abababababababab");
    assert_ne!(namespace, model_namespace(ModelId([0xac; 32])));
}

fn refused(record: &CapabilityRecord, expected: &'static str) {
    let error = CapabilityRecord::open(&record.seal(&key(1))).expect_err(expected);
    let named = matches!(error, OpenError::OverLimit { field, .. } if field == expected);
    assert!(named, "{expected}: {error}");
}
