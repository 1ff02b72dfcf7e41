//! The upload of a Worker: metadata, modules, and the multipart form that carries them.
//!
//! Wire structs: they say what Cloudflare's JSON says and decide nothing.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::durable::{ClassName, Migration, MigrationTag, ScriptName};

/// One version of a Worker, whole.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Everything but the code.
    pub metadata: Metadata,
    /// The code; empty for a Worker of assets only.
    pub modules: Arc<[Module]>,
}

/// One module, sent as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Module {
    /// How other modules and `main_module` refer to it.
    pub name: String,
    /// What it is to the runtime, as `application/javascript+module`.
    pub content_type: String,
    /// Its bytes.
    pub body: Bytes,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Module {
            name,
            content_type,
            body,
        } = self;
        write!(f, "Module({name:?}, {content_type}, {} bytes)", body.len())
    }
}

/// What Cloudflare answers to an upload. Every part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Cloudflare's immutable id of the Worker.
    pub worker_id: Option<String>,
    /// The hash of the content.
    pub etag: Option<String>,
    /// The lock of the classes after this upload.
    pub migration_tag: Option<MigrationTag>,
    /// The id of the version that was made (called `deployment_id` on the wire).
    pub version_id: Option<String>,
}

/// The `metadata` part. What it leaves out is gone after the upload, but for what `keep_bindings` and `keep_assets` name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Metadata {
    /// The name of the module that the runtime starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_module: Option<String>,
    /// The date that decides the runtime's behaviour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility_date: Option<String>,
    /// Exceptions to the date.
    pub compatibility_flags: Vec<String>,
    /// All bindings.
    pub bindings: Vec<Binding>,
    /// Changes of classes. Leave it out when there are none: even an empty one is checked against the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Migrations>,
    /// All script tags.
    pub tags: Vec<String>,
    /// Types of bindings that stay although they are not listed: `secret_text`, ….
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep_bindings: Vec<String>,
    /// Whether the static assets of the last version stay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_assets: bool,
    /// Settings of the live Worker that are sent back unchanged; see [`super::Settings::carried`].
    /// A name that is a field above must not be among them.
    #[serde(flatten)]
    pub carried: Map<String, Value>,
}

/// The fields that [`Metadata::carried`] must not hold.
const FIELDS: [&str; 8] = [
    "main_module",
    "compatibility_date",
    "compatibility_flags",
    "bindings",
    "migrations",
    "tags",
    "keep_bindings",
    "keep_assets",
];

/// Changes of classes in one step, guarded by the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migrations {
    /// The tag that Cloudflare must hold; `None` for none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some"
    )]
    pub old_tag: Option<MigrationTag>,
    /// The tag that it holds afterwards.
    #[serde(serialize_with = "display")]
    pub new_tag: MigrationTag,
    /// Key-value backed classes to create.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "display_each")]
    pub new_classes: Vec<ClassName>,
    /// SQLite-backed classes to create.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "display_each")]
    pub new_sqlite_classes: Vec<ClassName>,
    /// Classes whose namespace gets another class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed_classes: Vec<RenamedClass>,
    /// Classes whose namespace is destroyed with all data.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "display_each")]
    pub deleted_classes: Vec<ClassName>,
    /// Namespaces of other Workers that come to this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transferred_classes: Vec<TransferredClass>,
}

/// One transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransferredClass {
    /// The class that has the namespace now.
    pub from: ClassName,
    /// The Worker that has it now.
    pub from_script: ScriptName,
    /// The class that has it afterwards.
    pub to: ClassName,
}

/// One rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenamedClass {
    /// The class that has the namespace now.
    #[serde(serialize_with = "display")]
    pub from: ClassName,
    /// The class that has it afterwards.
    #[serde(serialize_with = "display")]
    pub to: ClassName,
}

impl From<&Migration> for Migrations {
    fn from(migration: &Migration) -> Self {
        let renamed = migration.renamed.iter().cloned();
        Migrations {
            old_tag: migration.old_tag.clone(),
            new_tag: migration.new_tag.clone(),
            new_classes: migration.new_classes.clone(),
            new_sqlite_classes: migration.new_sqlite_classes.clone(),
            renamed_classes: renamed
                .map(|(from, to)| RenamedClass { from, to })
                .collect(),
            deleted_classes: migration.deleted.clone(),
            transferred_classes: migration
                .transferred
                .iter()
                .map(|moved| TransferredClass {
                    from: moved.from.clone(),
                    from_script: moved.from_script.clone(),
                    to: moved.to.clone(),
                })
                .collect(),
        }
    }
}

/// One binding. Kinds without a variant go as [`Binding::Other`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Binding {
    /// A Durable Object namespace, by class or by id.
    DurableObjectNamespace {
        /// The variable's name.
        name: String,
        /// The class that implements it; `None` when it is bound by id.
        #[serde(
            skip_serializing_if = "Option::is_none",
            serialize_with = "display_some"
        )]
        class_name: Option<ClassName>,
        /// The Worker that hosts it, if another one does.
        #[serde(
            skip_serializing_if = "Option::is_none",
            serialize_with = "display_some"
        )]
        script_name: Option<ScriptName>,
        /// Cloudflare's id of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace_id: Option<String>,
        /// The environment of the Worker that hosts it.
        #[serde(skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
    },
    /// A text.
    PlainText {
        /// The variable's name.
        name: String,
        /// Its value.
        text: String,
    },
    /// Any JSON.
    Json {
        /// The variable's name.
        name: String,
        /// Its value.
        json: Value,
    },
    /// A text that Cloudflare never shows again.
    SecretText {
        /// The variable's name.
        name: String,
        /// Its value.
        #[serde(serialize_with = "expose")]
        text: SecretString,
    },
    /// Another Worker.
    Service {
        /// The variable's name.
        name: String,
        /// The Worker.
        service: String,
        /// Its environment.
        #[serde(skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// Its exported class, if not the default.
        #[serde(skip_serializing_if = "Option::is_none")]
        entrypoint: Option<String>,
    },
    /// A KV namespace.
    KvNamespace {
        /// The variable's name.
        name: String,
        /// The namespace.
        namespace_id: String,
    },
    /// An R2 bucket.
    R2Bucket {
        /// The variable's name.
        name: String,
        /// The bucket.
        bucket_name: String,
        /// Where its data has to stay.
        #[serde(skip_serializing_if = "Option::is_none")]
        jurisdiction: Option<String>,
    },
    /// A D1 database.
    D1 {
        /// The variable's name.
        name: String,
        /// The documented name of the database's id.
        database_id: String,
        /// The same again: Cloudflare's validation speaks of `id`, and its own tools still send that.
        id: String,
    },
    /// The producer's side of a queue.
    Queue {
        /// The variable's name.
        name: String,
        /// The queue.
        queue_name: String,
        /// Seconds before a message can be received.
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery_delay: Option<u64>,
    },
    /// The binding that the last version had under this or another name.
    Inherit {
        /// The variable's name.
        name: String,
        /// The name that it had.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_name: Option<String>,
    },
    /// A binding of a live Worker, sent back as it came; it has its own `name` and `type`.
    #[serde(untagged)]
    Other(Map<String, Value>),
}

impl Binding {
    /// A binding to the D1 database with that id.
    pub fn d1(name: impl Into<String>, database_id: impl Into<String>) -> Self {
        let database_id = database_id.into();
        Binding::D1 {
            name: name.into(),
            id: database_id.clone(),
            database_id,
        }
    }
}

fn display<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn display_some<S: Serializer>(
    value: &Option<impl fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn display_each<S: Serializer>(
    values: &[impl fmt::Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Why modules cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpload {
    /// A module's name or content type would break the form, or mean another part of it.
    #[error("the module {0:?} cannot be uploaded under that name or with that content type")]
    Module(String),
    /// Two modules would be one.
    #[error("the module {0:?} is there twice")]
    Twice(String),
    /// The metadata is not JSON: a carried setting has the name of a field.
    #[error("the metadata cannot be written: {0}")]
    Metadata(String),
}

/// A multipart form whose modules are shared, not copied: every attempt sends the same bytes.
#[derive(Debug)]
pub(super) struct Form {
    boundary: String,
    chunks: Arc<[Bytes]>,
}

impl Upload {
    /// The form to send, under a boundary that nobody can foresee.
    pub(super) fn form(&self) -> Result<Form, InvalidUpload> {
        self.form_with(boundary()?)
    }

    fn form_with(&self, boundary: String) -> Result<Form, InvalidUpload> {
        form("metadata", &self.metadata, &self.modules, boundary)
    }
}

/// A form of one JSON part named `first` and one part for each module.
fn form(
    first: &str,
    metadata: &Metadata,
    modules: &[Module],
    boundary: String,
) -> Result<Form, InvalidUpload> {
    let head = |name: &str, file: &str, kind: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\
             Content-Type: {kind}\r\n\r\n"
        )
    };
    let mut chunks = vec![
        Bytes::from(head(first, "", "application/json")),
        Bytes::from(metadata.to_json()?),
        Bytes::from_static(b"\r\n"),
    ];
    let mut names = HashSet::new();
    for Module {
        name,
        content_type,
        body,
    } in modules
    {
        let breaks = |text: &str| {
            text.is_empty()
                || text
                    .chars()
                    .any(|c| c.is_control() || matches!(c, '"' | '\\'))
        };
        if breaks(name) || breaks(content_type) || name == first {
            return Err(InvalidUpload::Module(name.clone()));
        }
        if !names.insert(name) {
            return Err(InvalidUpload::Twice(name.clone()));
        }
        let file = format!("; filename=\"{name}\"");
        chunks.push(Bytes::from(head(name, &file, content_type)));
        chunks.push(body.clone());
        chunks.push(Bytes::from_static(b"\r\n"));
    }
    chunks.push(Bytes::from(format!("--{boundary}--\r\n")));
    Ok(Form {
        boundary,
        chunks: chunks.into(),
    })
}

fn boundary() -> Result<String, InvalidUpload> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| InvalidUpload::Metadata(error.to_string()))?;
    Ok(format!("part-{}", hex::encode(random)))
}

impl Metadata {
    /// The form of a change of settings without code.
    pub(super) fn settings_form(&self) -> Result<Form, InvalidUpload> {
        form("settings", self, &[], boundary()?)
    }

    fn to_json(&self) -> Result<String, InvalidUpload> {
        if let Some(name) = FIELDS
            .into_iter()
            .find(|&name| self.carried.contains_key(name))
        {
            return Err(InvalidUpload::Metadata(format!("`{name}` is there twice")));
        }
        serde_json::to_string(self).map_err(|error| InvalidUpload::Metadata(error.to_string()))
    }
}

impl Form {
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub(super) fn length(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    pub(super) fn body(&self) -> reqwest::Body {
        let chunks: Vec<Result<Bytes, std::convert::Infallible>> =
            self.chunks.iter().cloned().map(Ok).collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::durable::Transferred;

    fn metadata() -> Metadata {
        let class = ClassName::from_api;
        let script = ScriptName::from_api;
        let text = str::to_owned;
        let other = json!({ "type": "ratelimit", "name": "RL", "simple": { "limit": 12.50 } });
        let carried = json!({ "logpush": true, "limits": { "cpu_ms": 50 } });
        Metadata {
            main_module: Some(text("index.js")),
            compatibility_date: Some(text("2026-11-01")),
            compatibility_flags: vec![text("nodejs_compat")],
            bindings: vec![
                Binding::DurableObjectNamespace {
                    name: text("ROOM"),
                    class_name: Some(class("Room")),
                    script_name: None,
                    namespace_id: None,
                    environment: None,
                },
                Binding::DurableObjectNamespace {
                    name: text("FAR"),
                    class_name: Some(class("Far")),
                    script_name: Some(script("host")),
                    namespace_id: None,
                    environment: Some(text("production")),
                },
                Binding::PlainText {
                    name: text("A"),
                    text: text("b"),
                },
                Binding::Json {
                    name: text("J"),
                    json: json!({ "n": 1 }),
                },
                Binding::SecretText {
                    name: text("S"),
                    text: text("hush").into(),
                },
                Binding::Service {
                    name: text("UP"),
                    service: text("other"),
                    environment: None,
                    entrypoint: Some(text("Api")),
                },
                Binding::KvNamespace {
                    name: text("KV"),
                    namespace_id: text("k"),
                },
                Binding::R2Bucket {
                    name: text("R2"),
                    bucket_name: text("b"),
                    jurisdiction: None,
                },
                Binding::d1("DB", "d"),
                Binding::Queue {
                    name: text("Q"),
                    queue_name: text("q"),
                    delivery_delay: Some(5),
                },
                Binding::Inherit {
                    name: text("I"),
                    old_name: None,
                },
                Binding::Other(other.as_object().expect("an object").clone()),
            ],
            migrations: Some(Migrations {
                old_tag: Some(MigrationTag::new("v1")),
                new_tag: MigrationTag::new("v2"),
                new_classes: vec![],
                new_sqlite_classes: vec![class("Room")],
                renamed_classes: vec![RenamedClass {
                    from: class("A"),
                    to: class("B"),
                }],
                deleted_classes: vec![class("Gone")],
                transferred_classes: vec![TransferredClass {
                    from: class("There"),
                    from_script: ScriptName::from_api("host"),
                    to: class("Here"),
                }],
            }),
            tags: vec![text("team:x")],
            keep_bindings: vec![text("secret_text")],
            keep_assets: true,
            carried: carried.as_object().expect("an object").clone(),
        }
    }

    #[test]
    fn the_metadata_is_exactly_what_cloudflare_documents() {
        let expect = concat!(
            r#"{"main_module":"index.js","compatibility_date":"2026-11-01","compatibility_flags":["nodejs_compat"],"#,
            r#""bindings":[{"type":"durable_object_namespace","name":"ROOM","class_name":"Room"},"#,
            r#"{"type":"durable_object_namespace","name":"FAR","class_name":"Far","script_name":"host","environment":"production"},"#,
            r#"{"type":"plain_text","name":"A","text":"b"},"#,
            r#"{"type":"json","name":"J","json":{"n":1}},"#,
            r#"{"type":"secret_text","name":"S","text":"hush"},"#,
            r#"{"type":"service","name":"UP","service":"other","entrypoint":"Api"},"#,
            r#"{"type":"kv_namespace","name":"KV","namespace_id":"k"},"#,
            r#"{"type":"r2_bucket","name":"R2","bucket_name":"b"},"#,
            r#"{"type":"d1","name":"DB","database_id":"d","id":"d"},"#,
            r#"{"type":"queue","name":"Q","queue_name":"q","delivery_delay":5},"#,
            r#"{"type":"inherit","name":"I"},"#,
            r#"{"type":"ratelimit","name":"RL","simple":{"limit":12.5}}],"#,
            r#""migrations":{"old_tag":"v1","new_tag":"v2","new_sqlite_classes":["Room"],"#,
            r#""renamed_classes":[{"from":"A","to":"B"}],"deleted_classes":["Gone"],"#,
            r#""transferred_classes":[{"from":"There","from_script":"host","to":"Here"}]},"#,
            r#""tags":["team:x"],"keep_bindings":["secret_text"],"keep_assets":true,"#,
            r#""logpush":true,"limits":{"cpu_ms":50}}"#,
        );
        assert_eq!(metadata().to_json().expect("plain JSON"), expect);
    }

    #[test]
    fn the_planners_migration_keeps_its_directions() {
        let class = ClassName::from_api;
        let migration = Migration {
            old_tag: None,
            new_tag: MigrationTag::new("t"),
            new_sqlite_classes: vec![class("New")],
            new_classes: vec![class("Kv")],
            renamed: vec![(class("From"), class("To"))],
            deleted: vec![class("Gone")],
            transferred: vec![Transferred {
                from_script: ScriptName::from_api("host"),
                from: class("Source"),
                to: class("Target"),
                namespace_id: None,
            }],
        };
        let json = serde_json::to_string(&Migrations::from(&migration)).expect("plain JSON");
        let expect = concat!(
            r#"{"new_tag":"t","new_classes":["Kv"],"new_sqlite_classes":["New"],"#,
            r#""renamed_classes":[{"from":"From","to":"To"}],"deleted_classes":["Gone"],"#,
            r#""transferred_classes":[{"from":"Source","from_script":"host","to":"Target"}]}"#,
        );
        assert_eq!(json, expect);
    }

    #[test]
    fn an_upload_without_class_changes_has_no_migrations_field() {
        let json = Metadata::default().to_json().expect("plain JSON");
        assert_eq!(
            json,
            r#"{"compatibility_flags":[],"bindings":[],"tags":[]}"#
        );
    }

    #[test]
    fn a_carried_setting_cannot_replace_a_field() {
        let mut metadata = metadata();
        metadata.carried.insert("bindings".to_owned(), json!([]));
        assert!(matches!(
            metadata.to_json(),
            Err(InvalidUpload::Metadata(_))
        ));
    }

    fn upload(modules: &[(&str, &str, &'static str)]) -> Upload {
        let module = |&(name, kind, body): &(&str, &str, &'static str)| Module {
            name: name.to_owned(),
            content_type: kind.to_owned(),
            body: Bytes::from_static(body.as_bytes()),
        };
        Upload {
            metadata: Metadata::default(),
            modules: modules.iter().map(module).collect(),
        }
    }

    #[test]
    fn each_module_is_a_part_named_like_it() {
        let upload = upload(&[
            (
                "worker.js",
                "application/javascript+module",
                "export default {}",
            ),
            ("lib/ä.txt", "text/plain", "--B\r\n"),
        ]);
        let form = upload.form_with("B".to_owned()).expect("good names");
        let text: String = form
            .chunks
            .iter()
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
            .collect();
        let expect = "--B\r\n\
            Content-Disposition: form-data; name=\"metadata\"\r\n\
            Content-Type: application/json\r\n\r\n\
            {\"compatibility_flags\":[],\"bindings\":[],\"tags\":[]}\r\n\
            --B\r\n\
            Content-Disposition: form-data; name=\"worker.js\"; filename=\"worker.js\"\r\n\
            Content-Type: application/javascript+module\r\n\r\n\
            export default {}\r\n\
            --B\r\n\
            Content-Disposition: form-data; name=\"lib/ä.txt\"; filename=\"lib/ä.txt\"\r\n\
            Content-Type: text/plain\r\n\r\n\
            --B\r\n\r\n\
            --B--\r\n";
        assert_eq!(text, expect);
        assert_eq!(form.length(), expect.len() as u64);
        assert_eq!(form.content_type(), "multipart/form-data; boundary=B");
        let shared = form
            .chunks
            .iter()
            .any(|chunk| chunk.as_ptr() == upload.modules[0].body.as_ptr());
        assert!(shared, "module bodies are not copied");
    }

    #[test]
    fn names_that_would_break_the_form_are_refused() {
        for name in ["", "a\"b", "a\r\nb", "a\\b", "metadata", "a\0"] {
            let form = upload(&[(name, "text/plain", "x")]).form();
            assert!(matches!(form, Err(InvalidUpload::Module(_))), "{name:?}");
        }
        let form = upload(&[("a", "text/plain\r\nX: y", "x")]).form();
        assert!(matches!(form, Err(InvalidUpload::Module(_))));
        let form = upload(&[("a", "text/plain", "x"), ("a", "text/plain", "y")]).form();
        assert!(matches!(form, Err(InvalidUpload::Twice(_))));
    }

    #[test]
    fn secrets_and_code_stay_out_of_debug_output() {
        let upload = Upload {
            metadata: metadata(),
            ..upload(&[("a", "text/plain", "the code")])
        };
        let debug = format!("{upload:?}");
        assert!(
            !debug.contains("hush") && !debug.contains("the code"),
            "{debug}"
        );
    }
}
