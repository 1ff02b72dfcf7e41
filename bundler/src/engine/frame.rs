//! Lines of a source with a mark below, as messages show them.

/// How many columns of a line are shown: bundled sources have lines of megabytes.
const WIDTH: usize = 100;

/// How much of it stands before what is meant.
const BEFORE: usize = 60;

/// A place in a source: line and column counted from 1, the column in characters of UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Position {
    /// Where a byte of a source is.
    pub(super) fn of(source: &str, offset: usize) -> Position {
        let before = &source[..source.floor_char_boundary(offset)];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[start..].chars().map(char::len_utf16).sum::<usize>() + 1;
        Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }
}

/// The line of a place and the one before, with a mark below the place.
pub(super) fn frame(source: &str, at: Position) -> String {
    let index = at.line.saturating_sub(1) as usize;
    let Some(line) = source.lines().nth(index) else {
        return String::new();
    };
    let column = characters(line, at.column);
    let skipped = match line.chars().count() > WIDTH {
        true => column.saturating_sub(BEFORE),
        false => 0,
    };
    let digits = at.line.to_string().len();
    let mut lines = Vec::new();
    if let Some(before) = index
        .checked_sub(1)
        .and_then(|index| source.lines().nth(index))
    {
        lines.push(numbered(at.line - 1, digits, &clipped(before, skipped)));
    }
    lines.push(numbered(at.line, digits, &clipped(line, skipped)));
    let indent = " ".repeat(column - skipped + usize::from(skipped > 0));
    lines.push(format!("{:digits$} | {indent}^", ""));
    lines.join("\n")
}

/// How many characters stand before a column.
fn characters(line: &str, column: u32) -> usize {
    let mut units = 1;
    let before = |c: &char| {
        let is_before = units < column as usize;
        units += c.len_utf16();
        is_before
    };
    line.chars().take_while(before).count()
}

fn numbered(number: u32, digits: usize, line: &str) -> String {
    format!("{number:digits$} | {line}").trim_end().to_owned()
}

/// A part of a line; tabs take one column, so that the mark stands right.
fn clipped(line: &str, skipped: usize) -> String {
    let mut characters = line.chars().skip(skipped);
    let mut shown = String::new();
    if skipped > 0 && line.chars().count() > skipped {
        shown.push('…');
    }
    shown.extend(
        characters
            .by_ref()
            .take(WIDTH)
            .map(|c| match c.is_control() {
                true => ' ',
                false => c,
            }),
    );
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn drawn(source: &str, offset: usize, expect: &str) {
        assert_eq!(frame(source, Position::of(source, offset)), expect);
    }

    #[test]
    fn the_mark_stands_below_the_place() {
        let source = "const a = 1;\n\tconst 𝒃 = 1 +;\n";
        let at = source.find(';').expect("there is one");
        drawn(source, at, "1 | const a = 1;\n  |            ^");
        let at = source.rfind(';').expect("there is one");
        assert_eq!(
            Position::of(source, at),
            Position {
                line: 2,
                column: 16
            }
        );
        drawn(
            source,
            at,
            "1 | const a = 1;\n2 |  const 𝒃 = 1 +;\n  |               ^",
        );
        drawn("", 0, "");
        drawn("x", 70, "1 | x\n  |  ^");
    }

    #[test]
    fn of_a_long_line_a_part_is_shown() {
        let source = format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000));
        let expect = format!(
            "1 | …{}!{}…\n  | {}^",
            "a".repeat(60),
            "b".repeat(39),
            " ".repeat(61)
        );
        drawn(&source, 1_000, &expect);
    }
}
