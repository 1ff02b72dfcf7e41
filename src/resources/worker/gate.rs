//! The data gate: no namespace that holds data is deleted without consent.

use crate::cloudflare::{AccountId, ApiError, Client};
use crate::durable::NamespaceId;
use crate::resources::diagnose;
use crate::tf::{Diagnostic, Diagnostics};

use super::code::DESTROY_HINT;
use super::hosting::CLASS_KEY;
use super::identity::Deleted;

/// What a namespace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing, or it does not exist.
    Nothing,
    /// Objects; "at least 3", or a text that says that nobody knows.
    Data(String),
}

/// Looks into a namespace. Only an unknown namespace or an answer without objects means that there is nothing.
pub async fn look(
    client: &Client,
    account: &AccountId,
    id: Option<&str>,
) -> Result<Holds, ApiError> {
    let Some(id) = id else {
        let unseen = "nobody knows what, because Cloudflare has not listed its id yet";
        return Ok(Holds::Data(unseen.to_owned()));
    };
    match client.objects(account, &NamespaceId::new(id)).await {
        Ok(objects) if objects.stored == 1 => {
            Ok(Holds::Data("at least 1 stored object".to_owned()))
        }
        Ok(objects) if objects.stored > 0 => Ok(Holds::Data(format!(
            "at least {} stored objects",
            objects.stored
        ))),
        Ok(objects) if objects.more => Ok(Holds::Data(
            "more objects than one look can tell".to_owned(),
        )),
        Ok(_) | Err(ApiError::UnknownNamespace(_)) => Ok(Holds::Nothing),
        Err(error) => Err(error),
    }
}

/// Why namespaces are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The configuration of the Worker no longer has them.
    Dropped,
    /// The Worker itself goes.
    Destroyed,
    /// The Worker goes and comes back as a new one.
    Replaced,
}

/// Judges deletions: an error for each namespace that holds data without consent, a warning for each other one.
pub async fn judge(
    client: &Client,
    account: &AccountId,
    script: &str,
    deletes: &[Deleted],
    cause: Cause,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    for delete in deletes {
        let Deleted {
            stable_id,
            class,
            namespace_id,
            consent,
        } = delete;
        // What no configuration has declared is listed under its class.
        let (identity, consenting) = match stable_id.strip_prefix(CLASS_KEY) {
            Some(_) => (
                "no stable ID".to_owned(),
                format!(
                    "declare it as a `cloudflare_do_namespace` with `class_name = \"{class}\"` and `force_destroy = true`, add that to \
                     `bindings` or `durable_objects`,"
                ),
            ),
            None => (
                format!("stable ID `{stable_id}`"),
                "set `force_destroy = true` on its `cloudflare_do_namespace`".to_owned(),
            ),
        };
        let named = format!(
            "class `{class}` of Worker `{script}` ({identity}, namespace {})",
            namespace_id.as_deref().unwrap_or("without a known id")
        );
        let holds = match look(client, account, namespace_id.as_deref()).await {
            Ok(holds) => holds,
            Err(_) if *consent => Holds::Data("it could not be seen what".to_owned()),
            Err(error) => {
                let mut diagnostic = diagnose::error(
                    format!("Cannot see whether class {class} holds data"),
                    &error,
                );
                diagnostic.detail.push_str(&format!(
                    "\n\nDeleting {named} is refused while that is not known. {DESTROY_HINT}"
                ));
                diagnostics.push(diagnostic);
                continue;
            }
        };
        diagnostics.push(match holds {
            Holds::Nothing => Diagnostic::warning(
                format!("Durable Object class {class} will be deleted"),
                format!("The namespace of {named} holds no stored objects now and will be deleted."),
            ),
            Holds::Data(what) if *consent => Diagnostic::warning(
                format!("Data of Durable Object class {class} will be deleted"),
                format!("The namespace of {named} holds {what}. All of it will be deleted, as `force_destroy = true` allows."),
            ),
            Holds::Data(what) => Diagnostic::error(
                format!("Durable Object class {class} holds data"),
                format!("The namespace of {named} holds {what}, and {}", way_out(cause, &consenting)),
            ),
        });
    }
    diagnostics
}

fn way_out(cause: Cause, consenting: &str) -> String {
    match cause {
        Cause::Dropped => format!(
            "it would be deleted, because the configuration no longer has this stable ID on this Worker. Two ways out:\n\
             - To keep the data, bring the stable ID back, in `bindings` or in `durable_objects`. A class under another name keeps its \
             data if only `class_name` changes. Moving it to another Worker? Keep it here for the apply that moves it.\n\
             - To delete the data, first {consenting} and apply, then repeat this change.\n\n\
             {DESTROY_HINT}"
        ),
        Cause::Destroyed => format!(
            "destroying the Worker would delete it. To delete the data, first {consenting} and apply, then destroy. To keep the Worker and \
             only forget it, use `terraform state rm` or a `removed` block. A Worker that is only tainted is kept with `terraform untaint`."
        ),
        Cause::Replaced => format!(
            "replacing the Worker would delete it. To delete the data, first {consenting} and apply, then repeat this. A tainted Worker is \
             kept with `terraform untaint`.\n\n{DESTROY_HINT}"
        ),
    }
}

/// Warns of Workers whose bindings stand in the way of a delete, as far as that can be told.
pub async fn warn_of_references(
    client: &Client,
    account: &AccountId,
    script: &crate::durable::ScriptName,
    namespaces: Option<&[Deleted]>,
) -> Diagnostics {
    let Ok(references) = client.references(account, script).await else {
        return Diagnostics::default(); // Only a hint; the delete itself is refused where it matters.
    };
    let goes = |id: &Option<NamespaceId>| match (namespaces, id) {
        (None, _) => true,
        (Some(deletes), Some(id)) => deletes
            .iter()
            .any(|delete| delete.namespace_id.as_deref() == Some(id.as_str())),
        (Some(_), None) => false,
    };
    let services = references.services.iter().filter(|_| namespaces.is_none());
    let objects = references
        .durable_objects
        .iter()
        .filter(|reference| goes(&reference.namespace_id));
    let mut binders: Vec<&str> = services
        .chain(objects)
        .map(|reference| reference.service.as_str())
        .filter(|service| *service != script.as_str())
        .collect();
    binders.sort_unstable();
    binders.dedup();
    if binders.is_empty() {
        return Diagnostics::default();
    }
    let binders: Vec<String> = binders.iter().map(|name| format!("`{name}`")).collect();
    Diagnostics::from(Diagnostic::warning(
        "Other Workers still bind what will be deleted",
        format!(
            "{} bind Worker `{script}` or a namespace of it that goes. Cloudflare refuses the delete until they are changed or deleted; \
             apply waits two minutes for that. Let them refer to this Worker in HCL, so that Terraform changes them first.",
            binders.join(", ")
        ),
    ))
}
