//! A create that finds its Worker there already: an interrupted attempt of ours, a Worker to adopt, or somebody else's.

use super::identity::{self, Intent};
use crate::cloudflare::AccountId;
use crate::durable::ScriptName;
use crate::tf::{AttributePath, Diagnostic};

/// How a create may go on from a Worker with these tags; `None` if it must not.
///
/// Adoption goes first and gets a mark of its own: with `create_before_destroy` the old half of a replacement would otherwise
/// recognize the Worker and delete what was just adopted.
pub fn intent_for_existing(
    tags: &[String],
    content_sha256: Option<&str>,
    adopt: Option<bool>,
) -> Option<Intent> {
    if adopt == Some(true) {
        return Some(Intent::Adopt);
    }
    let ours = identity::decode(tags).ours?;
    let same_code = content_sha256.is_some() && ours.content_hash.as_deref() == content_sha256;
    same_code.then_some(Intent::Resume)
}

/// What to say of a Worker that is in the way.
pub fn exists(account: &AccountId, name: &ScriptName) -> Diagnostic {
    Diagnostic::error(
        format!("Worker {name} exists already"),
        format!(
            "Account {account} has a Worker `{name}` that is not in this state. To manage it from here, import it:\n\n\
             import {{\n  to = cloudflare_worker.<name of this resource>\n  id = \"{name}\"\n}}\n\n\
             or set `adopt = true` on this resource, which takes it over and keeps its namespaces and secrets. Otherwise choose another \
             `name`."
        ),
    )
    .at(AttributePath::root("name"))
}

/// What to say when the Worker that a replacement shall make is still the one that it shall replace.
pub fn comes_too_early(name: &ScriptName) -> Diagnostic {
    Diagnostic::error(
        format!("Worker {name} exists already"),
        format!(
            "This run replaces Worker `{name}`, and makes the new one before it destroys the old one (`create_before_destroy`, here or in \
             a resource that refers to this one). Two Workers cannot have one name, so nothing was changed. To keep the Worker, leave out \
             `-replace`, or use `terraform untaint` if it is tainted. To replace it, remove `create_before_destroy`."
        ),
    )
    .at(AttributePath::root("name"))
}

/// What to say of a Worker whose classes are declared in the other dialect, which an upload of ours would take for "none".
pub fn uses_exports(name: &ScriptName) -> Diagnostic {
    Diagnostic::error(
        "Worker declares its classes with `exports`",
        format!(
            "Worker `{name}` was last deployed with an `exports` map, and Cloudflare does not go back from that to migrations. This version \
             of the provider cannot manage such a Worker. Nothing was changed; go on deploying it with the tool that wrote the map."
        ),
    )
}

/// What to say when another resource of the same run is the same Worker.
pub fn twin(name: &ScriptName) -> Diagnostic {
    Diagnostic::error(
        format!("Two resources are Worker {name}"),
        "Another resource of this configuration has a Worker of this name. Give one of them another `name`.",
    )
    .at(AttributePath::root("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::tag::OurTag;

    fn tags(hash: &str) -> Vec<String> {
        let ours = OurTag {
            mark: "m".into(),
            content_hash: Some(hash.into()),
            ..OurTag::default()
        };
        identity::all_tags(&[], &ours).0
    }

    #[test]
    fn only_our_own_attempt_with_the_same_code_is_resumed() {
        assert_eq!(
            intent_for_existing(&tags("abc"), Some("abc"), None),
            Some(Intent::Resume)
        );
        assert_eq!(intent_for_existing(&tags("abc"), Some("abd"), None), None);
        assert_eq!(intent_for_existing(&tags("abc"), None, Some(false)), None);
        assert_eq!(
            intent_for_existing(&["team:x".to_owned()], Some("abc"), None),
            None
        );
    }

    #[test]
    fn adoption_wins_over_resuming() {
        assert_eq!(
            intent_for_existing(&tags("abc"), Some("abc"), Some(true)),
            Some(Intent::Adopt)
        );
        assert_eq!(
            intent_for_existing(&[], None, Some(true)),
            Some(Intent::Adopt)
        );
    }
}
