//! Owns the page's content security policy.
//!
//! Scripts come from the relay itself, plus those written into `index.html`, each by its hash:
//! Trunk writes one that starts the page. Connections go anywhere, since a person may join any
//! relay and load a model from any address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// Inline scripts that get a hash; a page with more is no page of ours.
const MAX_INLINE_SCRIPTS: usize = 16;

pub(super) fn for_page(html: &str) -> String {
    let hashes: String = inline_scripts(html)
        .take(MAX_INLINE_SCRIPTS)
        .map(|script| {
            format!(
                " 'sha256-{}'",
                BASE64.encode(Sha256::digest(script.as_bytes()))
            )
        })
        .collect();
    format!(
        "default-src 'self'; \
         script-src 'self' 'wasm-unsafe-eval'{hashes}; \
         worker-src 'self' blob:; \
         connect-src 'self' ws: wss: http: https: blob: data:; \
         style-src 'self' 'unsafe-inline'; \
         img-src 'self' data: blob:; \
         font-src 'self' data:; \
         object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    )
}

/// The text between `<script …>` and `</script>` of every script without a `src`.
fn inline_scripts(html: &str) -> impl Iterator<Item = &str> {
    let lower = html.to_ascii_lowercase(); // Same byte offsets as `html`.
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let tag = from + lower[from..].find("<script")?;
            let body = tag + lower[tag..].find('>')? + 1;
            let end = body + lower[body..].find("</script")?;
            from = end;
            if !has_source(&lower[tag..body]) {
                return Some(&html[body..end]);
            }
        }
    })
}

fn has_source(tag: &str) -> bool {
    tag.split_ascii_whitespace()
        .any(|attribute| attribute.starts_with("src="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expected: &[&str]) {
        assert_eq!(inline_scripts(html).collect::<Vec<_>>(), expected, "{html}");
    }

    #[test]
    fn finds_the_scripts_written_into_the_page() {
        check("<p>no script</p>", &[]);
        check(
            "<script type=\"module\">\nimport a;\n</script>",
            &["\nimport a;\n"],
        );
        check("<SCRIPT>A</SCRIPT><script>b</script>", &["A", "b"]);
        check("<script src=\"a.js\"></script><script>é</script>", &["é"]);
        check("<script type=module src=/a.js defer></script>", &[]);
        check("<script>cut off", &[]);
        check("<script", &[]);
    }

    #[test]
    fn names_each_by_the_hash_that_browsers_compute() {
        // From the CSP specification's example: `alert('Hello, world.');`.
        let policy = for_page("<script>alert('Hello, world.');</script>");
        assert!(
            policy.contains("'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"),
            "{policy}"
        );
        let scripts = policy
            .split(';')
            .find(|part| part.contains("script-src"))
            .unwrap();
        assert!(!scripts.contains("unsafe-inline"), "{scripts}");
    }
}
