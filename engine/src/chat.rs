//! Renders a conversation with the chat template that the model file carries.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};

/// bytes; the longest published templates are about 20 kB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 18;

/// messages in a conversation; more do not fit any context.
pub const MAX_MESSAGES: usize = 4_096;

/// bytes of rendered text; more than the longest context that models state.
pub const MAX_RENDERED_BYTES: usize = 16 << 20;

/// instructions; a template takes a few dozen for each message.
const FUEL: u64 = 2_000_000;

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

/// Renders `messages` with `template`.
///
/// # Errors
/// [`ChatError`]; a template cannot run for ever, nor reach anything but its arguments.
pub fn render(
    template: &str,
    messages: &[Message],
    chat: ChatContext<'_>,
) -> Result<String, ChatError> {
    at_most("the chat template", template.len(), MAX_TEMPLATE_BYTES)?;
    at_most("the number of messages", messages.len(), MAX_MESSAGES)?;
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    // As the reference implementation has it (transformers): blocks leave no line of their own.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| ChatError::Failed {
        reason: error.to_string(),
    })?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |reason: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(
                ErrorKind::InvalidOperation,
                format!("{REFUSAL}{reason}"),
            ))
        },
    );
    let template =
        environment
            .template_from_str(template)
            .map_err(|error| ChatError::BadTemplate {
                reason: error.to_string(),
            })?;
    let mut rendered = BoundedText { bytes: Vec::new() };
    let messages = messages.iter().map(value_of).collect::<Vec<_>>();
    let written = template.render_captured_to(
        context! {
            messages,
            bos_token => chat.bos_token,
            eos_token => chat.eos_token,
            add_generation_prompt => chat.add_generation_prompt,
        },
        &mut rendered,
    );
    match written {
        Ok(_) => Ok(String::from_utf8_lossy(&rendered.bytes).into_owned()),
        Err(error) => Err(named(&error)),
    }
}

fn value_of(message: &Message) -> Value {
    context! { role => message.role.as_str(), content => message.content.as_str() }
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
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'].strip() + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.to_owned(),
            content: content.to_owned(),
        }
    }

    fn rendered(template: &str) -> Result<String, ChatError> {
        let messages = [
            message("system", " Be brief. "),
            message("user", "<b>Hi</b>"),
        ];
        let chat = ChatContext {
            bos_token: "<s>",
            eos_token: "</s>",
            add_generation_prompt: true,
        };
        render(template, &messages, chat)
    }

    fn check(template: &str, expected: &str) {
        assert_eq!(rendered(template).as_deref(), Ok(expected));
    }

    #[test]
    fn renders_chatml() {
        check(
            CHATML,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<b>Hi</b><|im_end|>\n<|im_start|>assistant\n",
        );
    }

    #[test]
    fn knows_the_special_tokens_and_trims_blocks() {
        check(
            "{{ bos_token }}\n{% if true %}\n  x\n{% endif %}\n{{- eos_token }}",
            "<s>\n  x\n</s>",
        );
        check("{{ messages[1].content }}{{ missing }}", "<b>Hi</b>");
        check(
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        );
    }

    #[test]
    fn a_refusal_is_the_templates_own_words() {
        let expected = ChatError::Refused {
            reason: "roles must alternate".to_owned(),
        };
        assert_eq!(
            rendered("{{ raise_exception('roles must alternate') }}"),
            Err(expected)
        );
    }

    #[test]
    fn refuses_bad_templates_by_name() {
        assert!(matches!(
            rendered("{% if %}"),
            Err(ChatError::BadTemplate { .. })
        ));
        assert!(matches!(
            rendered("{{ 'a'.no_such_method() }}"),
            Err(ChatError::Failed { .. })
        ));
        let too_long = " ".repeat(MAX_TEMPLATE_BYTES + 1);
        assert!(matches!(
            rendered(&too_long),
            Err(ChatError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_template_cannot_run_or_grow_for_ever() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(rendered(nested), Err(ChatError::OutOfFuel));
        let huge = format!(
            "{}{{{{ x }}}}{{% for a in range(999) %}}{{{{ x }}}}{{% endfor %}}",
            "{% set x = 'x' * 100000 %}"
        );
        assert!(matches!(
            rendered(&huge),
            Err(ChatError::TooLarge { .. } | ChatError::Failed { .. })
        ));
    }
}
