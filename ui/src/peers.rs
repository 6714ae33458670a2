//! The order of the peer table and the words in its cells.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use thrum_protocol::view::{AnnouncedView, Capabilities, Path, PeerView};

use crate::{format, words};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// what it is doing
    Activity,
    /// what it offers
    Capabilities,
    /// its short id
    Name,
    /// direct or relayed
    Path,
    /// how far it is trusted
    Reputation,
    /// round trip
    RoundTrip,
    /// tokens per second
    Speed,
}

/// Columns from left to right.
pub const COLUMNS: [Column; 7] = [
    Column::Name,
    Column::Path,
    Column::RoundTrip,
    Column::Capabilities,
    Column::Speed,
    Column::Activity,
    Column::Reputation,
];

/// count; fewer peers than this are seen at a glance and need no filter.
pub const FILTER_FROM: usize = 6;

/// count; models named of peers further away. More are a list, not a sentence.
pub const MOST_FURTHER: usize = 4;

/// By what the table is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// by which column
    pub column: Column,
    /// largest first
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            column: Column::Name,
            descending: false,
        }
    }
}

impl Column {
    /// The header.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Activity => "Doing",
            Self::Capabilities => "Offers",
            Self::Name => "Peer",
            Self::Path => "Path",
            Self::Reputation => "Trust",
            Self::RoundTrip => "Round trip",
            Self::Speed => "Speed",
        }
    }

    /// The unit of its numbers.
    #[must_use]
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Self::RoundTrip => Some("ms"),
            Self::Speed => Some("tok/s"),
            Self::Activity | Self::Capabilities | Self::Name | Self::Path | Self::Reputation => {
                None
            }
        }
    }

    /// Whether its cells are numbers, aligned to the right.
    #[must_use]
    pub fn is_number(self) -> bool {
        match self {
            Self::Reputation | Self::RoundTrip | Self::Speed => true,
            Self::Activity | Self::Capabilities | Self::Name | Self::Path => false,
        }
    }
}

impl Sort {
    /// What a click on a header makes of it: that column, and the other way on a second click.
    #[must_use]
    pub fn clicked(self, column: Column) -> Self {
        Self {
            column,
            descending: self.column == column && !self.descending,
        }
    }

    /// The value of `aria-sort` for a column.
    #[must_use]
    pub fn aria(self, column: Column) -> &'static str {
        match (self.column == column, self.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }
}

/// The peers in the order of the table. What is unknown stands last either way; equal ones stand
/// by id, so that rows do not jump.
#[must_use]
pub fn sorted(peers: &[PeerView], sort: Sort) -> Vec<&PeerView> {
    let mut rows: Vec<&PeerView> = peers.iter().collect();
    rows.sort_by(|a, b| compare(a, b, sort).then_with(|| a.peer_id.cmp(&b.peer_id)));
    rows
}

/// Whether a peer is what the filter asks for: every word of it stands in some cell of the row.
#[must_use]
pub fn matches(peer: &PeerView, filter: &str) -> bool {
    let mut row = format!(
        "{} {} {} {}",
        peer.peer_id,
        words::path(peer.path),
        peer.transport,
        doing(peer)
    );
    if let Some(can) = &peer.capabilities {
        row.push_str(&offers(can));
    }
    let row = row.to_lowercase();
    filter
        .split_whitespace()
        .all(|word| row.contains(&word.to_lowercase()))
}

fn compare(a: &PeerView, b: &PeerView, sort: Sort) -> Ordering {
    let way = |order: Ordering| {
        if sort.descending {
            order.reverse()
        } else {
            order
        }
    };
    match sort.column {
        Column::Name => way(a.peer_id.fmt_short().cmp(&b.peer_id.fmt_short())),
        Column::Path => way(is_relayed(a).cmp(&is_relayed(b))),
        Column::RoundTrip => known_first(a.rtt_millis, b.rtt_millis, |a, b| way(a.cmp(b))),
        Column::Speed => known_first(speed(a), speed(b), |a, b| way(a.total_cmp(b))),
        Column::Reputation => known_first(a.reputation, b.reputation, |a, b| way(a.total_cmp(b))),
        Column::Capabilities => known_first(
            a.capabilities.as_ref().map(offers),
            b.capabilities.as_ref().map(offers),
            |a, b| way(a.cmp(b)),
        ),
        Column::Activity => known_first(a.activity.as_ref(), b.activity.as_ref(), |a, b| {
            way(a.cmp(b))
        }),
    }
}

fn known_first<T>(a: Option<T>, b: Option<T>, order: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => order(&a, &b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn is_relayed(peer: &PeerView) -> bool {
    match peer.path {
        Path::Direct => false,
        Path::Relayed => true,
    }
}

/// A peer's speed, where it says one.
#[must_use]
pub fn speed(peer: &PeerView) -> Option<f64> {
    peer.capabilities
        .as_ref()
        .map(|can| can.tokens_per_second)
        .filter(|speed| speed.is_finite() && *speed > 0.0)
}

/// What a peer offers, in a few words: its models and what computes.
#[must_use]
pub fn offers(can: &Capabilities) -> String {
    let models: Vec<&str> = can.models.iter().map(|model| model.name.as_str()).collect();
    let mut words = if models.is_empty() {
        "no model".to_owned()
    } else {
        models.join(", ")
    };
    if let Some(backend) = can.backend {
        words.push_str(&format!(" · {backend}"));
    }
    words
}

/// What peers that are not connected announced, in one sentence: each model's name and how many
/// offer it, the most first.
#[must_use]
pub fn further(announced: &[AnnouncedView], connected: &[PeerView]) -> Option<String> {
    let is_connected = |one: &&AnnouncedView| connected.iter().any(|it| it.peer_id == one.peer_id);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for one in announced.iter().filter(|one| !is_connected(one)) {
        for model in &one.models {
            *counts.entry(&model.name).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let offer = |(name, count): &(&str, u64)| {
        let by = format::counted(*count, "peer", "peers");
        format!("{name} by {by}")
    };
    let shown: Vec<String> = counts.iter().take(MOST_FURTHER).map(offer).collect();
    let more = counts.len().saturating_sub(MOST_FURTHER);
    let rest = (more > 0).then(|| format!(" and {more} more"));
    let rest = rest.unwrap_or_default();
    (!shown.is_empty()).then(|| format!("Announced further away: {}{rest}.", shown.join(", ")))
}

/// What a peer is doing: what the node knows of it, else how busy it says it is.
#[must_use]
pub fn doing(peer: &PeerView) -> String {
    if let Some(activity) = peer.activity.as_ref().filter(|text| !text.is_empty()) {
        return activity.clone();
    }
    match &peer.capabilities {
        None => format::UNKNOWN.to_owned(),
        Some(can) if !can.donating => "not donating".to_owned(),
        Some(can) if can.busy == 0 => "idle".to_owned(),
        Some(can) => format!("{} of {} tasks", can.busy, can.slots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thrum_protocol::id::NodeId;

    const IDS: [&str; 3] = [
        "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5",
    ];

    fn peer(index: usize, rtt_millis: Option<u64>) -> PeerView {
        PeerView {
            peer_id: IDS[index].parse::<NodeId>().expect("a peer id"),
            path: Path::Relayed,
            transport: "circuit".to_owned(),
            rtt_millis,
            capabilities: None,
            reputation: None,
            agent: None,
            activity: None,
            direct_error: None,
            link: None,
        }
    }

    fn can(busy: u32, donating: bool) -> Capabilities {
        Capabilities {
            donating,
            backend: None,
            models: Vec::new(),
            tokens_per_second: 0.0,
            busy,
            slots: 2,
            max_new_tokens: 512,
        }
    }

    fn round_trips(sort: Sort) -> Vec<Option<u64>> {
        let peers = [peer(0, None), peer(1, Some(30)), peer(2, Some(4))];
        sorted(&peers, sort).iter().map(|p| p.rtt_millis).collect()
    }

    #[test]
    fn the_unknown_stands_last_in_both_directions() {
        let up = Sort {
            column: Column::RoundTrip,
            descending: false,
        };
        assert_eq!(round_trips(up), [Some(4), Some(30), None]);
        let down = up.clicked(Column::RoundTrip);
        assert_eq!(round_trips(down), [Some(30), Some(4), None]);
    }

    #[test]
    fn equal_rows_keep_one_order() {
        let sort = Sort {
            column: Column::Speed,
            descending: true,
        };
        let forth = [peer(0, None), peer(1, None), peer(2, None)];
        let back = [peer(2, None), peer(1, None), peer(0, None)];
        assert_eq!(sorted(&forth, sort), sorted(&back, sort));
    }

    #[test]
    fn a_click_on_another_header_starts_ascending() {
        let sort = Sort {
            column: Column::Speed,
            descending: true,
        };
        let clicked = sort.clicked(Column::Name);
        assert_eq!(clicked.aria(Column::Name), "ascending");
        assert_eq!(clicked.aria(Column::Speed), "none");
        assert_eq!(
            clicked.clicked(Column::Name).aria(Column::Name),
            "descending"
        );
    }

    #[test]
    fn a_peer_is_doing_what_is_known_best() {
        let mut row = peer(0, None);
        assert_eq!(doing(&row), format::UNKNOWN);
        row.capabilities = Some(can(0, true));
        assert_eq!(doing(&row), "idle");
        row.capabilities = Some(can(1, true));
        assert_eq!(doing(&row), "1 of 2 tasks");
        row.capabilities = Some(can(0, false));
        assert_eq!(doing(&row), "not donating");
        row.activity = Some("answers us".to_owned());
        assert_eq!(doing(&row), "answers us");
    }

    fn announced(index: usize, models: &[&str]) -> AnnouncedView {
        let model = |name: &&str| thrum_protocol::view::ModelView {
            id: thrum_protocol::id::ModelId([1; 32]),
            name: (*name).to_owned(),
            context_tokens: 512,
        };
        AnnouncedView {
            peer_id: IDS[index].parse().expect("a peer id"),
            models: models.iter().map(model).collect(),
            backend: None,
            tokens_per_second: 8,
            slots: 2,
            expires_in_millis: thrum_protocol::time::Millis(1),
        }
    }

    #[test]
    fn what_is_further_away_is_counted_by_model() {
        let all = [
            announced(0, &["owl"]),
            announced(1, &["bee", "owl"]),
            announced(2, &["bee"]),
        ];
        assert_eq!(further(&[], &[]), None);
        assert_eq!(further(&all[..1], &[peer(0, None)]), None);
        assert_eq!(
            further(&all, &[peer(0, None)]).as_deref(),
            Some("Announced further away: bee by 2 peers, owl by 1 peer.")
        );
        let many = announced(0, &["a", "b", "c", "d", "e", "f"]);
        let told = further(&[many], &[]).expect("six models");
        assert!(told.ends_with("d by 1 peer and 2 more."), "{told}");
    }

    #[test]
    fn an_offer_names_models_and_back_end() {
        assert_eq!(offers(&can(0, true)), "no model");
    }

    #[test]
    fn the_filter_asks_for_every_word_in_any_cell() {
        let row = peer(0, None);
        assert!(matches(&row, ""));
        assert!(matches(&row, "Relayed nasuq"));
        assert!(!matches(&row, "relayed direct"));
    }

    #[test]
    fn a_speed_of_nothing_is_unknown() {
        let mut row = peer(0, None);
        row.capabilities = Some(can(0, true));
        assert_eq!(speed(&row), None);
    }
}
