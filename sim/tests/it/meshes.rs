//! A thousand peers behind NATs of every kind, with liars among them.

use thrum_hive::limits::{ENOUGH_PEERS, MAX_CONNECTED_PEERS};
use thrum_protocol::time::Millis;
use thrum_sim::mesh::{Options, Recovery, play};

/// Whether a thousand hold together is a matter of graphs, not of time: what is asserted holds at
/// the end of each story, however long the middle of it took.
#[test]
fn a_thousand_peers_find_each_other_and_what_few_have_through_death_and_partition() {
    let options = Options {
        seed: 3,
        liars: 5,
        span: Millis(60_000),
        ..Options::of(1_000)
    };
    let (world, report) = play(&options);
    assert_eq!(report.shape.components, 1, "{report}");
    let [_, median, most] = report.shape.links;
    assert!(median >= ENOUGH_PEERS, "{report}");
    assert!(most <= MAX_CONNECTED_PEERS, "{report}");
    assert!(report.shape.lonely_per_mille <= 30, "{report}");
    assert!(report.lookups.asked >= 40, "{report}");
    assert!(report.lookups.success() >= 95.0, "{report}");
    assert!(report.lookups.hops_of(99) <= 4, "{report}");
    assert!(report.all_per_minute <= 160.0, "{report}");
    holds_together(&report.deaths, &report.to_string());
    holds_together(&report.partition, &report.to_string());
    assert_eq!(report.partition.before.components, 2, "{report}");
    assert_eq!(report.false_reports, [""; 0], "{report}");
    let caught = world.peers.iter().filter(|peer| peer.liar.is_none());
    let reports: usize = caught.map(|peer| peer.misbehaviours.len()).sum();
    assert!(reports > 100, "the liars hardly did anything: {reports}");
}

fn holds_together(recovery: &Recovery, report: &str) {
    assert_eq!(recovery.after.components, 1, "{report}");
    assert!(recovery.after.lonely_per_mille <= 50, "{report}");
    assert!(recovery.whole_after.is_some(), "{report}");
    assert!(recovery.answers_after.is_some(), "{report}");
}
