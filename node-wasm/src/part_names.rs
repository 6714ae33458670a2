//! The files of a model that lies in several.
//!
//! Here and not in the engine: the page names files and must not carry the engine for it.

/// count; as many parts as the engine reads.
const MAX_PARTS: u64 = 512;

/// The names of all parts of a model of which one is called `name`: every part's name ends in
/// `-00001-of-00003.gguf` or the like, counted from 1. Nothing for a name that does not.
///
/// `name` may be a path or an address; what follows a `?` or `#` stays as it is.
pub(crate) fn part_names(name: &str) -> Option<Vec<String>> {
    let (path, query) = name.split_at(name.find(['?', '#']).unwrap_or(name.len()));
    let (rest, count) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, no) = rest.rsplit_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        let five = digits.len() == 5 && digits.bytes().all(|it| it.is_ascii_digit());
        five.then(|| digits.parse().ok()).flatten()
    };
    let (no, n_parts) = (number(no)?, number(count)?);
    if !(1..=n_parts).contains(&no) || n_parts > MAX_PARTS {
        return None;
    }
    let names = (1..=n_parts).map(|no| format!("{stem}-{no:05}-of-{count}.gguf{query}"));
    Some(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn names_of_parts_follow_from_one() {
        let names = |name| part_names(name).unwrap_or_default();
        assert_eq!(
            names("https://a.b/m-of-n-00002-of-00003.gguf?download=true"),
            [
                "https://a.b/m-of-n-00001-of-00003.gguf?download=true",
                "https://a.b/m-of-n-00002-of-00003.gguf?download=true",
                "https://a.b/m-of-n-00003-of-00003.gguf?download=true",
            ]
        );
        assert_eq!(names("-00001-of-00001.gguf"), ["-00001-of-00001.gguf"]);
        for name in [
            "",
            "m.gguf",
            "m-00000-of-00003.gguf",
            "m-00004-of-00003.gguf",
            "m-1-of-3.gguf",
            "m-00001-of-99999.gguf",
            "m-+0001-of-00003.gguf",
            "m-00001-of-00003.bin",
            "00001-of-00003.gguf",
        ] {
            assert_eq!(part_names(name), None, "{name}");
        }
    }
}
