//! From what is typed and chosen to what the node is asked.

use thrum_protocol::id::NodeId;
use thrum_protocol::limits::{MAX_CHAT_MESSAGES, MAX_NEW_TOKENS, MAX_PROMPT_BYTES};
use thrum_protocol::sampling::{GenomeUse, Sampling};
use thrum_protocol::task::{ChatMessage, PromptInput, Role};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::{AskRequest, Route};

/// ms; longer than any answer of the demonstrator, shorter than anybody's patience.
const DEADLINE: Millis = Millis::from_secs(180);

/// thousandths; the hottest sampling that the page offers.
pub const MAX_TEMPERATURE_MILLI: u32 = 2_000;

/// How to answer, as chosen beside the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// where to compute
    pub route: Route,
    /// tokens at most
    pub max_new_tokens: u32,
    /// 0 is greedy
    pub temperature_milli: u32,
    /// with the same seed the same answer
    pub seed: u64,
    /// whether earlier turns are sent along; the oldest go where the model's context is full
    pub keep_context: bool,
}

impl Default for Options {
    /// Greedy and short, for small string tasks; only the message that was typed.
    fn default() -> Self {
        Self {
            route: Route::Auto,
            max_new_tokens: 128,
            temperature_milli: 0,
            seed: 0,
            keep_context: false,
        }
    }
}

/// Why a prompt is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// nothing was typed
    Empty,
    /// over what one prompt may have
    TooLong {
        /// bytes that were typed
        got_bytes: usize,
    },
}

/// Builds the request for a typed prompt. One that wears genomes is answered here: only this node
/// has them.
///
/// # Errors
/// [`Unfit`] where it cannot be sent as it is.
pub fn request(
    ask: u64,
    typed: &str,
    history: Vec<ChatMessage>,
    options: &Options,
    genomes: Vec<GenomeUse>,
) -> Result<AskRequest, Unfit> {
    let typed = typed.trim_end();
    if typed.trim().is_empty() {
        return Err(Unfit::Empty);
    }
    if typed.len() > MAX_PROMPT_BYTES {
        return Err(Unfit::TooLong {
            got_bytes: typed.len(),
        });
    }
    let mut messages = if options.keep_context {
        newest(history, MAX_PROMPT_BYTES - typed.len())
    } else {
        Vec::new()
    };
    messages.push(ChatMessage {
        role: Role::User,
        content: typed.to_owned(),
    });
    let route = match genomes.is_empty() {
        true => options.route,
        false => Route::Local,
    };
    Ok(AskRequest {
        ask,
        model: None,
        input: PromptInput::Chat(messages),
        max_new_tokens: options.max_new_tokens.clamp(1, MAX_NEW_TOKENS),
        sampling: Sampling {
            temperature_milli: options.temperature_milli.min(MAX_TEMPERATURE_MILLI),
            seed: options.seed,
            genomes,
            ..Sampling::GREEDY
        },
        stop: Vec::new(),
        deadline_millis: DEADLINE,
        truncation: match options.keep_context {
            true => Truncation::Auto,
            false => Truncation::Disabled,
        },
        route,
    })
}

/// The newest whole turns (a question and its answer) that fit.
fn newest(history: Vec<ChatMessage>, max_bytes: usize) -> Vec<ChatMessage> {
    let mut bytes = 0;
    let turns = history
        .rchunks(2)
        .take(MAX_CHAT_MESSAGES / 2 - 1)
        .take_while(|turn| {
            bytes += turn
                .iter()
                .map(|message| message.content.len())
                .sum::<usize>();
            bytes <= max_bytes
        })
        .count();
    let kept = history.len().saturating_sub(2 * turns);
    history.into_iter().skip(kept).collect()
}

/// A route as the value of the select on the page.
#[must_use]
pub fn route_value(route: Route) -> String {
    match route {
        Route::Auto => "auto".to_owned(),
        Route::Local => "local".to_owned(),
        Route::Peer => "peer".to_owned(),
        Route::PeerId(peer) => peer.to_string(),
    }
}

/// The route that a value of [`route_value`] means.
#[must_use]
pub fn route_from(value: &str) -> Option<Route> {
    match value {
        "auto" => Some(Route::Auto),
        "local" => Some(Route::Local),
        "peer" => Some(Route::Peer),
        id => id.parse::<NodeId>().ok().map(Route::PeerId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, content: &str) -> ChatMessage {
        ChatMessage {
            role,
            content: content.to_owned(),
        }
    }

    fn sent(request: AskRequest) -> Vec<String> {
        match request.input {
            PromptInput::Chat(messages) => messages.into_iter().map(|m| m.content).collect(),
            PromptInput::Text(text) => vec![text],
        }
    }

    #[test]
    fn only_the_typed_message_is_sent_unless_context_is_kept() {
        let history = vec![message(Role::User, "cat"), message(Role::Assistant, "tac")];
        let alone =
            request(1, "dog\n", history.clone(), &Options::default(), Vec::new()).expect("fits");
        assert_eq!(alone.truncation, Truncation::Disabled);
        assert_eq!(sent(alone), ["dog"]);
        let options = Options {
            keep_context: true,
            ..Options::default()
        };
        let with = request(1, "dog", history, &options, Vec::new()).expect("fits");
        assert_eq!(with.truncation, Truncation::Auto);
        assert_eq!(sent(with), ["cat", "tac", "dog"]);
    }

    #[test]
    fn what_is_sent_is_within_the_protocols_limits() {
        let long = "x".repeat(MAX_PROMPT_BYTES / 2 - 1);
        let history: Vec<_> = (0..600)
            .flat_map(|_| [message(Role::User, &long), message(Role::Assistant, "y")])
            .collect();
        let options = Options {
            keep_context: true,
            max_new_tokens: u32::MAX,
            temperature_milli: u32::MAX,
            ..Options::default()
        };
        let request = request(1, &long, history, &options, Vec::new()).expect("fits");
        assert_eq!(request.max_new_tokens, MAX_NEW_TOKENS);
        assert!(request.input.text_bytes() <= MAX_PROMPT_BYTES);
        let parts = sent(request);
        assert_eq!(parts.len(), 3, "one turn fits beside the prompt");
        assert_eq!(parts[1], "y", "turns are kept whole");
    }

    #[test]
    fn many_short_turns_stay_under_the_message_limit() {
        let history: Vec<_> = (0..400)
            .flat_map(|_| [message(Role::User, "a"), message(Role::Assistant, "b")])
            .collect();
        let options = Options {
            keep_context: true,
            ..Options::default()
        };
        let request = request(1, "c", history, &options, Vec::new()).expect("fits");
        assert!(sent(request).len() <= MAX_CHAT_MESSAGES);
    }

    #[test]
    fn nothing_and_too_much_are_not_sent() {
        let options = Options::default();
        assert_eq!(
            request(1, " \n ", Vec::new(), &options, Vec::new()),
            Err(Unfit::Empty)
        );
        let typed = "x".repeat(MAX_PROMPT_BYTES + 1);
        assert_eq!(
            request(1, &typed, Vec::new(), &options, Vec::new()),
            Err(Unfit::TooLong {
                got_bytes: MAX_PROMPT_BYTES + 1
            })
        );
    }

    #[test]
    fn routes_survive_the_select() {
        let peer: NodeId = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
            .parse()
            .expect("a peer id");
        for route in [Route::Auto, Route::Local, Route::Peer, Route::PeerId(peer)] {
            assert_eq!(route_from(&route_value(route)), Some(route));
        }
        assert_eq!(route_from("everywhere"), None);
    }
}
