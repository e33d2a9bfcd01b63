//! Just enough reading of Rust to see which modules a file names: comments and literals out, paths in.

/// The top-level modules that a file names by `crate::`, `portico::` or a `super::` that reaches the root.
pub(super) fn modules_used(path: &str, text: &str) -> Vec<String> {
    let code = strip(text);
    let mut used = Vec::new();
    let roots = [
        ("crate".to_owned(), false),
        ("portico".to_owned(), false),
        (supers(path), true),
    ];
    for (root, is_super) in roots {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].trim_end();
            let inside_word = code[..at].ends_with(|last: char| is_word(last) || last == '$');
            let inside_path = before.ends_with("::");
            let Some(rest) = code[at + root.len()..].trim_start().strip_prefix("::") else {
                continue;
            };
            if !inside_word && !inside_path {
                let mut names = first_names(rest.trim_start());
                // From a module's own `mod tests`, `super::` is the module itself: only known names count.
                names.retain(|name| !is_super || super::floor(name).is_some());
                used.append(&mut names);
            }
        }
    }
    used.sort();
    used.dedup();
    used
}

/// The chain of `super` by which this file reaches the root of the crate.
fn supers(path: &str) -> String {
    let folders = path.matches('/').count();
    let levels = if path.ends_with("/mod.rs") {
        folders
    } else {
        folders + 1
    };
    vec!["super"; levels].join("::")
}

/// The first name of each path in a use tree: `a::b` gives a, `{a::b, c::{d, e}}` gives a and c.
fn first_names(tree: &str) -> Vec<String> {
    let Some(group) = tree.strip_prefix('{') else {
        let name: String = tree.chars().take_while(|&letter| is_word(letter)).collect();
        return if name.is_empty() {
            Vec::new()
        } else {
            vec![name]
        };
    };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(first_names(group[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// The text with comments and the insides of literals gone; line breaks stay.
pub(super) fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if letter == '"' {
            string(rest)
        } else if matches!(letter, 'r' | 'b' | 'c') && !code.ends_with(is_word) {
            raw_string(rest)
        } else if letter == '\'' {
            character(rest)
        } else {
            0
        };
        let taken = if skipped == 0 {
            letter.len_utf8()
        } else {
            skipped
        };
        if skipped == 0 {
            code.push(letter);
        } else {
            code.push(' ');
            code.extend(rest[..taken].chars().filter(|&letter| letter == '\n'));
        }
        rest = &rest[taken..];
    }
    code
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at >= text.len() {
            return at;
        }
    }
}

/// The length of a string literal from its opening quote.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string literal (`r"…"`, `br#"…"#`), or 0 when this is another word.
fn raw_string(text: &str) -> usize {
    let Some(rest) = text.trim_start_matches(['b', 'c']).strip_prefix('r') else {
        return 0;
    };
    let body = rest.trim_start_matches('#');
    if !body.starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(rest.len() - body.len()));
    let start = text.len() - body.len() + 1;
    text[start..]
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

/// The length of a character literal, or 0 when this is a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(0, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
