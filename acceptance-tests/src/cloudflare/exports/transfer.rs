//! A namespace goes to another Worker in two deploys: the target says that it expects it, then the source lets it go.
//!
//! A hint is nothing but the target's live entry in state `expecting-transfer`, as long as the target has no namespace
//! of that class. So a target takes it back by leaving it out, and it goes when the target goes. Pure.

use super::entry::{Live, Storage};
use super::report::{Finding, Scenario};
use crate::cloudflare::account::{Account, Namespace};
use crate::cloudflare::dispatch;

/// What is to be judged: a class of a Worker that uploads.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) account: &'a Account,
    pub(super) script: &'a str,
    pub(super) class: &'a str,
}

/// The Workers that wait for a class of another one, each with its entry; they are beside it.
fn hints<'a>(
    account: &'a Account,
    source: &'a str,
    class: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Live)> {
    account.scripts.iter().filter_map(move |(target, script)| {
        let live = script.exports.live(class)?;
        let from = live.transfer_from.as_deref()?;
        let waits =
            dispatch::beside(target, from) == source && account.namespace(target, class).is_none();
        waits.then_some((target.as_str(), live))
    })
}

impl<'a> Subject<'a> {
    fn finding(&self, scenario: Scenario, message: impl AsRef<str>) -> Finding {
        Finding::new(scenario, self.class, message)
    }

    /// Both sides share one dispatch namespace, or are in none. Which of them is in one decides between the two names.
    fn across(&self, [this, other]: [Scenario; 2], what: String) -> Finding {
        let scenario = match dispatch::namespace(self.script) {
            Some(_) => this,
            None => other,
        };
        let text =
            format!("{what}, which is on the other side of the boundary of a dispatch namespace");
        self.finding(scenario, text)
            .advise("transfer between Workers of the same dispatch namespace, or between Workers that are in none")
    }

    /// Phase one, on the target, which exports the class and has no namespace of it: may it wait for the source's?
    pub(super) fn expect(&self, live: &Live, source: &str) -> Result<(), Finding> {
        let Self {
            account,
            script,
            class,
        } = *self;
        let key = dispatch::beside(script, source);
        if key == script {
            return Err(self.finding(
                Scenario::InvalidExport,
                "cannot be transferred from the Worker itself",
            ));
        }
        let Some(from) = account.scripts.get(&key) else {
            if account.is_across(script, source) {
                return Err(self.across(
                    [
                        Scenario::PhaseOneTransferTargetInDispatchNamespace,
                        Scenario::PhaseOneTransferSourceInDispatchNamespace,
                    ],
                    format!("expects a transfer from Worker '{source}'"),
                ));
            }
            return Err(self
                .finding(
                    Scenario::PhaseOneTransferSourceMissing,
                    format!("expects a transfer from Worker '{source}', which does not exist"),
                )
                .advise("correct `transfer_from`, or deploy the source Worker first"));
        };
        let Some(namespace) = account.namespace(&key, class) else {
            return Err(self
                .finding(
                    Scenario::PhaseOneTransferSourceNamespaceMissing,
                    format!(
                        "expects a transfer from Worker '{source}', which has no Durable Object namespace of that class"
                    ),
                )
                .advise("name the Worker and the class that own the namespace"));
        };
        let other = hints(account, &key, class).find(|(target, _)| *target != script);
        if let Some((target, _)) = other {
            let target = dispatch::name(target);
            return Err(self
                .finding(
                    Scenario::PhaseOneTransferDuplicate,
                    format!(
                        "of Worker '{source}' is already expected by Worker '{target}'; one transfer of a class can be \
                         in flight"
                    ),
                )
                .of_namespace(&namespace.id)
                .advise(format!(
                    "remove the `expecting-transfer` entry of Worker '{target}' first"
                )));
        }
        let kept = from.exports.live(class);
        if kept.is_some_and(|kept| kept.container.is_some()) != live.container.is_some() {
            return Err(self
                .finding(
                    Scenario::TransferContainerParityMismatch,
                    format!("must use a container on both sides of the transfer from Worker '{source}', or on none"),
                )
                .of_namespace(&namespace.id));
        }
        check_storage(class, live.storage, namespace)
    }

    /// What an entry that expects a transfer is on a target that has a namespace of the class.
    pub(super) fn expect_again(
        &self,
        source: &str,
        namespace: &Namespace,
        received: Option<&str>,
    ) -> Result<Finding, Finding> {
        let id = &namespace.id;
        match received {
            Some(from) if from == dispatch::beside(self.script, source) => Ok(self
                .finding(
                    Scenario::TransferReceiveAlreadyApplied,
                    format!("has already been transferred from Worker '{source}'; the entry can become a plain live one"),
                )
                .of_namespace(id)),
            Some(from) => Err(self
                .finding(
                    Scenario::PhaseOneTransferAfterCommitMismatch,
                    format!(
                        "expects a transfer from Worker '{source}', but its namespace ({id}) came from Worker '{}'",
                        dispatch::name(from)
                    ),
                )
                .of_namespace(id)
                .advise("remove the `expecting-transfer` state and declare the class as a plain live entry")),
            None => Err(self
                .finding(
                    Scenario::PhaseOneTransferTargetClassProvisioned,
                    format!(
                        "expects a transfer from Worker '{source}', but this Worker already has a namespace of that \
                         class ({id})"
                    ),
                )
                .of_namespace(id)
                .advise("declare the class as a plain live entry, or delete it in an earlier deploy")),
        }
    }

    /// Phase two, on the source: does the target wait for this namespace?
    pub(super) fn commit(&self, target: &str, namespace: &Namespace) -> Result<(), Finding> {
        let Self {
            account,
            script,
            class,
        } = *self;
        let refused =
            |scenario, message: String| self.finding(scenario, message).of_namespace(&namespace.id);
        let key = dispatch::beside(script, target);
        if key == script {
            return Err(refused(
                Scenario::InvalidExport,
                "cannot be transferred to the Worker itself".into(),
            ));
        }
        if !account.scripts.contains_key(&key) {
            if account.is_across(script, target) {
                let across = self.across(
                    [
                        Scenario::TransferredSourceInDispatchNamespace,
                        Scenario::TransferredTargetInDispatchNamespace,
                    ],
                    format!("is transferred to Worker '{target}'"),
                );
                return Err(across.of_namespace(&namespace.id));
            }
            return Err(refused(
                Scenario::TransferredTargetMissing,
                format!("is transferred to Worker '{target}', which does not exist"),
            )
            .advise("deploy the target Worker with an `expecting-transfer` entry first"));
        }
        let hint = |wanted: &dyn Fn(&str) -> bool| {
            hints(account, script, class).find(|(target, _)| wanted(target))
        };
        let Some((_, live)) = hint(&|other| other == key) else {
            return Err(match hint(&|other| other != key).map(|(other, _)| dispatch::name(other)) {
                Some(other) => refused(
                    Scenario::TransferredTargetMismatch,
                    format!(
                        "is transferred to Worker '{target}', but the pending transfer is that of Worker '{other}'"
                    ),
                )
                .advise(format!("set `transferred_to` to '{other}'")),
                None => refused(
                    Scenario::TransferredPendingNotFound,
                    format!(
                        "is transferred to Worker '{target}', which has no matching `expecting-transfer` entry"
                    ),
                )
                .advise("deploy the target Worker with an `expecting-transfer` entry first"),
            });
        };
        let own = account.scripts.get(script);
        let own = own.and_then(|own| own.exports.live(class));
        if own.is_some_and(|own| own.container.is_some()) != live.container.is_some() {
            return Err(refused(
                Scenario::TransferContainerParityMismatchOnCommit,
                format!(
                    "must use a container on both sides of the transfer to Worker '{target}', or on none"
                ),
            ));
        }
        Ok(())
    }
}

/// A namespace keeps the storage that it was created with.
pub(super) fn check_storage(
    class: &str,
    declared: Storage,
    namespace: &Namespace,
) -> Result<(), Finding> {
    let actual = Storage::of(namespace.sqlite);
    if actual == declared {
        return Ok(());
    }
    let (declared, actual, id) = (declared.name(), actual.name(), &namespace.id);
    Err(Finding::new(
        Scenario::StorageTypeMismatch,
        class,
        format!(
            "declares storage \"{declared}\", but its Durable Object namespace ({id}) has \"{actual}\"; the storage of \
             a namespace cannot be changed"
        ),
    )
    .of_namespace(id)
    .advise(format!("set `storage` to \"{actual}\"")))
}
