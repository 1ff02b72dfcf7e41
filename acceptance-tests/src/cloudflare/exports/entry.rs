//! The `exports` map of an upload: what an entry may say. A map with a wrong JSON type is refused at once (10021); an
//! entry that contradicts itself is kept as a fault, to be reported with everything else that is wrong. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cloudflare::failure::{ApiFailure, json_kind};

/// The map as an upload declares it, by exported name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Declared(BTreeMap<String, Entry>);

/// What is declared of one exported name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A Durable Object class with a namespace.
    Live(Live),
    /// The class is gone, and its namespace with its data shall go.
    Deleted,
    /// The namespace goes to another class of the same map.
    Renamed {
        /// That class.
        to: String,
    },
    /// The namespace goes to another Worker, to the class of the same name.
    Transferred {
        /// That Worker.
        to: String,
    },
    /// An entrypoint or a workflow, kept as it was sent. It has nothing to reconcile.
    Other(Map<String, Value>),
    /// What makes the entry meaningless.
    Faulty(String),
}

/// A Durable Object class that shall have a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The kind of its storage.
    pub storage: Storage,
    /// The container that its objects run.
    pub container: Option<String>,
    /// The Worker whose namespace of this class is expected; `None` for a class of this Worker's own.
    pub transfer_from: Option<String>,
}

/// The kind of a namespace's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// SQLite.
    Sqlite,
    /// Key-value, for namespaces that already are.
    LegacyKv,
}

impl Storage {
    /// The kind that a namespace has.
    pub fn of(sqlite: bool) -> Self {
        if sqlite { Self::Sqlite } else { Self::LegacyKv }
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::LegacyKv => "legacy-kv",
        }
    }
}

/// Everything a Durable Object entry can say beside `type` and `state`.
const FIELDS: [&str; 5] = [
    "storage",
    "container",
    "renamed_to",
    "transferred_to",
    "transfer_from",
];

impl Declared {
    /// Reads `exports` of an upload.
    pub fn parse(value: &Value) -> Result<Self, ApiFailure> {
        let Some(map) = value.as_object() else {
            return Err(wrong("", value, "map[string]ScriptExport"));
        };
        let entries = map.iter().map(|(name, value)| {
            let fields = value
                .as_object()
                .ok_or_else(|| wrong(&format!(".{name}"), value, "ScriptExport"))?;
            let present = Fields { name, fields };
            let entry = present.entry()?;
            Ok((name.clone(), entry.unwrap_or_else(Entry::Faulty)))
        });
        let mut declared = Self(entries.collect::<Result<_, ApiFailure>>()?);
        declared.check_renames();
        Ok(declared)
    }

    /// A renamed class goes to a live one of the same map.
    fn check_renames(&mut self) {
        let faults: Vec<(String, String)> = self
            .entries()
            .filter_map(|(name, entry)| match entry {
                Entry::Renamed { to } if self.0.contains_key(to) => None,
                Entry::Renamed { to } => Some((
                    name.to_owned(),
                    format!("`renamed_to` names '{to}', which is not declared in `exports`"),
                )),
                _ => None,
            })
            .collect();
        for (name, fault) in faults {
            self.0.insert(name, Entry::Faulty(fault));
        }
    }

    /// All entries, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The entry of a name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// The entry of a name, if it is a live class.
    pub fn live(&self, class: &str) -> Option<&Live> {
        match self.get(class) {
            Some(Entry::Live(live)) => Some(live),
            _ => None,
        }
    }

    /// Whether anything is declared that has to be reconciled. Entrypoints and workflows have not.
    pub fn has_classes(&self) -> bool {
        self.0
            .values()
            .any(|entry| !matches!(entry, Entry::Other(_)))
    }

    /// The live entries as the API shows them; `None` if there are none.
    pub fn shown(&self) -> Option<Value> {
        let entries: Map<String, Value> = self
            .entries()
            .filter_map(|(name, entry)| Some((name.to_owned(), entry.shown()?)))
            .collect();
        (!entries.is_empty()).then(|| entries.into())
    }
}

impl Entry {
    fn shown(&self) -> Option<Value> {
        match self {
            Self::Live(live) => {
                let mut shown = json!({"type": "durable-object", "storage": live.storage.name()});
                if let Some(container) = &live.container {
                    shown["container"] = json!(container);
                }
                if let Some(source) = &live.transfer_from {
                    shown["state"] = json!("expecting-transfer");
                    shown["transfer_from"] = json!(source);
                }
                Some(shown)
            }
            Self::Other(fields) => Some(fields.clone().into()),
            _ => None,
        }
    }
}

fn wrong(place: &str, value: &Value, kind: &str) -> ApiFailure {
    ApiFailure::invalid(format!(
        "json: cannot unmarshal {} into Go struct field ScriptMetadata.exports{place} of type {kind}",
        json_kind(value)
    ))
}

/// One entry while it is read.
struct Fields<'a> {
    name: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn text(&self, field: &str) -> Result<Option<&'a str>, ApiFailure> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(wrong(&format!(".{}.{field}", self.name), value, "string")),
        }
    }

    /// The entry, or why it makes no sense.
    fn entry(&self) -> Result<Result<Entry, String>, ApiFailure> {
        for field in ["type", "state"].iter().chain(&FIELDS) {
            self.text(field)?;
        }
        match self.text("type")? {
            Some("durable-object") => self.durable_object(),
            Some("worker" | "workflow") => {
                if let Some(cache) = self.fields.get("cache").filter(|cache| !cache.is_null())
                    && !cache["enabled"].is_boolean()
                {
                    return Err(wrong(
                        &format!(".{}.cache", self.name),
                        cache,
                        "ExportCache",
                    ));
                }
                Ok(Ok(Entry::Other(self.fields.clone())))
            }
            Some(other) => Ok(Err(format!("'{other}' is not a known `type`"))),
            None => Ok(Err("`type` is required".into())),
        }
    }

    fn durable_object(&self) -> Result<Result<Entry, String>, ApiFailure> {
        let state = self.text("state")?.unwrap_or("created");
        let (required, optional): (&[&str], &[&str]) = match state {
            "created" => (&["storage"], &["container"]),
            "expecting-transfer" => (&["storage", "transfer_from"], &["container"]),
            "deleted" => (&[], &[]),
            "renamed" => (&["renamed_to"], &[]),
            "transferred" => (&["transferred_to"], &[]),
            other => return Ok(Err(format!("'{other}' is not a known `state`"))),
        };
        for field in FIELDS {
            let present = self.text(field)?;
            if required.contains(&field) && present.is_none_or(str::is_empty) {
                return Ok(Err(format!("`{field}` is required in state `{state}`")));
            }
            let allowed = required.contains(&field) || optional.contains(&field);
            if present.is_some() && !allowed {
                return Ok(Err(format!("`{field}` is not allowed in state `{state}`")));
            }
        }
        let owned = |field: &str| self.text(field).map(|text| text.map(str::to_owned));
        Ok(match state {
            "deleted" => Ok(Entry::Deleted),
            "renamed" => {
                let to = owned("renamed_to")?.unwrap_or_default();
                if to == self.name {
                    Err("`renamed_to` must name another class".into())
                } else if !is_identifier(&to) {
                    Err(format!(
                        "`renamed_to` must be a JavaScript identifier, which '{to}' is not"
                    ))
                } else {
                    Ok(Entry::Renamed { to })
                }
            }
            "transferred" => Ok(Entry::Transferred {
                to: owned("transferred_to")?.unwrap_or_default(),
            }),
            _ => match self.text("storage")? {
                Some("sqlite") => Ok(Storage::Sqlite),
                Some("legacy-kv") => Ok(Storage::LegacyKv),
                other => Err(format!(
                    "`storage` must be \"sqlite\" or \"legacy-kv\", not \"{}\"",
                    other.unwrap_or_default()
                )),
            }
            .map(|storage| {
                Ok::<_, ApiFailure>(Entry::Live(Live {
                    storage,
                    container: owned("container")?,
                    transfer_from: owned("transfer_from")?,
                }))
            })
            .map_or_else(|fault| Ok(Err(fault)), |entry| entry.map(Ok))?,
        })
    }
}

fn is_identifier(text: &str) -> bool {
    let starts = |c: char| c.is_alphabetic() || matches!(c, '_' | '$');
    text.starts_with(starts) && text.chars().all(|c| starts(c) || c.is_alphanumeric())
}
