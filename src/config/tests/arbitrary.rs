//! No text makes the reader panic, and every report points into the file.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const SAMPLES: [&str; 3] = [
    include_str!("../../../config/portico.toml"),
    include_str!("../../../config/django.toml"),
    BASE,
];

/// Pieces that a text is broken with: TOML's own marks, values of every type, numbers at their limits.
const PIECES: [&str; 28] = [
    "",
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "é",
    "\\",
    "\"\"\"",
    "-1",
    "18446744073709551616",
    "1e400",
    "true",
    "1979-05-27T07:32:00Z",
    "[[]]",
    "{ a = 1 }",
    "\"unix:\"",
];

fn survives(text: &str) -> Result<(), TestCaseError> {
    if let Err(problems) = parse(text) {
        prop_assert!(!problems.list.is_empty());
        let lines = text.matches('\n').count() + 1;
        for problem in &problems.list {
            prop_assert!(
                problem.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{:?}",
                problem
            );
            prop_assert!(problem.hint.is_some());
        }
        let report = problems.to_string();
        prop_assert_eq!(
            report.lines().count(),
            2 * problems.list.len(),
            "{}",
            report
        );
    }
    Ok(())
}

/// The nearest border of a character at or below the index.
fn border(text: &str, index: &Index) -> usize {
    let mut at = index.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #[test]
    fn mutated_samples(
        sample in select(&SAMPLES[..]),
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), select(&PIECES[..])), 1..6),
    ) {
        let mut text = sample.to_owned();
        for (start, length, piece) in edits {
            let start = border(&text, &start);
            let end = text.len().min(start + length.index(40));
            let end = (end..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(start);
            text.replace_range(start..end, piece);
        }
        survives(&text)?;
    }

    #[test]
    fn values_of_any_kind_under_known_keys(
        row in select(reference()),
        value in prop_oneof![
            select(&PIECES[..]).prop_map(str::to_owned),
            any::<i64>().prop_map(|number| number.to_string()),
            "(?s).*".prop_map(|text| toml::Value::String(text).to_string()),
            "(/|unix:|http://|https://|credential:|\\*\\.|@)?[!-~\n]{0,40}".prop_map(|text| toml::Value::String(text).to_string()),
            prop::collection::vec("[!-~é]{0,20}", 0..4)
                .prop_map(|list| toml::Value::Array(list.into_iter().map(toml::Value::String).collect()).to_string()),
        ],
    ) {
        survives(&format!("{} = {value}\n", row.key))?;
    }

    #[test]
    fn arbitrary_text(text in "\\PC*") {
        survives(&text)?;
    }
}
