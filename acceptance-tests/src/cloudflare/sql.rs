//! Where one SQL statement ends and the next begins. Pure; knows only as much of SQL as that needs.

/// The statements of a text, without those that are nothing but space and comments.
pub(super) fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (length, empty) = first(rest);
        if !empty {
            found.push(rest[..length].trim());
        }
        rest = &rest[length..];
    }
    found
}

/// The length of the first statement with its semicolon, and whether there is nothing in it.
fn first(text: &str) -> (usize, bool) {
    let mut words: Vec<String> = Vec::new();
    let mut empty = true;
    // How many of `BEGIN` and `CASE` wait for their `END`; the semicolons in between belong to a trigger.
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let quoted = |close: char| {
            let inside = rest[c.len_utf8()..].find(close);
            inside.map_or(rest.len(), |end| c.len_utf8() + end + close.len_utf8())
        };
        let after = |end: &str| rest.find(end).map_or(rest.len(), |found| found + end.len());
        at += match c {
            '-' if rest.starts_with("--") => after("\n"),
            '/' if rest.starts_with("/*") => after("*/"),
            ';' if open == 0 => return (at + 1, empty),
            _ if c.is_whitespace() => c.len_utf8(),
            _ => {
                empty = false;
                match c {
                    '\'' | '"' | '`' => quoted(c),
                    '[' => quoted(']'),
                    _ if c.is_alphanumeric() || c == '_' => {
                        let word = |c: char| c.is_alphanumeric() || c == '_';
                        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
                        words.push(rest[..end].to_ascii_uppercase());
                        if is_trigger(&words) {
                            match words.last().map(String::as_str) {
                                Some("BEGIN" | "CASE") => open += 1,
                                Some("END") => open = open.saturating_sub(1),
                                _ => {}
                            }
                        }
                        end
                    }
                    _ => c.len_utf8(),
                }
            }
        };
    }
    (text.len(), empty)
}

fn is_trigger(words: &[String]) -> bool {
    let mut words = words.iter().map(String::as_str);
    words.next() == Some("CREATE")
        && match words.next() {
            Some("TEMP" | "TEMPORARY") => words.next() == Some("TRIGGER"),
            second => second == Some("TRIGGER"),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_are_not_part_of_something() {
        for (text, expected) in [
            ("SELECT 1", vec!["SELECT 1"]),
            ("SELECT 1; SELECT 2;\n", vec!["SELECT 1;", "SELECT 2;"]),
            (" ;; -- nothing; here\n /* ; */ ", vec![]),
            (
                "INSERT INTO t VALUES ('a;''b'); SELECT \"c;d\", [e;f], `g;h`",
                vec![
                    "INSERT INTO t VALUES ('a;''b');",
                    "SELECT \"c;d\", [e;f], `g;h`",
                ],
            ),
            (
                "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM t; END; SELECT 3",
                vec![
                    "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM t; END;",
                    "SELECT 3",
                ],
            ),
            ("SELECT 'never closed; é", vec!["SELECT 'never closed; é"]),
        ] {
            assert_eq!(statements(text), expected, "{text}");
        }
    }
}
