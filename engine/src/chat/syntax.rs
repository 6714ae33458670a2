//! What chat templates write that is not plain Jinja.

/// `{% generation %}` and `{% endgeneration %}`, which mark the assistant's words for training,
/// become blocks that do nothing but hold their variables.
pub(super) fn without_generation_tags(template: &str) -> String {
    let mut source = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        source.push_str(before);
        let inside = &tag[2..];
        let name_at = inside.len() - inside.trim_start_matches(['-', '+']).trim_start().len();
        let name = &inside[name_at..];
        let replaced = [("generation", "with"), ("endgeneration", "endwith")]
            .into_iter()
            .find(|(from, _)| name.strip_prefix(from).is_some_and(ends_tag));
        let (from, to) = replaced.unwrap_or_default();
        source.push_str(&tag[..2 + name_at]);
        source.push_str(to);
        rest = &name[from.len()..];
    }
    source.push_str(rest);
    source
}

fn ends_tag(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.trim_start_matches(['-', '+']).starts_with("%}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        assert_eq!(without_generation_tags(template), expected);
    }

    #[test]
    fn only_the_tags_are_replaced() {
        check(
            "a{% generation %}b{% endgeneration %}c",
            "a{% with %}b{% endwith %}c",
        );
        check(
            "{%- generation -%}{%-endgeneration-%}",
            "{%- with -%}{%-endwith-%}",
        );
        check(
            "{% generation_x %}{% set generation = 1 %}",
            "{% generation_x %}{% set generation = 1 %}",
        );
        check("{{ '{%' }}{% if x %}é{%", "{{ '{%' }}{% if x %}é{%");
    }
}
