//! Workers for Platforms: namespaces of Workers that have no address of their own; a Worker with a binding to the
//! namespace reaches them by name. Pure.
//!
//! They are kept with all other Workers and obey the same rules, under keys that no name of a Worker can be:
//! `<namespace>/<name>`. Only this file knows that form.

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::failure::ApiFailure;
use super::script::Script;

/// The most tags of a Worker in a namespace.
pub const MOST_TAGS: usize = 8;

/// A dispatch namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DispatchNamespace {
    /// A UUID.
    pub id: String,
    /// Unique in the account; never changes.
    pub name: String,
    /// When it was created.
    pub created_on: String,
}

/// The key of a Worker in a namespace.
pub fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// The namespace that a key says a Worker is in, and the Worker's name.
pub fn place(key: &str) -> (Option<&str>, &str) {
    match key.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, key),
    }
}

/// The namespace of a Worker.
pub fn namespace(key: &str) -> Option<&str> {
    place(key).0
}

/// The name of a Worker, without its namespace.
pub fn name(key: &str) -> &str {
    place(key).1
}

/// The key of what a Worker calls `name` when it speaks of a Worker beside it: in its namespace, or in none.
pub fn beside(own: &str, name: &str) -> String {
    match namespace(own) {
        Some(namespace) => key(namespace, name),
        None => outside(name),
    }
}

/// The key of the Worker that somebody calls `name` who means one that is in no namespace.
pub fn outside(name: &str) -> String {
    match namespace(name) {
        None => name.into(),
        // A key of another form is nobody's name; this one is nobody's key.
        Some(_) => format!("/{name}"),
    }
}

/// No Worker of the namespace has the name: 10092.
pub fn no_worker() -> ApiFailure {
    ApiFailure::new(404, 10092, "workers.api.error.environment_not_found")
}

/// The client's migration tag is not the stored one. The words differ from those for other Workers.
pub fn tag_mismatch(stored: Option<&str>) -> ApiFailure {
    let stored = stored.unwrap_or_default();
    let text = format!("Migration tag precondition failed; current tag is '{stored}'");
    ApiFailure::new(412, 10079, text)
}

fn no_namespace() -> ApiFailure {
    let text = "The specified dispatch namespace does not exist on this account.";
    ApiFailure::new(404, 100_119, text)
}

impl Account {
    /// The Workers that are in no namespace, by name.
    pub fn workers(&self) -> impl Iterator<Item = (&String, &Script)> {
        let all = self.scripts.iter();
        all.filter(|(key, _)| namespace(key).is_none())
    }

    /// The Worker of that name that is in no namespace.
    pub fn worker(&self, name: &str) -> Option<&Script> {
        self.scripts.get(&outside(name))
    }

    /// The Workers of a namespace, by key.
    pub fn workers_in(&self, wanted: &str) -> impl Iterator<Item = (&String, &Script)> {
        let all = self.scripts.iter();
        all.filter(move |(key, _)| namespace(key) == Some(wanted))
    }

    /// Whether a name that is none beside a Worker is that of one on the other side of a namespace's boundary.
    pub fn is_across(&self, own: &str, wanted: &str) -> bool {
        let mut keys = self.scripts.keys();
        keys.any(|key| name(key) == wanted && namespace(key) != namespace(own))
    }

    /// The namespace of that name: 100119 if there is none.
    pub fn dispatch_namespace(&self, name: &str) -> Result<&DispatchNamespace, ApiFailure> {
        let mut all = self.dispatch_namespaces.iter();
        all.find(|namespace| namespace.name == name)
            .ok_or_else(no_namespace)
    }

    /// Creates a namespace.
    pub fn create_dispatch_namespace(
        &mut self,
        name: &str,
        now: &str,
    ) -> Result<DispatchNamespace, ApiFailure> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
            // What Cloudflare allows, and how it refuses the rest, is not published.
            return Err(ApiFailure::invalid(format!(
                "The name of a dispatch namespace consists of at most 63 letters, digits, '-' and '_', not {name:?}"
            )));
        }
        if self.dispatch_namespace(name).is_ok() {
            let text = format!("A dispatch namespace named '{name}' already exists.");
            return Err(ApiFailure::new(409, 100_120, text));
        }
        let namespace = DispatchNamespace {
            id: self.issue_uuid(),
            name: name.into(),
            created_on: now.into(),
        };
        self.dispatch_namespaces.push(namespace.clone());
        Ok(namespace)
    }

    /// Deletes a namespace with all its Workers and their data.
    pub fn delete_dispatch_namespace(&mut self, name: &str) -> Result<(), ApiFailure> {
        self.dispatch_namespace(name)?;
        let keys: Vec<String> = self.workers_in(name).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.delete_worker(&key, true)?;
        }
        self.dispatch_namespaces.retain(|it| it.name != name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_worker_is_the_key_of_another() {
        assert_eq!(place(&key("ns", "chat")), (Some("ns"), "chat"));
        assert_eq!(place("chat"), (None, "chat"));
        assert_eq!(beside("ns/a", "b"), key("ns", "b"));
        assert_eq!(beside("a", "b"), "b");
        for name in ["ns/chat", "/chat", "ns/"] {
            assert_ne!(outside(name), name);
            assert_eq!(namespace(&outside(name)), Some(""));
        }
    }
}
