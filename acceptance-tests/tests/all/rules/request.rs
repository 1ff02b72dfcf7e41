//! An upload in the words of both sides.

use std::collections::BTreeSet;

use acceptance_tests::cloudflare::failure::ApiFailure;
use acceptance_tests::cloudflare::runtime::ModuleFile;
use acceptance_tests::cloudflare::script::{Code as Uploaded, Entry, Exports, Syntax};
use acceptance_tests::cloudflare::upload::{Metadata, Unmentioned, Upload};
use proptest::sample::Index;
use serde_json::{Value, json};

use super::cloud::{Binding, Code, Version};
use super::events::{BINDINGS, CLASSES, Draft, Kind, Slip, Tag, WORKERS};
use super::twins::Twins;
use crate::durable::tag::OurTag;
use crate::durable::{ClassName, Migration, MigrationTag, ScriptName, Transferred};

/// What is uploaded, in the words of both sides.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) worker: &'static str,
    pub(super) version: Version,
    pub(super) listed: bool,
}

impl Twins {
    /// Makes a request of a draft that mostly fits what is there.
    pub(super) fn request(&self, draft: &Draft) -> Request {
        let worker = *draft.worker.get(&WORKERS[..3]);
        let own = self.classes_of(worker);
        let stored = self.local.scripts.get(worker);
        let stored = stored.and_then(|script| script.migration_tag.as_deref());
        let mut migration = Migration {
            old_tag: match draft.tag {
                Tag::Right => stored.map(MigrationTag::new),
                Tag::Wrong => Some(MigrationTag::new("wrong")),
                Tag::Absent => None,
            },
            new_tag: MigrationTag::new(&format!("v{}", self.model.made)),
            new_sqlite_classes: Vec::new(),
            new_classes: Vec::new(),
            renamed: Vec::new(),
            deleted: Vec::new(),
            transferred: Vec::new(),
        };
        let mut after: BTreeSet<&str> = own.iter().copied().collect();
        // The classes that no step has named yet: those that are there, and those that are not.
        let (mut here, mut free) = CLASSES
            .iter()
            .copied()
            .partition::<Vec<_>, _>(|it| own.contains(it));
        for step in draft.steps.iter().flatten() {
            let source = pick_worker(&step.worker, step.careless);
            let mut theirs = self.classes_of(source);
            let is_transfer = matches!(step.kind, Kind::Transfer);
            theirs.retain(|it| {
                let taken = |moved: &Transferred| {
                    moved.from.as_str() == *it && moved.from_script.as_str() == source
                };
                !migration.transferred.iter().any(taken)
            });
            let others = !migration.transferred.is_empty();
            let alone = (is_transfer && (own != here || !migration.new_sqlite_classes.is_empty()))
                || (!is_transfer && others);
            if alone && !step.careless {
                continue;
            }
            let from = match step.kind {
                Kind::New | Kind::NewKv => None,
                Kind::Rename | Kind::Delete => Some(pick(&step.from, &mut here, step.careless)),
                Kind::Transfer => Some(pick(&step.from, &mut theirs, step.careless)),
            };
            let to = match step.kind {
                Kind::Delete => None,
                _ => Some(pick(&step.to, &mut free, step.careless)),
            };
            // Nothing fits.
            if from == Some(None) || to == Some(None) {
                continue;
            }
            let (from, to) = (
                from.flatten().unwrap_or_default(),
                to.flatten().unwrap_or_default(),
            );
            match step.kind {
                Kind::New => migration.new_sqlite_classes.push(class(to)),
                Kind::NewKv => migration.new_classes.push(class(to)),
                Kind::Rename => migration.renamed.push((class(from), class(to))),
                Kind::Delete => migration.deleted.push(class(from)),
                Kind::Transfer => migration.transferred.push(Transferred {
                    from_script: ScriptName::from_api(source),
                    from: class(from),
                    to: class(to),
                    namespace_id: None,
                }),
            }
            if matches!(step.kind, Kind::Rename | Kind::Delete) {
                after.remove(from);
            }
            if !matches!(step.kind, Kind::Delete) {
                after.insert(to);
            }
        }
        let bindings = draft.bindings.iter().filter_map(|(name, reach)| {
            let host = pick_worker(&reach.worker, reach.careless);
            let mut there = match host == worker {
                true => after.iter().copied().collect(),
                false => self.classes_of(host),
            };
            let local = host == worker && !reach.explicit;
            let binding = Binding {
                class: class(pick(&reach.class, &mut there, reach.careless)?),
                script: (!local).then(|| ScriptName::from_api(host)),
                meant_for: None,
            };
            Some(((*name.get(&BINDINGS)).to_owned(), binding))
        });
        let bindings = bindings.collect();
        let mut exports = after;
        match &draft.code {
            Slip::None => {}
            Slip::Without(index) => {
                exports.remove(*index.get(&CLASSES));
            }
            Slip::With(index) => {
                exports.insert(*index.get(&CLASSES));
            }
            Slip::Everything => exports.extend(CLASSES),
        }
        Request {
            worker,
            listed: draft.listed,
            version: Version {
                migration: draft.steps.is_some().then_some(migration),
                exports: exports
                    .into_iter()
                    .map(|name| (class(name), Code::Unclaimed))
                    .collect(),
                bindings,
                tag: OurTag {
                    mark: String::new(),
                    content_hash: None,
                    unfinished: false,
                    claims: Vec::new(),
                },
                content: String::new(),
            },
        }
    }
}

impl Request {
    /// What its migrations do.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let kinds = self.version.migration.iter().flat_map(|migration| {
            let created = migration.new_sqlite_classes.len() + migration.new_classes.len();
            [
                ("create", created),
                ("rename", migration.renamed.len()),
                ("delete", migration.deleted.len()),
                ("transfer", migration.transferred.len()),
            ]
        });
        kinds.filter(|(_, count)| *count > 0).map(|(kind, _)| kind)
    }

    pub(super) fn for_local(&self) -> Result<Upload, ApiFailure> {
        let version = &self.version;
        let bindings: Vec<Value> = version
            .bindings
            .iter()
            .map(|(name, binding)| {
                let kind = "durable_object_namespace";
                let mut wire =
                    json!({"name": name, "type": kind, "class_name": binding.class.as_str()});
                if let Some(script) = &binding.script {
                    wire["script_name"] = json!(script.as_str());
                }
                wire
            })
            .collect();
        let migrations = version.migration.as_ref().map(|it| self.migrations(it));
        let metadata = json!({"bindings": bindings, "migrations": migrations});
        let entry = Entry {
            part: "worker.js".into(),
            syntax: Syntax::Modules,
        };
        let module = ModuleFile {
            name: "worker.js".into(),
            content_type: "application/javascript+module".into(),
            body: Default::default(),
        };
        let exports = Exports {
            classes: version.exports.keys().map(|c| c.as_str().into()).collect(),
            ..Exports::default()
        };
        Ok(Upload {
            script: self.worker.into(),
            metadata: Metadata::parse(&metadata)?,
            code: Some(Uploaded::new(entry, vec![module], exports, 1)),
            unmentioned: Unmentioned::Reset,
            strict: false,
            source: "api".into(),
        })
    }

    fn migrations(&self, migration: &Migration) -> Value {
        let names = |classes: &[ClassName]| -> Vec<String> {
            classes
                .iter()
                .map(|class| class.as_str().to_owned())
                .collect()
        };
        let renamed: Vec<Value> = migration
            .renamed
            .iter()
            .map(|(from, to)| json!({"from": from.as_str(), "to": to.as_str()}))
            .collect();
        let transferred: Vec<Value> = migration
            .transferred
            .iter()
            .map(|it| {
                let (from, to) = (it.from.as_str(), it.to.as_str());
                json!({"from": from, "from_script": it.from_script.as_str(), "to": to})
            })
            .collect();
        let lists = [
            ("deleted_classes", json!(names(&migration.deleted))),
            ("renamed_classes", json!(renamed)),
            ("new_classes", json!(names(&migration.new_classes))),
            (
                "new_sqlite_classes",
                json!(names(&migration.new_sqlite_classes)),
            ),
            ("transferred_classes", json!(transferred)),
        ];
        let mut wire = json!({"new_tag": migration.new_tag.as_str()});
        if let Some(tag) = &migration.old_tag {
            wire["old_tag"] = json!(tag.as_str());
        }
        if self.listed {
            let steps: Vec<Value> = lists
                .into_iter()
                .map(|(k, list)| json!({ k: list }))
                .collect();
            wire["steps"] = json!(steps);
        } else {
            for (kind, list) in lists {
                wire[kind] = list;
            }
        }
        wire
    }
}

/// Takes one out of those that fit, or any class at all.
fn pick(index: &Index, fitting: &mut Vec<&'static str>, careless: bool) -> Option<&'static str> {
    if careless {
        return Some(*index.get(&CLASSES));
    }
    let place = (!fitting.is_empty()).then(|| index.index(fitting.len()))?;
    Some(fitting.swap_remove(place))
}

fn pick_worker(index: &Index, careless: bool) -> &'static str {
    let all = if careless {
        &WORKERS[..]
    } else {
        &WORKERS[..3]
    };
    all[index.index(all.len())]
}

fn class(name: &str) -> ClassName {
    ClassName::from_api(name)
}
