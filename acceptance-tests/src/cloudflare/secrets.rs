//! Changes of a Worker's secrets alone. Each makes a version and serves it. Pure.

use serde_json::Value;

use super::account::Account;
use super::bindings::{self, Binding};
use super::failure::ApiFailure;
use super::script::Script;
use super::versions::{self, Content, Occasion};

/// What is done to one secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It gets a value.
    Set(Binding),
    /// It goes; one that is not there is an error (10056).
    Remove(String),
    /// It goes if it is there.
    Absent(String),
}

impl Change {
    /// A secret as a client sends it.
    pub fn set(value: &Value) -> Result<Self, ApiFailure> {
        bindings::secret(value).map(Self::Set)
    }

    /// The changes of a merge patch `{"NAME": {…}, "OTHER": null}`.
    pub fn patch(value: &Value) -> Result<Vec<Self>, ApiFailure> {
        let entries = value
            .as_object()
            .ok_or_else(|| ApiFailure::invalid("`secrets` must be an object"))?;
        entries
            .iter()
            .map(|(name, value)| {
                if value.is_null() {
                    return Ok(Self::Absent(name.clone()));
                }
                let mut value = value.clone();
                if let Some(members) = value.as_object_mut() {
                    members.insert("name".into(), name.as_str().into());
                }
                Self::set(&value)
            })
            .collect()
    }

    /// The new value.
    pub fn value(&self) -> Option<&Binding> {
        match self {
            Self::Set(binding) => Some(binding),
            Self::Remove(_) | Self::Absent(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Set(binding) => &binding.name,
            Self::Remove(name) | Self::Absent(name) => name,
        }
    }
}

/// Carries out the changes, all or none.
pub fn change_secrets(
    account: &mut Account,
    name: &str,
    changes: &[Change],
    occasion: &Occasion<'_>,
) -> Result<(), ApiFailure> {
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    if !script.is_latest_served() {
        return Err(ApiFailure::refused(
            10215,
            "Secret edit failed. You attempted to modify a secret, but the latest version of your Worker isn't \
             currently deployed.",
        ));
    }
    let mut after = script.bindings.clone();
    for change in changes {
        let place = after.iter().position(|it| it.name == change.name());
        match (change, place) {
            (_, Some(place)) if !after[place].is_secret() => {
                return Err(match change {
                    Change::Set(_) => bindings::name_in_use(change.name()),
                    _ => no_secret(change.name()),
                });
            }
            (Change::Set(binding), Some(place)) => after[place] = binding.clone(),
            (Change::Set(binding), None) => after.push(binding.clone()),
            (_, Some(place)) => {
                after.remove(place);
            }
            (Change::Remove(missing), None) => return Err(no_secret(missing)),
            (Change::Absent(_), None) => {}
        }
    }
    bindings::check_count(account, &after)?;
    let content = Content {
        code: script.code.clone(),
        settings: script.settings.clone(),
        bindings: after,
    };
    versions::release(account, name, content, occasion)
}

/// The secrets of a Worker.
pub fn secrets_of(script: &Script) -> impl Iterator<Item = &Binding> {
    script.bindings.iter().filter(|binding| binding.is_secret())
}

/// No secret has the name: 10056.
pub fn no_secret(name: &str) -> ApiFailure {
    ApiFailure::new(404, 10056, format!("Secret '{name}' not found."))
}
