//! What is said to the user, and where in the configuration it belongs.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The operation fails.
    Error,
    /// The operation goes on.
    Warning,
}

/// One step of an [`AttributePath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into an attribute of an object.
    Attribute(String),
    /// Into an element of a map.
    Key(String),
    /// Into an element of a list.
    Index(i64),
}

/// A path to an attribute of the resource at hand. Cores cannot point into other resources or into sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributePath {
    /// From the outside in. Without steps the path means the whole resource.
    pub steps: Vec<Step>,
}

impl AttributePath {
    /// The path of a top-level attribute.
    pub fn root(attribute: &str) -> AttributePath {
        AttributePath::default().attribute(attribute)
    }

    /// One step further, into an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str) -> AttributePath {
        self.steps.push(Step::Attribute(name.to_owned()));
        self
    }

    /// One step further, into a map element.
    #[must_use]
    pub fn key(mut self, key: &str) -> AttributePath {
        self.steps.push(Step::Key(key.to_owned()));
        self
    }

    /// One step further, into a list element.
    #[must_use]
    pub fn index(mut self, index: usize) -> AttributePath {
        self.steps
            .push(Step::Index(i64::try_from(index).unwrap_or(i64::MAX)));
        self
    }
}

/// Prints the path as HCL writes it: `bindings["ROOMS"].class_name`.
impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Attribute(name) if position == 0 => f.write_str(name)?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One message for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// At most about 80 characters, in the user's terms, without a full stop.
    pub summary: String,
    /// What was tried, on what, why it failed, and what to do.
    pub detail: String,
    /// Where it belongs, if that is known.
    pub path: Option<AttributePath>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            path: None,
        }
    }

    /// A warning without a place.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(summary, detail)
        }
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, path: AttributePath) -> Diagnostic {
        self.path = Some(path);
        self
    }
}

/// Everything one call has to say, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one message, unless exactly this one has been said.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.0.contains(&diagnostic) {
            self.0.push(diagnostic);
        }
    }

    /// Adds all of another call's messages.
    pub fn extend(&mut self, other: Diagnostics) {
        for diagnostic in other.0 {
            self.push(diagnostic);
        }
    }

    /// Whether the operation fails.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_hcl_writes_it() {
        let path = AttributePath::root("bindings")
            .key("ROOMS")
            .attribute("class_name");
        assert_eq!(path.to_string(), "bindings[\"ROOMS\"].class_name");
        let path = AttributePath::root("compatibility_flags").index(2);
        assert_eq!(path.to_string(), "compatibility_flags[2]");
    }

    #[test]
    fn the_same_message_is_said_once() {
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(Diagnostic::warning("a", "b"));
        diagnostics.push(Diagnostic::warning("a", "b"));
        diagnostics.push(Diagnostic::warning("a", "b").at(AttributePath::root("x")));
        assert_eq!(diagnostics.iter().count(), 2);
        assert!(!diagnostics.has_errors());
    }
}
