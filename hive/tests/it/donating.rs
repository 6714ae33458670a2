//! The person's choice: kept, taken up again, and shown.

use crate::bench::Bench;
use thrum_hive::io::{Input, Output, StoreKey};
use thrum_protocol::view::{Command, DonateLimits, DonationMode};

#[test]
fn the_choice_is_kept_and_taken_up() {
    let kept = kept_choice(&[Command::Donate(DonateLimits::default())]);
    assert_eq!(mode_after(true, Some(kept.clone())), DonationMode::On);
    assert_eq!(mode_after(false, Some(kept)), DonationMode::Off);
}

#[test]
fn a_pause_and_an_end_are_kept_too() {
    let donate = Command::Donate(DonateLimits::default());
    let paused = kept_choice(&[donate.clone(), Command::Pause]);
    assert_eq!(mode_after(true, Some(paused)), DonationMode::Paused);
    let finished = kept_choice(&[donate, Command::Finish]);
    assert_eq!(mode_after(true, Some(finished)), DonationMode::Off);
}

#[test]
fn nothing_or_damage_means_off() {
    for value in [
        None,
        Some(Vec::new()),
        Some(b"{\"choice\":\"on\"".to_vec()),
        Some(vec![0xff; 99]),
    ] {
        assert_eq!(mode_after(true, value), DonationMode::Off);
    }
}

#[test]
fn a_remembered_choice_loads_the_model() {
    let kept = kept_choice(&[Command::Donate(DonateLimits::default())]);
    let (mut bench, outputs) = Bench::with(1, true);
    assert!(outputs.contains(&Output::Load(StoreKey::Donation)));
    assert!(!outputs.contains(&Output::LoadModel));
    assert!(load(&mut bench, StoreKey::Donation, Some(kept)).contains(&Output::LoadModel));
}

#[test]
fn a_click_counts_more_than_the_memory() {
    let kept = kept_choice(&[Command::Donate(DonateLimits::default())]);
    let (mut bench, _) = Bench::with(1, true);
    bench.command(Command::Finish);
    load(&mut bench, StoreKey::Donation, Some(kept));
    assert_eq!(bench.snapshot().donation.mode, DonationMode::Off);
}

#[test]
fn what_was_contributed_adds_up() {
    let mut bench = Bench::new();
    let value = b"{\"jobsDone\":3,\"tokensDone\":90}".to_vec();
    load(&mut bench, StoreKey::Contribution, Some(value));
    let donation = bench.snapshot().donation;
    assert_eq!((donation.jobs_done, donation.tokens_done), (3, 90));
}

#[test]
fn limits_out_of_reason_are_brought_within() {
    let limits = DonateLimits {
        slots: u32::MAX,
        max_new_tokens: 0,
        share_percent: 0,
    };
    let kept = kept_choice(&[Command::Donate(limits)]);
    let text = String::from_utf8(kept).expect("it is JSON");
    assert!(
        text.contains("\"slots\":8")
            && text.contains("\"maxNewTokens\":1")
            && text.contains("\"sharePercent\":5"),
        "{text}"
    );
}

#[test]
fn the_engine_is_told_the_share_when_it_is_chosen_and_when_it_is_remembered() {
    let limits = DonateLimits {
        share_percent: 30,
        ..DonateLimits::default()
    };
    let mut bench = Bench::new();
    let outputs = bench.command(Command::Donate(limits));
    assert!(outputs.contains(&Output::Share { percent: 30 }));
    let kept = kept_choice(&[Command::Donate(limits)]);
    let mut bench = Bench::with(1, true).0;
    let outputs = load(&mut bench, StoreKey::Donation, Some(kept));
    assert!(outputs.contains(&Output::Share { percent: 30 }));
}

fn kept_choice(commands: &[Command]) -> Vec<u8> {
    let mut bench = Bench::new();
    let mut kept = None;
    for command in commands {
        for output in bench.command(command.clone()) {
            if let Output::Store {
                key: StoreKey::Donation,
                value,
            } = output
            {
                kept = Some(value);
            }
        }
    }
    kept.expect("a choice is kept")
}

fn mode_after(resume: bool, value: Option<Vec<u8>>) -> DonationMode {
    let (mut bench, _) = Bench::with(1, resume);
    load(&mut bench, StoreKey::Donation, value);
    bench.snapshot().donation.mode
}

fn load(bench: &mut Bench, key: StoreKey, value: Option<Vec<u8>>) -> Vec<Output> {
    bench.tell(Input::Loaded { key, value })
}
