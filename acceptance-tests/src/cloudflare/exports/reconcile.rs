//! What becomes of each class: the declared map against the code and the namespaces. Every class is judged before
//! anything happens, and everything that is wrong is told at once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Lifecycle;
use super::containers::{self, Container};
use super::entry::{Declared, Entry, Live, Storage};
use super::report::{
    Finding, Pending, Phase, Reconciliation, Renamed, Scenario, Transferred, refuse,
};
use super::transfer::{Subject, check_storage};
use crate::cloudflare::account::{Account, Namespace, Plan};
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::migrations::{hand_over, provision};
use crate::cloudflare::script::Exports;

/// Makes the namespaces of a Worker what its map declares, and says what was done. On an error the account is not
/// usable any more; callers work on a copy. `before` is what the last deploy has left.
pub fn reconcile(
    account: &mut Account,
    script: &str,
    before: &Lifecycle,
    declared: &Declared,
    containers: &[Container],
    code: &Exports,
) -> Result<Reconciliation, ApiFailure> {
    let mut judge = Judge {
        account,
        script,
        before,
        declared,
        code,
        arrivals: BTreeMap::new(),
        report: Reconciliation::default(),
        faults: containers::check(declared, containers),
        moves: Vec::new(),
    };
    judge.all();
    let Judge {
        report,
        faults,
        moves,
        ..
    } = judge;
    if !faults.is_empty() {
        return Err(refuse(&faults));
    }
    let former = account.namespaces.clone();
    for step in moves {
        step.carry_out(account, script, &former)?;
    }
    Ok(report)
}

/// One change of one namespace.
enum Move {
    Delete {
        id: String,
    },
    Rename {
        id: String,
        to: String,
    },
    Give {
        id: String,
        class: String,
        to: String,
    },
    Create {
        class: String,
    },
}

impl Move {
    fn carry_out(
        self,
        account: &mut Account,
        script: &str,
        former: &[Namespace],
    ) -> Result<(), ApiFailure> {
        match self {
            Self::Delete { id } => account.namespaces.retain(|ns| ns.id != id),
            Self::Rename { id, to } => hand_over(account, &id, script, &to)?,
            Self::Give { id, class, to } => {
                hand_over(account, &id, &to, &class)?;
                if let Some(target) = account.scripts.get_mut(&to) {
                    target.exports.receive(id, script);
                }
            }
            Self::Create { class } => provision(account, former, script, &class, true)?,
        }
        Ok(())
    }
}

struct Judge<'a> {
    account: &'a Account,
    script: &'a str,
    before: &'a Lifecycle,
    declared: &'a Declared,
    code: &'a Exports,
    /// The classes that get a namespace of this Worker by a rename: target, source.
    arrivals: BTreeMap<&'a str, &'a str>,
    report: Reconciliation,
    faults: Vec<Finding>,
    moves: Vec<Move>,
}

impl<'a> Judge<'a> {
    fn owned(&self, class: &str) -> Option<&'a Namespace> {
        self.account.namespace(self.script, class)
    }

    fn all(&mut self) {
        let declared = self.declared;
        let renames = declared.entries().filter_map(|(from, entry)| match entry {
            Entry::Renamed { to } => Some((from, to.as_str())),
            _ => None,
        });
        for (from, to) in renames {
            self.renamed(from, to);
        }
        let classes: BTreeSet<&str> = declared
            .entries()
            .map(|(class, _)| class)
            .chain(self.code.classes.iter().map(String::as_str))
            .chain(
                self.account
                    .namespaces_of(self.script)
                    .map(|ns| ns.class.as_str()),
            )
            .collect();
        for class in classes {
            match declared.get(class) {
                Some(Entry::Live(live)) => self.live(class, live),
                Some(Entry::Deleted) => self.deleted(class),
                Some(Entry::Transferred { to }) => self.transferred(class, to),
                Some(Entry::Faulty(fault)) => self.faults.push(Finding::new(
                    Scenario::InvalidExport,
                    class,
                    format!("has an invalid entry in `exports`: {fault}"),
                )),
                Some(Entry::Renamed { .. }) => {}
                Some(Entry::Other(_)) | None => self.undeclared(class),
            }
        }
        // Deletions free classes, and nothing is created before it is known what stays.
        self.moves.sort_by_key(|step| match step {
            Move::Delete { .. } => 0,
            Move::Rename { .. } | Move::Give { .. } => 1,
            Move::Create { .. } => 2,
        });
        self.faults.sort_by(|a, b| a.class.cmp(&b.class));
        self.report.info.sort_by(|a, b| a.class.cmp(&b.class));
    }

    /// A class without an entry, or with one of another type.
    fn undeclared(&mut self, class: &'a str) {
        let in_code = self.code.classes.contains(class);
        let Some(namespace) = self.owned(class) else {
            if in_code && self.declared.get(class).is_none() {
                self.report.info.push(Finding::new(
                    Scenario::CodeClassNotInExports,
                    class,
                    "is exported by the code but not declared in `exports`; it stays a plain class",
                ));
            }
            return;
        };
        let id = &namespace.id;
        let storage = Storage::of(namespace.sqlite).name();
        self.faults.push(if in_code {
            Finding::new(
                Scenario::ProvisionedClassMissingFromConfig,
                class,
                format!(
                    "has a provisioned Durable Object namespace ({id}) but is not declared in `exports`. Every \
                     provisioned class must be declared in `exports` (live or tombstone); silent drift is not permitted."
                ),
            )
            .of_namespace(id)
            .advise(format!(
                "add '{class}' back to `exports` as {{\"type\": \"durable-object\", \"storage\": \"sqlite\"}} (or \
                 \"legacy-kv\"), or replace the entry with a `deleted` / `renamed` / `transferred` tombstone"
            ))
        } else {
            Finding::new(
                Scenario::OrphanedProvisionedNamespace,
                class,
                format!(
                    "has a provisioned Durable Object namespace ({id}) but is neither exported by the code nor declared \
                     in `exports`."
                ),
            )
            .of_namespace(id)
            .advise(format!(
                "add a `deleted` / `renamed` / `transferred` tombstone for '{class}', or bring back the class and its \
                 entry {{\"type\": \"durable-object\", \"storage\": \"{storage}\"}}"
            ))
        });
    }

    fn live(&mut self, class: &'a str, live: &'a Live) {
        let verdict = self.judge_live(class, live);
        self.faults.extend(verdict.err());
    }

    fn judge_live(&mut self, class: &'a str, live: &'a Live) -> Result<(), Finding> {
        let finding = |scenario, message: &str| Finding::new(scenario, class, message);
        let owned = self.owned(class);
        if !self.code.classes.contains(class) {
            return Err(match owned {
                Some(namespace) => finding(
                    Scenario::ConfigExportNotInCode,
                    &format!(
                        "is declared in `exports` and has a provisioned Durable Object namespace ({}), but the code \
                         does not export it",
                        namespace.id
                    ),
                )
                .of_namespace(&namespace.id)
                .advise(
                    "bring the class back, or replace the entry with a `deleted` / `renamed` / `transferred` tombstone",
                ),
                None => finding(
                    Scenario::ConfigReferencesNonexistentClass,
                    "is declared in `exports`, but the code does not export it and it has no Durable Object namespace",
                )
                .advise("remove the entry, or export the class"),
            });
        }
        let arriving = self.arrivals.get(class).copied();
        if let Some(namespace) = owned.or(arriving.and_then(|from| self.owned(from))) {
            check_storage(class, live.storage, namespace)?;
            return match &live.transfer_from {
                Some(source) => self.expects_what_it_has(class, source, namespace, arriving),
                None => {
                    self.keeps(class, live, namespace, arriving);
                    Ok(())
                }
            };
        }
        if let Some(source) = &live.transfer_from {
            self.subject(class).expect(live, source)?;
            self.report.transfer_pending.push(Pending {
                class: class.into(),
                from: source.clone(),
            });
            return Ok(());
        }
        match (live.storage, self.account.plan) {
            (Storage::Sqlite, _) => {
                self.report.created.push(class.into());
                self.moves.push(Move::Create {
                    class: class.into(),
                });
                Ok(())
            }
            (Storage::LegacyKv, Plan::Free) => Err(finding(
                Scenario::FreeTierRequiresSqlite,
                "declares storage \"legacy-kv\", which a free plan does not have",
            )
            .advise("set `storage` to \"sqlite\"")),
            (Storage::LegacyKv, _) => Err(finding(
                Scenario::InvalidExport,
                "declares storage \"legacy-kv\", which is only for namespaces that already have it; new ones are \
                 created with \"sqlite\"",
            )
            .advise("set `storage` to \"sqlite\"")),
        }
    }

    fn subject(&self, class: &'a str) -> Subject<'a> {
        Subject {
            account: self.account,
            script: self.script,
            class,
        }
    }

    fn expects_what_it_has(
        &mut self,
        class: &'a str,
        source: &str,
        namespace: &Namespace,
        arriving: Option<&str>,
    ) -> Result<(), Finding> {
        if let Some(from) = arriving {
            return Err(Finding::new(
                Scenario::InvalidExport,
                class,
                format!(
                    "would get two namespaces: the one of class '{from}', and the one of Worker '{source}'"
                ),
            ));
        }
        let received = self.before.received_from(&namespace.id);
        let done = self
            .subject(class)
            .expect_again(source, namespace, received)?;
        self.report.info.push(done);
        Ok(())
    }

    /// A class that has its namespace and keeps it, or gets it by a rename.
    fn keeps(&mut self, class: &str, live: &Live, namespace: &Namespace, arriving: Option<&str>) {
        let former = self.before.live(arriving.unwrap_or(class));
        if former.and_then(|former| former.container.as_ref()) != live.container.as_ref() {
            self.report.updated.push(class.into());
        }
        let expected = former.and_then(|former| former.transfer_from.as_deref());
        if let (Some(source), Some(_)) = (expected, self.before.received_from(&namespace.id)) {
            self.report.info.push(
                Finding::new(
                    Scenario::TransferReceiveCleanupComplete,
                    class,
                    format!("does not expect the transfer from Worker '{source}' any more, which is done"),
                )
                .of_namespace(&namespace.id),
            );
        }
    }

    fn deleted(&mut self, class: &str) {
        let Some(namespace) = self.owned(class) else {
            return self.stale(class);
        };
        let id = &namespace.id;
        if self.code.classes.contains(class) {
            self.faults.push(
                Finding::new(
                    Scenario::TombstoneDeleteClassStillInCode,
                    class,
                    "has a `deleted` tombstone, but the code still exports it",
                )
                .of_namespace(id)
                .advise("remove the class from the code, or make its entry live again"),
            );
            return;
        }
        let others = others(
            self.script,
            self.account
                .bindings_to_namespaces(|ns| ns.id == *id)
                .map(|(name, _, _)| name),
        );
        if !others.is_empty() {
            self.faults.push(
                Finding::new(
                    Scenario::TombstoneDeleteBlockedByExternalBindings,
                    class,
                    format!(
                        "has a `deleted` tombstone, but its Durable Object namespace ({id}) is still bound by Workers \
                         '{}'",
                        others.join("', '")
                    ),
                )
                .of_namespace(id)
                .advise("redeploy these Workers without the binding first")
                .referenced_by(others),
            );
            return;
        }
        self.report.deleted.push(class.into());
        self.moves.push(Move::Delete { id: id.clone() });
    }

    fn renamed(&mut self, from: &'a str, to: &'a str) {
        let Some(namespace) = self.owned(from) else {
            match self.declared.live(to) {
                Some(_) => self.stale(from),
                None => self.faults.push(not_live(from, to)),
            }
            return;
        };
        let id = &namespace.id;
        if self.owned(to).is_some() {
            self.faults.push(
                Finding::new(
                    Scenario::TombstoneRenamedToOccupied,
                    from,
                    format!(
                        "cannot be renamed to '{to}', which has a Durable Object namespace of its own"
                    ),
                )
                .of_namespace(id)
                .advise(format!(
                    "free '{to}' with a `deleted` tombstone in an earlier deploy"
                )),
            );
        } else if self.declared.live(to).is_none() {
            self.faults.push(not_live(from, to));
        } else if let Some(other) = self.arrivals.get(to) {
            let other = *other;
            self.faults.push(
                Finding::new(
                    Scenario::InvalidExport,
                    from,
                    format!("cannot be renamed to '{to}', as '{other}' is renamed to it as well"),
                )
                .of_namespace(id),
            );
        } else {
            self.arrivals.insert(to, from);
            self.still_in_code(from, id);
            self.report.renamed.push(Renamed {
                from: from.into(),
                to: to.into(),
            });
            self.moves.push(Move::Rename {
                id: id.clone(),
                to: to.into(),
            });
        }
    }

    fn transferred(&mut self, class: &'a str, to: &'a str) {
        let Some(namespace) = self.owned(class) else {
            return self.stale(class);
        };
        if let Err(fault) = self.subject(class).commit(to, namespace) {
            self.faults.push(fault);
            return;
        }
        self.still_in_code(class, &namespace.id);
        self.report.transferred.push(Transferred {
            class: class.into(),
            to: to.into(),
            phase: Phase::Committed,
        });
        self.moves.push(Move::Give {
            id: namespace.id.clone(),
            class: class.into(),
            to: dispatch::beside(self.script, to),
        });
    }

    /// Code that has not followed yet is how a class changes without a gap.
    fn still_in_code(&mut self, class: &str, id: &str) {
        if self.code.classes.contains(class) {
            self.report.info.push(
                Finding::new(
                    Scenario::TombstoneClassStillInCode,
                    class,
                    "is still exported by the code; it is a plain class from now on",
                )
                .of_namespace(id),
            );
        }
    }

    /// A tombstone that has nothing to do. It can go when no other Worker goes by the old name.
    fn stale(&mut self, class: &str) {
        let named = |binding: &crate::cloudflare::bindings::Binding| {
            binding.kind == "durable_object_namespace"
                && binding.text("script_name") == Some(dispatch::name(self.script))
                && binding.text("dispatch_namespace") == dispatch::namespace(self.script)
                && binding.text("class_name") == Some(class)
        };
        let scripts = self.account.scripts.iter();
        let others = others(
            self.script,
            scripts
                .filter(|(_, script)| script.bindings.iter().any(named))
                .map(|(name, _)| name.as_str()),
        );
        if others.is_empty() {
            self.report.removable_entries.push(class.into());
        }
        self.report.info.push(
            Finding::new(
                Scenario::StaleTombstone,
                class,
                "has a tombstone that did nothing, as there is no Durable Object namespace of that class",
            )
            .referenced_by(others),
        );
    }
}

fn not_live(from: &str, to: &str) -> Finding {
    Finding::new(
        Scenario::InvalidExport,
        from,
        format!(
            "has an invalid entry in `exports`: `renamed_to` names '{to}', which is not a live Durable Object entry"
        ),
    )
}

/// The Workers of a list that are not the one in question, each once.
fn others<'a>(script: &str, found: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = found.filter(|name| *name != script).collect();
    names.into_iter().map(str::to_owned).collect()
}
