//! Why a plan must not be applied, in the words of the person who has to change something.

use super::change::OneLine;
use crate::durable::{ClassName, ScriptName, StableId, Storage};

/// What a problem is about, for whoever knows where in the configuration that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A namespace.
    StableId(&'a StableId),
    /// A class that no stable ID is known for.
    Class(&'a ClassName),
}

/// Something that only a change of the configuration can solve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Two namespaces of one Worker want one class.
    TwoIdsOneClass {
        /// The class.
        class: ClassName,
        /// The namespaces.
        stable_ids: Vec<StableId>,
    },
    /// One namespace is declared with several classes.
    OneIdTwoClasses {
        /// The namespace.
        stable_id: StableId,
        /// The classes.
        classes: Vec<ClassName>,
    },
    /// One namespace is declared with both storages.
    OneIdTwoStorages {
        /// The namespace.
        stable_id: StableId,
    },
    /// One namespace is declared with several hosts.
    OneIdTwoHosts {
        /// The namespace.
        stable_id: StableId,
        /// The hosts, this Worker included where it is one.
        scripts: Vec<ScriptName>,
    },
    /// A namespace cannot change its storage.
    StorageChange {
        /// The namespace.
        stable_id: StableId,
        /// Its class.
        class: ClassName,
        /// The storage it has.
        is: Storage,
    },
    /// Several namespaces want to take over one class.
    ClaimedTwice {
        /// The class.
        class: ClassName,
        /// The namespaces.
        stable_ids: Vec<StableId>,
    },
    /// A namespace would be created empty while a class with data might be meant.
    Unclaimed {
        /// The namespace.
        stable_id: StableId,
        /// Its class.
        class: ClassName,
        /// The classes that nothing claims.
        unclaimed: Vec<ClassName>,
    },
    /// A class is wanted by one namespace while another one, without a stable ID, has it.
    ClassInUse {
        /// The namespace that wants it.
        stable_id: StableId,
        /// The class.
        class: ClassName,
    },
    /// The namespace exists on another Worker.
    LivesElsewhere {
        /// The namespace.
        stable_id: StableId,
        /// The Worker that hosts it.
        script: ScriptName,
        /// This Worker.
        here: ScriptName,
    },
    /// Nothing says whether the namespace should move here or be shared.
    MoveOrShare {
        /// The namespace.
        stable_id: StableId,
        /// The Worker that hosts it.
        from: ScriptName,
        /// This Worker.
        here: ScriptName,
    },
    /// The namespace should move to another Worker, which has one of that stable ID already.
    TwoCopies {
        /// The namespace.
        stable_id: StableId,
        /// Its class here.
        class: ClassName,
        /// The Worker that has the other one.
        script: ScriptName,
    },
    /// The Worker hosts a namespace that it shall bind from elsewhere, and nothing says that it moves.
    HostedHere {
        /// The namespace.
        stable_id: StableId,
        /// Its class here.
        class: ClassName,
        /// The Worker it is bound from.
        script: ScriptName,
        /// This Worker.
        here: ScriptName,
    },
}

impl Problem {
    /// One line.
    pub fn summary(&self) -> String {
        match self {
            Self::TwoIdsOneClass { class, .. } => summary(&[class.as_str()], |name| {
                format!("Durable Object class `{}` has two stable IDs", name[0])
            }),
            Self::OneIdTwoClasses { stable_id, .. } => summary(&[stable_id.as_str()], |name| {
                format!("Namespace `{}` has two classes", name[0])
            }),
            Self::OneIdTwoStorages { stable_id } => summary(&[stable_id.as_str()], |name| {
                format!("Namespace `{}` has two kinds of storage", name[0])
            }),
            Self::OneIdTwoHosts { stable_id, .. } => summary(&[stable_id.as_str()], |name| {
                format!("Namespace `{}` has two hosting Workers", name[0])
            }),
            Self::StorageChange { stable_id, .. } => summary(&[stable_id.as_str()], |name| {
                format!("The storage of namespace `{}` cannot be changed", name[0])
            }),
            Self::ClaimedTwice { class, .. } => summary(&[class.as_str()], |name| {
                format!("Two namespaces would take over class `{}`", name[0])
            }),
            Self::Unclaimed { stable_id, .. } => summary(&[stable_id.as_str()], |name| {
                format!("Namespace `{}` may be one that exists already", name[0])
            }),
            Self::ClassInUse {
                stable_id, class, ..
            } => summary(&[stable_id.as_str(), class.as_str()], |name| {
                format!("Namespace `{}` cannot take class `{}`", name[0], name[1])
            }),
            Self::LivesElsewhere {
                stable_id, script, ..
            } => summary(&[stable_id.as_str(), script.as_str()], |name| {
                format!("Namespace `{}` is hosted by Worker `{}`", name[0], name[1])
            }),
            Self::MoveOrShare {
                stable_id, from, ..
            } => summary(&[stable_id.as_str(), from.as_str()], |name| {
                format!("Namespace `{}` is hosted by Worker `{}`", name[0], name[1])
            }),
            Self::TwoCopies {
                stable_id, script, ..
            } => summary(&[stable_id.as_str(), script.as_str()], |name| {
                format!(
                    "Namespace `{}` exists here and on Worker `{}`",
                    name[0], name[1]
                )
            }),
            Self::HostedHere {
                stable_id, script, ..
            } => summary(&[stable_id.as_str(), script.as_str()], |name| {
                format!(
                    "Namespace `{}` is hosted here, not by `{}`",
                    name[0], name[1]
                )
            }),
        }
    }

    /// Why, and what to do.
    pub fn detail(&self) -> String {
        match self {
            Self::TwoIdsOneClass { class, stable_ids } => format!(
                "The stable IDs {} share the class `{class}`, but on one Worker a class implements one namespace. Give each of them a \
                 `class_name` of its own, or bind the same namespace twice.",
                listed(stable_ids)
            ),
            Self::OneIdTwoClasses { stable_id, classes } => format!(
                "The bindings of stable ID `{stable_id}` name the classes {}. Two bindings of one namespace are fine, with the same \
                 `class_name`; for another namespace use another `stable_id`.",
                listed(classes)
            ),
            Self::OneIdTwoStorages { stable_id } => format!(
                "Some bindings of stable ID `{stable_id}` say `sqlite = true` and some `sqlite = false`. Set the same in all, or use \
                 another `stable_id` for another namespace."
            ),
            Self::OneIdTwoHosts { stable_id, scripts } => format!(
                "The bindings of stable ID `{stable_id}` are hosted by {}. A Worker can bind a stable ID from one host only: set the \
                 same `script_name`, or use another `stable_id` for another namespace.",
                listed(scripts)
            ),
            Self::StorageChange {
                stable_id,
                class,
                is,
            } => format!(
                "Class `{class}` (stable ID `{stable_id}`) has {} storage, which Cloudflare cannot convert. Set `sqlite = {}`; for \
                 other storage declare a new namespace with another `stable_id` and another `class_name`, and copy the data.",
                match is {
                    Storage::Sqlite => "SQLite",
                    Storage::KeyValue => "key-value",
                },
                *is == Storage::Sqlite
            ),
            Self::ClaimedTwice { class, stable_ids } => format!(
                "The Worker hosts class `{class}` without a stable ID, and {} would all take it over. Name it in one `class_name` or \
                 `previous_class_name` only.",
                listed(stable_ids)
            ),
            Self::Unclaimed {
                stable_id,
                class,
                unclaimed,
            } => format!(
                "The Worker hosts {} without a stable ID, and nothing claims it. Creating class `{class}` (stable ID `{stable_id}`) \
                 beside it would leave the data behind if that is the one you mean. If it is, set `previous_class_name = \"{}\"` on \
                 this namespace: it is taken over and keeps its data. If it is another one, declare it as a namespace of its own, with \
                 `class_name = \"{}\"`, and bind it or list it in `durable_objects`.",
                listed(unclaimed),
                unclaimed[0],
                unclaimed[0]
            ),
            Self::ClassInUse { stable_id, class } => format!(
                "The Worker hosts class `{class}` without a stable ID, and nothing claims it. Choose another `class_name` for `{stable_id}`, \
                 or declare the other one as a namespace of its own and rename it in an apply before this."
            ),
            Self::LivesElsewhere {
                stable_id,
                script,
                here,
            } => format!(
                "The namespace `{stable_id}` exists and belongs to Worker `{script}`; creating another here would leave its data behind. \
                 To move it here, with its data, set `script_name = \"{here}\"` and `transferred_from = \"{script}\"`. To use it from \
                 here, set `script_name = \"{script}\"`. For a new, empty namespace use another `stable_id`."
            ),
            Self::MoveOrShare {
                stable_id,
                from,
                here,
            } => format!(
                "`transferred_from` names Worker `{from}`, which still hosts `{stable_id}`. To move it here, with its data, set \
                 `script_name = \"{here}\"`. To share it, set `script_name = \"{from}\"`. For a new, empty namespace use another `stable_id`."
            ),
            Self::TwoCopies {
                stable_id,
                class,
                script,
            } => format!(
                "`{stable_id}` should move from this Worker (class `{class}`) to `{script}`, which already has a namespace of its own \
                 under that stable ID. To give up the data here: set `force_destroy = true` with the old `script_name` and apply; \
                 unbind it here and apply; then make this change."
            ),
            Self::HostedHere {
                stable_id,
                class,
                script,
                here,
            } => format!(
                "This Worker hosts `{stable_id}` as class `{class}`, and now binds it from Worker `{script}`. Is it moving? Then set \
                 `transferred_from = \"{here}\"`: it keeps its data. To go on hosting it here, set `script_name = \"{here}\"` or remove it. \
                 To delete it here, unbind it in an apply of its own first. For the other Worker's namespace use another `stable_id`."
            ),
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::TwoIdsOneClass { class, .. } => Subject::Class(class),
            // The class itself stands nowhere in the configuration as such, one that claims it does.
            Self::ClaimedTwice { class, stable_ids } => stable_ids
                .first()
                .map_or(Subject::Class(class), Subject::StableId),
            Self::OneIdTwoClasses { stable_id, .. }
            | Self::OneIdTwoStorages { stable_id }
            | Self::OneIdTwoHosts { stable_id, .. }
            | Self::StorageChange { stable_id, .. }
            | Self::Unclaimed { stable_id, .. }
            | Self::ClassInUse { stable_id, .. }
            | Self::LivesElsewhere { stable_id, .. }
            | Self::MoveOrShare { stable_id, .. }
            | Self::TwoCopies { stable_id, .. }
            | Self::HostedHere { stable_id, .. } => Subject::StableId(stable_id),
        }
    }

    /// The attribute of the namespace that it is about.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::TwoIdsOneClass { .. }
            | Self::OneIdTwoClasses { .. }
            | Self::ClassInUse { .. } => "class_name",
            Self::OneIdTwoStorages { .. } | Self::StorageChange { .. } => "sqlite",
            Self::ClaimedTwice { .. } | Self::Unclaimed { .. } => "previous_class_name",
            Self::OneIdTwoHosts { .. }
            | Self::LivesElsewhere { .. }
            | Self::MoveOrShare { .. }
            | Self::TwoCopies { .. }
            | Self::HostedHere { .. } => "script_name",
        }
    }
}

fn listed<T: std::fmt::Display>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

const SUMMARY_CHARACTERS: usize = 80;

/// A line that fits, whatever the names are: they are shortened until it does.
pub(super) fn summary(names: &[&str], line: impl Fn(&[String]) -> String) -> String {
    let names: Vec<String> = names.iter().map(|name| OneLine(name).to_string()).collect();
    let mut most = SUMMARY_CHARACTERS;
    loop {
        let shown: Vec<String> = names.iter().map(|name| shortened(name, most)).collect();
        let text = line(&shown);
        if text.chars().count() <= SUMMARY_CHARACTERS || most == 0 {
            return text;
        }
        most -= 1;
    }
}

fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let mut text: String = name.chars().take(most.saturating_sub(1)).collect();
    text.push('…');
    text
}
