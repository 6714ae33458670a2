//! The page's words for the node's values, and what to do about each error.

use crate::format;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{
    AskErrorCode, DonationMode, LinkView, LogLevel, NetworkKind, Path, RelayState, State, Through,
};

/// The product in one sentence: headline of the page, with and without wasm.
pub const SENTENCE: &str = "A hive of browser tabs that runs, teaches and shares language models.";

/// What the page offers, under the headline.
pub const LEAD: &str = "Open this page and your tab becomes a peer. Prompts are answered by \
whichever tab has time, and the words travel from tab to tab. No account, nothing to install.";

/// A state in one word.
#[must_use]
pub fn state(state: State) -> &'static str {
    match state {
        State::Connecting => "Connecting",
        State::Error => "Needs attention",
        State::Off => "Off",
        State::Paused => "Paused",
        State::Ready => "Ready",
        State::Working => "Working",
    }
}

/// A state as a token for styles and tests: the JSON form.
#[must_use]
pub fn state_token(state: State) -> &'static str {
    match state {
        State::Connecting => "connecting",
        State::Error => "error",
        State::Off => "off",
        State::Paused => "paused",
        State::Ready => "ready",
        State::Working => "working",
    }
}

/// What the donation is doing.
#[must_use]
pub fn donation(mode: DonationMode) -> &'static str {
    match mode {
        DonationMode::Finishing => "Finishing what was taken",
        DonationMode::Off => "Not donating",
        DonationMode::On => "Donating",
        DonationMode::Paused => "Donation paused",
    }
}

/// The donation as a token for styles and tests: the JSON form.
#[must_use]
pub fn donation_token(mode: DonationMode) -> &'static str {
    match mode {
        DonationMode::Finishing => "finishing",
        DonationMode::Off => "off",
        DonationMode::On => "on",
        DonationMode::Paused => "paused",
    }
}

/// What an answer was given without; nothing where everything was there.
#[must_use]
pub fn discarded(what: Discarded) -> Option<String> {
    let Discarded {
        messages,
        prompt_tokens,
        context_tokens,
    } = what;
    let tokens = u64::from(prompt_tokens) + u64::from(context_tokens);
    let tokens = format::counted(tokens, "token", "tokens");
    match messages {
        _ if what.is_nothing() => None,
        0 => Some(format!("the oldest {tokens} forgotten")),
        _ => {
            let messages = format::counted(messages.into(), "message", "messages");
            Some(format!(
                "the oldest {messages} left out, {tokens} forgotten"
            ))
        }
    }
}

/// How bytes get to a peer.
#[must_use]
pub fn path(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
    }
}

/// What lies between, and how much has gone each way.
#[must_use]
pub fn link(link: &LinkView) -> String {
    let through = match link.through {
        Through::Network => "same network, ",
        Through::Unknown => "",
        Through::Nat => "through NAT, ",
        Through::Turn => "through TURN, ",
    };
    let (bytes_in, bytes_out) = (format::bytes(link.bytes_in), format::bytes(link.bytes_out));
    format!("{through}{bytes_in} in, {bytes_out} out")
}

/// How far a relay's connection is.
#[must_use]
pub fn relay_state(state: RelayState) -> &'static str {
    match state {
        RelayState::Connected => "Connected",
        RelayState::Connecting => "Connecting",
        RelayState::Reserved => "Connected, reachable",
        RelayState::Waiting => "Not connected",
    }
}

/// A relay's state as a token for styles and tests: the JSON form.
#[must_use]
pub fn relay_token(state: RelayState) -> &'static str {
    match state {
        RelayState::Connected => "connected",
        RelayState::Connecting => "connecting",
        RelayState::Reserved => "reserved",
        RelayState::Waiting => "waiting",
    }
}

/// What lies between this browser and the others, and what that means.
#[must_use]
pub fn network(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Cone => {
            "Your network: the same outer port for everybody. Most tabs are reached directly."
        }
        NetworkKind::Nat => {
            "Your network: a router. Only one server could be asked, so how it picks ports is not known."
        }
        NetworkKind::Open => {
            "Your network: no router in between. Nearly every tab is reached directly."
        }
        NetworkKind::RelayOnly => {
            "Your network: not looked at, because every connection is to go through TURN."
        }
        NetworkKind::Symmetric => {
            "Your network: a router that picks another port for each peer. Tabs behind a strict router \
             are reached by TURN, or through a relay."
        }
        NetworkKind::UdpBlocked => {
            "Your network: no UDP gets through to a STUN server. Tabs elsewhere are reached through a \
             relay, more slowly."
        }
        NetworkKind::Unknown => "Your network: not known yet.",
    }
}

/// A kind of network as a token for styles and tests: the JSON form.
#[must_use]
pub fn network_token(kind: NetworkKind) -> &'static str {
    match kind {
        NetworkKind::Cone => "cone",
        NetworkKind::Nat => "nat",
        NetworkKind::Open => "open",
        NetworkKind::RelayOnly => "relayOnly",
        NetworkKind::Symmetric => "symmetric",
        NetworkKind::UdpBlocked => "udpBlocked",
        NetworkKind::Unknown => "unknown",
    }
}

/// A level of the log, as in its filter.
#[must_use]
pub fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// A level by the word of [`level`].
#[must_use]
pub fn level_from(word: &str) -> Option<LogLevel> {
    [
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warn,
        LogLevel::Error,
    ]
    .into_iter()
    .find(|candidate| level(*candidate) == word)
}

/// A reason without its countdown: what a screen reader says once, not every second.
#[must_use]
pub fn steady(reason: &str) -> &str {
    let countdown = reason.find("Next try in");
    reason[..countdown.unwrap_or(reason.len())].trim_end()
}

/// What the node is doing with the model's bytes.
#[must_use]
pub fn stage(stage: &str) -> &str {
    match stage {
        "download" => "Downloading the model",
        "verify" => "Checking the model",
        "upload" => "Loading the model into the engine",
        "probe" => "Measuring the speed",
        other => other,
    }
}

/// An error's code, as programs know it.
#[must_use]
pub fn error_code(code: AskErrorCode) -> &'static str {
    match code {
        AskErrorCode::Busy => "busy",
        AskErrorCode::Cancelled => "cancelled",
        AskErrorCode::DeadlinePassed => "deadline_passed",
        AskErrorCode::InvalidRequest => "invalid_request",
        AskErrorCode::NoProvider => "no_provider",
        AskErrorCode::ProvidersFailed => "providers_failed",
        AskErrorCode::UnknownModel => "unknown_model",
    }
}

/// What a person can do when there is no answer.
#[must_use]
pub fn advice(code: AskErrorCode) -> &'static str {
    match code {
        AskErrorCode::Busy => "Wait until an answer ends, or stop one, then send again.",
        AskErrorCode::Cancelled => "",
        AskErrorCode::DeadlinePassed => {
            "Send it again, allow fewer tokens, or choose another peer."
        }
        AskErrorCode::InvalidRequest => {
            "Shorten the prompt, or start a new conversation without context."
        }
        AskErrorCode::NoProvider => {
            "Load a model in this tab, or open this page in another browser profile and donate there."
        }
        AskErrorCode::ProvidersFailed => "Send it again, or choose “this tab” under “Answered by”.",
        AskErrorCode::UnknownModel => {
            "Load the model's file in this tab, or connect to a peer that offers it."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../index.html");

    /// Text of the static page with its line breaks evened out.
    fn page() -> String {
        PAGE.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_static_page_says_what_the_dashboard_says() {
        assert!(page().contains(SENTENCE));
        assert!(page().contains(LEAD));
    }

    #[test]
    fn a_countdown_is_not_read_aloud() {
        let at = |secs| format!("The relay does not answer (refused). Next try in {secs} s.");
        assert_eq!(steady(&at(9)), steady(&at(8)));
        assert_eq!(steady(&at(9)), "The relay does not answer (refused).");
        assert_eq!(steady("Connected."), "Connected.");
    }

    #[test]
    fn what_was_left_out_is_told_in_numbers() {
        let told = |messages, prompt_tokens, context_tokens| {
            discarded(Discarded {
                messages,
                prompt_tokens,
                context_tokens,
            })
        };
        assert_eq!(told(0, 0, 0), None);
        assert_eq!(
            told(0, 0, 96).as_deref(),
            Some("the oldest 96 tokens forgotten")
        );
        assert_eq!(
            told(1, 30, 32).as_deref(),
            Some("the oldest 1 message left out, 62 tokens forgotten")
        );
    }

    #[test]
    fn levels_are_found_by_their_word() {
        assert_eq!(level_from("warn"), Some(LogLevel::Warn));
        assert_eq!(level_from("loud"), None);
    }

    #[test]
    fn tokens_are_the_json_forms() {
        let json = |value: serde_json::Value| value.as_str().map(str::to_owned);
        for value in [State::Connecting, State::Error, State::Off, State::Working] {
            let form = serde_json::to_value(value).expect("a word");
            assert_eq!(json(form).as_deref(), Some(state_token(value)));
        }
        for value in [AskErrorCode::NoProvider, AskErrorCode::DeadlinePassed] {
            let form = serde_json::to_value(value).expect("a word");
            assert_eq!(json(form).as_deref(), Some(error_code(value)));
        }
    }
}
