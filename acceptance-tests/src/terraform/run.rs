//! A command that has ended, and what it said. Must not know how it was started.

use std::fmt;
use std::panic::Location;
use std::process::ExitStatus;

use serde_json::Value;

/// What a command of the core printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The arguments, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// Errors, and what providers said.
    pub stderr: String,
}

impl Run {
    /// Whether the text was printed, wherever core broke its lines.
    pub fn says(&self, text: &str) -> bool {
        let text = flatten(text);
        flatten(&self.stdout).contains(&text) || flatten(&self.stderr).contains(&text)
    }

    /// Panics with the whole output if a text was not printed.
    #[track_caller]
    pub fn assert_says(&self, text: &str) -> &Self {
        assert!(self.says(text), "not printed: {text}\n{self}");
        self
    }

    /// Panics with the whole output if a text was printed.
    #[track_caller]
    pub fn assert_never_says(&self, text: &str) -> &Self {
        assert!(!self.says(text), "printed: {text}\n{self}");
        self
    }

    pub(super) fn expect_success(self, caller: &Location<'_>) -> Self {
        assert!(
            self.status.success(),
            "at {caller}: should have succeeded:\n{self}"
        );
        self
    }

    pub(super) fn expect_failure(self, caller: &Location<'_>) -> Self {
        assert!(
            self.status.code() == Some(1),
            "at {caller}: should have ended with an error:\n{self}"
        );
        self
    }

    pub(super) fn json(&self, caller: &Location<'_>) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("at {caller}: not JSON: {error}\n{self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            formatter,
            "--- `{command}` ended with {status}\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// A text on one line: core breaks diagnostics at the width of the terminal and draws a frame beside them.
pub fn flatten(text: &str) -> String {
    text.split(|it: char| it.is_whitespace() || matches!(it, '│' | '╷' | '╵'))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::flatten;

    #[test]
    fn a_broken_and_framed_diagnostic_becomes_one_line() {
        let printed = "╷\n│ Error: a stable ID\n│ never changes\n│ \n╵\n";
        assert_eq!(flatten(printed), "Error: a stable ID never changes");
    }
}
