//! Templates, good, bad and hostile.

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
    // A list in a list in a list: letting go of it takes a stack frame for each.
    for last in ["", "{{ n.x }}", "{{ n.x | tojson }}"] {
        let deep = "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% for b in range(9) %}{% set n.x = [n.x] %}{% endfor %}{% endfor %}";
        assert_eq!(rendered(&[deep, last].concat()), Err(ChatError::OutOfFuel));
    }
    let deep = "{% set n = namespace(x=[]) %}{% for a in range(999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}";
    assert!(matches!(rendered(deep), Err(ChatError::Failed { .. })));
    let huge = format!(
        "{}{{{{ x }}}}{{% for a in range(999) %}}{{{{ x }}}}{{% endfor %}}",
        "{% set x = 'x' * 100000 %}"
    );
    assert!(matches!(
        rendered(&huge),
        Err(ChatError::TooLarge { .. } | ChatError::Failed { .. })
    ));
}

#[test]
fn refuses_requests_by_name() {
    let chat = ChatContext {
        bos_token: "",
        eos_token: "",
        add_generation_prompt: false,
    };
    let check = |request: &str| render_request("{{ messages | length }}", request, chat, None);
    assert_eq!(check(r#"{"messages": [1, 2]}"#).as_deref(), Ok("2"));
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"messages": 1}"#,
        r#"{"messages": null}"#,
    ] {
        assert!(
            matches!(check(bad), Err(ChatError::BadRequest { .. })),
            "{bad}"
        );
    }
    let deep = format!(r#"{{"messages": {}1{}}}"#, "[".repeat(999), "]".repeat(999));
    assert!(matches!(check(&deep), Err(ChatError::BadRequest { .. })));
    let many = format!(r#"{{"messages": [{}1]}}"#, "1,".repeat(MAX_MESSAGES));
    assert!(matches!(check(&many), Err(ChatError::TooLarge { .. })));
}

#[test]
fn knows_no_time_unless_told() {
    check("{{ strftime_now is defined }}", "False");
    check(
        "{{ tools is none }}{{ documents is none }}{{ pad_token is defined }}",
        "TrueTrueFalse",
    );
}
