//! The answers this tab waits for, so that they can be asked anew when the tab that carried them
//! goes away.
//!
//! The seed makes the second answer the same as the first; what was delivered of the first is not
//! delivered twice. Where the second differs after all, the ask fails rather than mix two answers.

use std::collections::BTreeMap;
use thrum_protocol::task::Token;
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate};

/// The answers under way, by this tab's own numbers.
#[derive(Default)]
pub(crate) struct Pending {
    asks: BTreeMap<u64, Ask>,
}

struct Ask {
    request: AskRequest,
    /// what was handed on
    delivered: String,
    /// what comes again and was handed on before
    skip: String,
    /// tokens that were handed on, where they are
    delivered_tokens: u32,
    cancelled: bool,
}

impl Pending {
    pub(crate) fn begin(&mut self, request: &AskRequest) {
        let request = request.clone();
        let (delivered, skip) = (String::new(), String::new());
        let ask = Ask {
            request,
            delivered,
            skip,
            delivered_tokens: 0,
            cancelled: false,
        };
        self.asks.insert(ask.request.ask, ask);
    }

    /// A cancelled ask is not asked anew.
    pub(crate) fn cancel(&mut self, ask: u64) {
        if let Some(ask) = self.asks.get_mut(&ask) {
            ask.cancelled = true;
        }
    }

    /// What to hand on of an update.
    pub(crate) fn update(&mut self, number: u64, update: AskUpdate) -> Option<AskUpdate> {
        let ask = self.asks.get_mut(&number)?;
        match update {
            AskUpdate::Delta {
                index,
                text,
                tokens,
            } => match ask.fresh_part(text) {
                Some(text) => Some(AskUpdate::Delta {
                    index,
                    text,
                    tokens: ask.fresh_tokens(index, tokens),
                }),
                None => {
                    self.asks.remove(&number);
                    Some(AskUpdate::Failed {
                        code: AskErrorCode::ProvidersFailed,
                        message: "the tab that carried the answer was closed, and the answer \
                                  that replaces it is another one"
                            .to_owned(),
                    })
                }
            },
            AskUpdate::Done { .. } | AskUpdate::Failed { .. } => {
                self.asks.remove(&number);
                Some(update)
            }
            AskUpdate::Retrying { .. } | AskUpdate::Routed { .. } => Some(update),
        }
    }

    /// What must be asked anew, and the numbers of those that were cancelled meanwhile.
    pub(crate) fn anew(&mut self) -> (Vec<AskRequest>, Vec<u64>) {
        let cancelled: Vec<u64> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.cancelled)
            .map(|(number, _)| *number)
            .collect();
        self.asks.retain(|_, ask| !ask.cancelled);
        for ask in self.asks.values_mut() {
            ask.skip = ask.delivered.clone();
        }
        (
            self.asks.values().map(|ask| ask.request.clone()).collect(),
            cancelled,
        )
    }
}

impl Ask {
    /// The last of `tokens` has this `index`; those handed on before are left out.
    fn fresh_tokens(&mut self, index: u32, mut tokens: Vec<Token>) -> Vec<Token> {
        let fresh = (index + 1).saturating_sub(self.delivered_tokens) as usize;
        if !tokens.is_empty() {
            self.delivered_tokens = self.delivered_tokens.max(index + 1);
        }
        let known = tokens.len().saturating_sub(fresh);
        tokens.split_off(known)
    }

    /// `text` without what was handed on before, `None` where it is another text.
    fn fresh_part(&mut self, text: String) -> Option<String> {
        let fresh = if let Some(rest) = self.skip.strip_prefix(&text) {
            self.skip = rest.to_owned();
            String::new()
        } else {
            let fresh = text.strip_prefix(&self.skip)?.to_owned();
            self.skip.clear();
            fresh
        };
        self.delivered.push_str(&fresh);
        Some(fresh)
    }
}

#[cfg(test)]
mod tests;
