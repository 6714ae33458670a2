//! Whole crowds over many seeds: every ask ends once, in time, with the undisturbed text or a clear
//! error, and no honest peer is accused.

use thrum_sim::crowd::{Options, Summary, play};

#[test]
fn fair_weather_answers_everybody_rightly() {
    let mut asked = 0;
    for seed in 0..40 {
        let summary = keeps_promises(Options {
            seed,
            peers: 8,
            donors: 3,
            asks: 6,
            ..Options::default()
        });
        assert_eq!(summary.failed, [], "seed {seed}");
        assert_eq!(summary.right, summary.asked, "seed {seed}");
        asked += summary.asked;
    }
    assert_eq!(asked, 240);
}

#[test]
fn loss_and_delay_never_hang_or_falsify() {
    let rescued = storms(100..170, |options| Options {
        loss_ppm: 15_000,
        jitter: thrum_protocol::time::Millis(900),
        ..options
    });
    assert!(rescued > 20, "loss hardly did anything: {rescued}");
}

#[test]
fn deaths_cuts_and_lost_devices_never_hang_or_falsify() {
    let rescued = storms(200..270, |options| Options {
        deaths: 2,
        cuts: 6,
        engine_losses: 6,
        ..options
    });
    assert!(rescued > 5, "the accidents hardly did anything: {rescued}");
}

#[test]
fn relays_that_die_and_return_never_hang_or_falsify() {
    let rescued = storms(300..340, |options| Options {
        relays: 2,
        relay_deaths: 4,
        cuts: 2,
        ..options
    });
    assert!(rescued > 2, "the relays hardly mattered: {rescued}");
}

#[test]
fn liars_on_both_sides_never_hang_or_falsify() {
    let rescued = storms(400..470, |options| Options {
        liars: 2,
        lying_askers: 2,
        ..options
    });
    assert!(rescued > 20, "the liars hardly did anything: {rescued}");
}

#[test]
fn everything_at_once_never_hangs_or_falsifies() {
    storms(500..540, |options| Options {
        relays: 2,
        liars: 2,
        lying_askers: 1,
        loss_ppm: 5_000,
        deaths: 1,
        cuts: 4,
        relay_deaths: 2,
        engine_losses: 2,
        ..options
    });
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let options = Options {
        seed: 7,
        peers: 10,
        donors: 4,
        liars: 2,
        lying_askers: 1,
        loss_ppm: 5_000,
        deaths: 1,
        cuts: 3,
        relay_deaths: 1,
        engine_losses: 1,
        ..Options::default()
    };
    let (first, summary) = play(&options);
    let (again, same) = play(&options);
    assert!(first.log.len() > 1_000);
    assert_eq!(first.log, again.log);
    assert_eq!(summary, same);
    let (other, _) = play(&Options { seed: 8, ..options });
    assert_ne!(first.log, other.log);
}

#[test]
fn a_finished_world_holds_nothing_open() {
    let (world, _) = play(&Options {
        seed: 11,
        liars: 1,
        lying_askers: 1,
        asks: 24,
        loss_ppm: 5_000,
        ..Options::default()
    });
    for peer in world.peers.iter().filter(|peer| peer.liar.is_none()) {
        let view = peer.hive.snapshot(world.now);
        assert_eq!(view.donation.jobs, []);
        assert!(view.peers.len() <= thrum_hive::limits::MAX_CONNECTED_PEERS);
        assert_eq!(peer.engine.jobs.len(), 0);
    }
}

/// Plays a story for each seed; how many asks were answered only after a failed attempt.
fn storms(seeds: std::ops::Range<u64>, weather: impl Fn(Options) -> Options) -> usize {
    let mut rescued = 0;
    for seed in seeds {
        let summary = keeps_promises(weather(Options {
            seed,
            peers: 8,
            donors: 4,
            asks: 5,
            ..Options::default()
        }));
        rescued += summary.rescued;
    }
    rescued
}

fn keeps_promises(options: Options) -> Summary {
    let (_, summary) = play(&options);
    let seed = options.seed;
    assert_eq!(summary.broken_promises, [""; 0], "seed {seed}");
    let ended = summary.right + summary.failed.len();
    assert_eq!(ended, summary.asked, "seed {seed}");
    summary
}
