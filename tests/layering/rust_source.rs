//! Finds the modules and crates that a Rust source names. A reader of paths, not a parser: it knows comments, strings,
//! `use` groups and inline modules. Must not know which names are allowed.

use std::fmt;

/// What a path begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Reference {
    /// A module at the root of the provider's crate.
    Module(String),
    /// Perhaps another crate: the first name of a path.
    Crate(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => write!(formatter, "the layer `{name}`"),
            Self::Crate(name) => write!(formatter, "the crate `{name}`"),
        }
    }
}

/// The modules and crates that a source names, each with its line. `depth` is how far below the root its module is.
pub fn references(source: &str, depth: usize) -> Vec<(usize, Reference)> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| text.as_str());
    let mut found = Vec::new();
    let mut braces = 0_usize;
    let mut inline_modules: Vec<usize> = Vec::new();
    for at in 0..tokens.len() {
        match text(at) {
            "{" => {
                if at >= 2 && text(at - 2) == "mod" {
                    inline_modules.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
            }
            "crate" | "terraform_provider_cloudflare" if text(at + 1) == "::" => {
                if text(at) != "crate" {
                    found.push((tokens[at].0, Reference::Crate(text(at).to_owned())));
                }
                modules_after(&tokens, at + 2, &mut found);
            }
            "super" if at == 0 || text(at - 1) != "::" => {
                let steps = (at..).step_by(2).take_while(|&it| text(it) == "super");
                let steps = steps.count();
                if steps == depth.saturating_add(inline_modules.len()) {
                    modules_after(&tokens, at + 2 * steps, &mut found);
                }
            }
            name if begins_path(&tokens, at) && is_name(name) => {
                found.push((tokens[at].0, Reference::Crate(name.to_owned())));
            }
            _ => {}
        }
    }
    found
}

/// Whether the token is the first name of a path, or all of a `use`.
fn begins_path(tokens: &[(usize, String)], at: usize) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| text.as_str());
    let before = |steps: usize| at.checked_sub(steps).map_or("", text);
    // `::name` at the start of a path is a crate for certain; after a name or `>` it goes on with one.
    let continues =
        before(1) == "::" && (is_name(before(2)) && before(2) != "use" || before(2) == ">");
    !continues && (text(at + 1) == "::" || before(1) == "use")
}

/// The first names after the root of the crate: one, or those of a `{…}` group.
fn modules_after(tokens: &[(usize, String)], start: usize, found: &mut Vec<(usize, Reference)>) {
    let grouped = tokens.get(start).is_some_and(|(_, text)| text == "{");
    let mut depth = 0_usize;
    let mut first = !grouped;
    for (line, text) in &tokens[start.min(tokens.len())..] {
        match text.as_str() {
            "{" => {
                depth += 1;
                first = depth == 1;
            }
            "}" => depth = depth.saturating_sub(1),
            "," => first = depth == 1,
            name if first && is_name(name) => {
                found.push((*line, Reference::Module(name.to_owned())));
                first = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|it: char| it.is_alphabetic() || it == '_')
}

/// Names, `::` and single signs, each with its line; comments and literals are left out.
fn tokens(source: &str) -> Vec<(usize, String)> {
    let signs: Vec<char> = source.chars().collect();
    let sign = |at: usize| signs.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < signs.len() {
        let start = at;
        match sign(at) {
            '/' if sign(at + 1) == '/' => {
                while at < signs.len() && sign(at) != '\n' {
                    at += 1;
                }
            }
            '/' if sign(at + 1) == '*' => at = comment_end(&signs, at),
            '"' => at = string_end(&signs, at),
            // A character, not the lifetime `'a`.
            '\'' if sign(at + 1) == '\\' => {
                at += 3;
                while at < signs.len() && sign(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if sign(at + 2) == '\'' => at += 3,
            ':' if sign(at + 1) == ':' => {
                tokens.push((line, "::".to_owned()));
                at += 2;
            }
            first if first.is_alphanumeric() || first == '_' => {
                while sign(at).is_alphanumeric() || sign(at) == '_' {
                    at += 1;
                }
                let word: String = signs[start..at].iter().collect();
                let raw = matches!(word.as_str(), "r" | "br" | "cr");
                match raw_string_end(&signs, at).filter(|_| raw) {
                    Some(end) => at = end,
                    None => tokens.push((line, word)),
                }
            }
            other => {
                if !other.is_whitespace() {
                    tokens.push((line, other.to_string()));
                }
                at += 1;
            }
        }
        at = at.min(signs.len());
        line += signs[start..at].iter().filter(|it| **it == '\n').count();
    }
    tokens
}

/// The end of a block comment; they nest.
fn comment_end(signs: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < signs.len() {
        match signs[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(signs: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < signs.len() {
        match signs[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of the raw string whose `#`s begin here, if it is one.
fn raw_string_end(signs: &[char], start: usize) -> Option<usize> {
    let hashes = signs[start..].iter().take_while(|it| **it == '#').count();
    let quote = start + hashes;
    if signs.get(quote) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| {
        let rest = &signs[at + 1..];
        signs[at] == '"' && rest.len() >= hashes && rest[..hashes].iter().all(|it| *it == '#')
    };
    let end = (quote + 1..signs.len()).find(|at| closes(*at))?;
    Some(end + 1 + hashes)
}
