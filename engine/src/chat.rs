//! Renders a conversation with the chat template that the model file carries.

mod methods;
mod python;
mod syntax;
mod time;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

/// bytes; the longest published templates are about 20 kB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 18;

/// messages in a conversation; more do not fit any context.
pub const MAX_MESSAGES: usize = 4_096;

/// bytes of rendered text; more than the longest context that models state.
pub const MAX_RENDERED_BYTES: usize = 16 << 20;

/// bytes of JSON; as much as a long context holds, with room for its syntax.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;

/// instructions for what a template does once; published ones take a few hundred. Little enough that
/// lists nested in one another, which take a stack frame each to let go of, do not end the stack.
const BASE_FUEL: u64 = 16_000;

/// instructions for each message and each tool; published templates take up to a hundred.
const FUEL_PER_ITEM: u64 = 1_000;

/// Why a conversation could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template, the conversation or the result is too large.
    #[error("{what} is {size}; at most {max} is taken")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// The template is not valid Jinja, or uses what is not implemented.
    #[error("the chat template is not valid: {reason}")]
    BadTemplate {
        /// What the engine said.
        reason: String,
    },
    /// The request is not a conversation.
    #[error("the request is not a conversation: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The template takes too long.
    #[error("the chat template does not end")]
    OutOfFuel,
    /// The template refuses this conversation, by `raise_exception`.
    #[error("the chat template refuses this conversation: {reason}")]
    Refused {
        /// What the template said.
        reason: String,
    },
    /// The template failed while it ran.
    #[error("the chat template failed: {reason}")]
    Failed {
        /// What the engine said.
        reason: String,
    },
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What a template is told beside the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatContext<'a> {
    /// How the beginning-of-text token is spelled.
    pub bos_token: &'a str,
    /// How the end-of-text token is spelled.
    pub eos_token: &'a str,
    /// End with what opens the assistant's answer.
    pub add_generation_prompt: bool,
}

/// A point in time as a clock on a wall shows it, for templates that write the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// 2026, say.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// Renders `messages` with `template`, which is not told the time.
///
/// # Errors
/// [`ChatError`]; a template cannot run for ever, nor reach anything but its arguments.
pub fn render(
    template: &str,
    messages: &[Message],
    chat: ChatContext<'_>,
) -> Result<String, ChatError> {
    at_most("the number of messages", messages.len(), MAX_MESSAGES)?;
    let messages = messages.iter().map(value_of).collect::<Value>();
    let request = BTreeMap::from([("messages".to_owned(), messages)]);
    render_with(template, request, chat, None)
}

/// Renders a request: a JSON object with `messages`, and with whatever else the template knows
/// (`tools`, `documents`, `enable_thinking`, ...). `strftime_now` is there when `now` is.
///
/// # Errors
/// [`ChatError`], also for what is not such an object.
pub fn render_request(
    template: &str,
    request: &str,
    chat: ChatContext<'_>,
    now: Option<LocalTime>,
) -> Result<String, ChatError> {
    at_most("the request", request.len(), MAX_REQUEST_BYTES)?;
    let request: BTreeMap<String, Value> =
        serde_json::from_str(request).map_err(|error| ChatError::BadRequest {
            reason: error.to_string(),
        })?;
    let n_messages = request.get("messages").and_then(Value::len);
    let Some(n_messages) = n_messages else {
        return Err(ChatError::BadRequest {
            reason: "there is no list of messages".to_owned(),
        });
    };
    at_most("the number of messages", n_messages, MAX_MESSAGES)?;
    render_with(template, request, chat, now)
}

fn render_with(
    template: &str,
    request: BTreeMap<String, Value>,
    chat: ChatContext<'_>,
    now: Option<LocalTime>,
) -> Result<String, ChatError> {
    at_most("the chat template", template.len(), MAX_TEMPLATE_BYTES)?;
    let n_items: usize = (["messages", "tools", "documents"].iter())
        .filter_map(|name| request.get(*name)?.len())
        .sum();
    let fuel = BASE_FUEL + FUEL_PER_ITEM * n_items as u64;
    let environment = environment(fuel, now)?;
    let source = syntax::without_generation_tags(template);
    let template =
        environment
            .template_from_str(&source)
            .map_err(|error| ChatError::BadTemplate {
                reason: error.to_string(),
            })?;
    // Arguments that are always there, as in the reference implementation.
    let mut arguments = BTreeMap::from([
        ("tools".to_owned(), Value::from(())),
        ("documents".to_owned(), Value::from(())),
    ]);
    arguments.extend(request);
    for (name, spelling) in [("bos_token", chat.bos_token), ("eos_token", chat.eos_token)] {
        if !spelling.is_empty() {
            arguments.insert(name.to_owned(), spelling.into());
        }
    }
    let prompted = Value::from(chat.add_generation_prompt);
    arguments.insert("add_generation_prompt".to_owned(), prompted);
    let mut rendered = BoundedText { bytes: Vec::new() };
    match template.render_captured_to(arguments, &mut rendered) {
        Ok(_) => Ok(String::from_utf8_lossy(&rendered.bytes).into_owned()),
        Err(error) => Err(named(&error)),
    }
}

/// Jinja as the reference implementation (transformers) sets it up.
fn environment(fuel: u64, now: Option<LocalTime>) -> Result<Environment<'static>, ChatError> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(fuel));
    // Blocks leave no line of their own.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| ChatError::Failed {
        reason: error.to_string(),
    })?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, state, value| {
        if value.kind() == ValueKind::Number {
            return Ok(out.write_str(&python::number(value))?);
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("trim", methods::trim);
    environment.add_test("iterable", |value: &Value| !is_scalar(value));
    environment.add_test("sequence", |value: &Value| !is_scalar(value));
    environment.add_function("raise_exception", raise_exception);
    if let Some(now) = now {
        environment.add_function("strftime_now", move |format: &str| {
            time::strftime(now, format)
        });
    }
    Ok(environment)
}

/// What Python cannot iterate over; it can over text, and over what is not defined.
fn is_scalar(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::None | ValueKind::Bool | ValueKind::Number
    )
}

fn raise_exception(reason: String) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(
        ErrorKind::InvalidOperation,
        format!("{REFUSAL}{reason}"),
    ))
}

fn value_of(message: &Message) -> Value {
    let content = Value::from(message.content.as_str());
    Value::from_pairs([
        ("role", Value::from(message.role.as_str())),
        ("content", content),
    ])
}

/// Marks a refusal by the template itself among the engine's errors.
const REFUSAL: &str = "raise_exception: ";

fn named(error: &minijinja::Error) -> ChatError {
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatError::OutOfFuel;
    }
    if error.kind() == ErrorKind::WriteFailure {
        let max = MAX_RENDERED_BYTES;
        return ChatError::TooLarge {
            what: "the rendered conversation",
            size: max + 1,
            max,
        };
    }
    match error
        .detail()
        .and_then(|detail| detail.strip_prefix(REFUSAL))
    {
        Some(reason) => ChatError::Refused {
            reason: reason.to_owned(),
        },
        None => ChatError::Failed {
            reason: error.to_string(),
        },
    }
}

fn at_most(what: &'static str, size: usize, max: usize) -> Result<(), ChatError> {
    if size > max {
        return Err(ChatError::TooLarge { what, size, max });
    }
    Ok(())
}

/// Text that stops growing at [`MAX_RENDERED_BYTES`].
struct BoundedText {
    bytes: Vec<u8>,
}

impl std::io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_RENDERED_BYTES {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
