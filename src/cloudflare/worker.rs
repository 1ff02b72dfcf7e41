//! Workers: reading, uploading, renaming and deleting them, and their settings.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Body, Call};
use super::upload::{Metadata, Upload, Uploaded};
use super::{AccountId, ApiError, Client};
use crate::durable::{MigrationTag, ScriptName};

/// A Worker as the account's listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedScript {
    /// Its name.
    pub name: ScriptName,
    /// Cloudflare's immutable id, which renames leave alone (`tag` on the wire).
    pub worker_id: Option<String>,
    /// Its script tags.
    pub tags: Vec<String>,
    /// The hash of its content.
    pub etag: Option<String>,
    /// The lock of its classes.
    pub migration_tag: Option<MigrationTag>,
    /// When it last changed.
    pub modified_on: Option<String>,
    /// Whether its classes are declared by an `exports` map.
    pub uses_exports: bool,
}

/// A Worker as its service shows it: what identifies it, and the lock of its classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ScriptName,
    /// Cloudflare's immutable id, which renames leave alone (`tag` on the wire).
    pub worker_id: String,
    /// Its script tags.
    pub tags: Vec<String>,
    /// The hash of its content.
    pub etag: Option<String>,
    /// The lock of its classes.
    pub migration_tag: Option<MigrationTag>,
    /// The date that decides the runtime's behaviour.
    pub compatibility_date: Option<String>,
    /// Exceptions to the date.
    pub compatibility_flags: Vec<String>,
    /// The tool that deployed last: `wrangler`, `api`, `dash`, ….
    pub last_deployed_from: Option<String>,
    /// Whether it has static assets.
    pub has_assets: bool,
    /// Whether it is made of ES modules.
    pub has_modules: bool,
}

/// A Worker's settings, with all that this client does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Its bindings as they came; secrets without their values.
    pub bindings: Vec<Map<String, Value>>,
    /// The date that decides the runtime's behaviour.
    pub compatibility_date: Option<String>,
    /// Exceptions to the date.
    pub compatibility_flags: Vec<String>,
    /// Its script tags.
    pub tags: Vec<String>,
    /// The whole answer.
    pub raw: Map<String, Value>,
}

/// The settings that can change without a new version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptSettings {
    /// All script tags that the Worker shall have.
    pub tags: Option<Vec<String>>,
}

/// How often settings that are not there yet are asked for.
const LOOKS: u32 = 5;

/// Settings that an upload without them may reset, so that it has to repeat them.
const CARRIED: [&str; 8] = [
    "observability",
    "logpush",
    "placement",
    "limits",
    "tail_consumers",
    "streaming_tail_consumers",
    "cache_options",
    "containers",
];
/// What a placement says besides these is the server's own report.
const PLACEMENT: [&str; 5] = ["mode", "region", "hostname", "host", "target"];

impl Settings {
    /// What an upload sends along so that it stays as it is.
    pub fn carried(&self) -> Map<String, Value> {
        let mut carried = Map::new();
        for name in CARRIED {
            let mut value = self.raw.get(name).cloned().unwrap_or_default();
            if let (true, Value::Object(placement)) = (name == "placement", &mut value) {
                placement
                    .retain(|key, value| PLACEMENT.contains(&key.as_str()) && !value.is_null());
            }
            let nothing = match &value {
                Value::Null => true,
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !nothing {
                carried.insert(name.to_owned(), value);
            }
        }
        carried
    }

    /// Whether its classes are declared by an `exports` map.
    pub fn uses_exports(&self) -> bool {
        has_entries(self.raw.get("exports"))
    }
}

impl Client {
    /// Every Worker of the account.
    pub async fn scripts(&self, account: &AccountId) -> Result<Vec<ListedScript>, ApiError> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            tag: Option<String>,
            tags: Option<Vec<String>>,
            etag: Option<String>,
            migration_tag: Option<String>,
            modified_on: Option<String>,
            exports: Option<Value>,
        }
        let path = ["accounts", account.as_str(), "workers", "scripts"];
        let wires: Vec<Wire> = self
            .send(&Call::get("list Workers", &path)?)
            .await?
            .decode()?;
        let listed = wires.into_iter().map(|wire| ListedScript {
            name: ScriptName::from_api(&wire.id),
            worker_id: present(wire.tag),
            tags: wire.tags.unwrap_or_default(),
            etag: present(wire.etag),
            migration_tag: present(wire.migration_tag).map(|tag| MigrationTag::new(&tag)),
            modified_on: present(wire.modified_on),
            uses_exports: has_entries(wire.exports.as_ref()),
        });
        Ok(listed.collect())
    }

    /// The Worker of that name; `None` when there is none.
    pub async fn service(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Option<Service>, ApiError> {
        #[derive(Deserialize)]
        struct Wire {
            default_environment: Environment,
        }
        #[derive(Deserialize)]
        struct Environment {
            script: Script,
        }
        #[derive(Deserialize)]
        struct Script {
            id: Option<String>,
            tag: String,
            tags: Option<Vec<String>>,
            etag: Option<String>,
            migration_tag: Option<String>,
            compatibility_date: Option<String>,
            compatibility_flags: Option<Vec<String>>,
            last_deployed_from: Option<String>,
            has_assets: Option<bool>,
            has_modules: Option<bool>,
        }
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "services",
            script.as_str(),
        ];
        let answer = match self.send(&Call::get("read the Worker", &path)?).await {
            Ok(answer) => answer,
            Err(ApiError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let wire = answer.decode::<Wire>()?.default_environment.script;
        Ok(Some(Service {
            name: present(wire.id).map_or_else(|| script.clone(), |id| ScriptName::from_api(&id)),
            worker_id: wire.tag,
            tags: wire.tags.unwrap_or_default(),
            etag: present(wire.etag),
            migration_tag: present(wire.migration_tag).map(|tag| MigrationTag::new(&tag)),
            compatibility_date: present(wire.compatibility_date),
            compatibility_flags: wire.compatibility_flags.unwrap_or_default(),
            last_deployed_from: present(wire.last_deployed_from),
            has_assets: wire.has_assets.unwrap_or_default(),
            has_modules: wire.has_modules.unwrap_or_default(),
        }))
    }

    /// Gives the Worker another name; its id, namespaces and data stay. A lost answer is never repeated.
    pub async fn rename_service(
        &self,
        account: &AccountId,
        from: &ScriptName,
        to: &ScriptName,
    ) -> Result<(), ApiError> {
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "services",
            from.as_str(),
        ];
        let call = Call::write("rename the Worker", Method::PATCH, &path)?;
        self.send(&call.json(&json!({ "id": to.as_str() }))).await?;
        Ok(())
    }

    /// The Worker's bindings and settings. Right after a first upload they are waited for.
    pub async fn settings(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<Settings, ApiError> {
        const OPERATION: &str = "read the settings of the Worker";
        let call = Call::get(OPERATION, &script_path(account, script, "settings"))?;
        let mut looks = 1;
        let answer = loop {
            match self.send(&call).await {
                Err(ApiError::NoVersions(_)) if looks < LOOKS => {
                    looks += 1;
                    self.wait(OPERATION, self.shared.policy.settle).await?;
                }
                outcome => break outcome?,
            }
        };
        #[derive(Deserialize)]
        struct Known {
            bindings: Option<Vec<Map<String, Value>>>,
            compatibility_date: Option<String>,
            compatibility_flags: Option<Vec<String>>,
            tags: Option<Vec<String>>,
        }
        let (known, raw): (Known, _) = answer.decode_with_raw()?;
        Ok(Settings {
            bindings: known.bindings.unwrap_or_default(),
            compatibility_date: present(known.compatibility_date),
            compatibility_flags: known.compatibility_flags.unwrap_or_default(),
            tags: known.tags.unwrap_or_default(),
            raw,
        })
    }

    /// Changes settings without a new version; what is `None` stays as it is.
    pub async fn patch_script_settings(
        &self,
        account: &AccountId,
        script: &ScriptName,
        settings: &ScriptSettings,
    ) -> Result<(), ApiError> {
        let mut body = Map::new();
        if let Some(tags) = &settings.tags {
            body.insert("tags".to_owned(), json!(tags));
        }
        let path = script_path(account, script, "script-settings");
        // It names the whole value: twice is the same as once.
        let call = Call::write("change the settings of the Worker", Method::PATCH, &path)?
            .json(&Value::Object(body))
            .repeatable(true);
        self.send(&call).await?;
        Ok(())
    }

    /// Makes a new version of the same code with other bindings and settings.
    ///
    /// With migrations a lost answer is never repeated blindly, as in [`Client::upload`].
    pub async fn patch_settings(
        &self,
        account: &AccountId,
        script: &ScriptName,
        settings: &Metadata,
    ) -> Result<(), ApiError> {
        let form = settings
            .settings_form()
            .map_err(|error| ApiError::Unusable(error.to_string()))?;
        let path = script_path(account, script, "settings");
        let call = Call::write(
            "change bindings and settings of the Worker",
            Method::PATCH,
            &path,
        )?
        .repeatable(settings.migrations.is_none())
        .body(Body::Form(form));
        self.send(&call).await?;
        Ok(())
    }

    /// Creates the Worker or its next version, and migrates its classes.
    ///
    /// With migrations a lost answer is never repeated blindly: it is [`ApiError::LostAnswer`],
    /// and the migration tag tells whether it landed.
    pub async fn upload(
        &self,
        account: &AccountId,
        script: &ScriptName,
        upload: &Upload,
    ) -> Result<Uploaded, ApiError> {
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "scripts",
            script.as_str(),
        ];
        let form = upload
            .form()
            .map_err(|error| ApiError::Unusable(error.to_string()))?;
        let call = Call::write("upload the Worker", Method::PUT, &path)?
            .query("excludeScript=true&bindings_inherit=strict")
            .repeatable(upload.metadata.migrations.is_none())
            .body(Body::Form(form));
        #[derive(Default, Deserialize)]
        struct Wire {
            tag: Option<String>,
            etag: Option<String>,
            migration_tag: Option<String>,
            deployment_id: Option<String>,
        }
        let answer = self.send(&call).await?;
        // Nothing in it is needed to go on, and the upload is committed: what is not there is read elsewhere.
        let wire = answer.decode::<Wire>().unwrap_or_default();
        Ok(Uploaded {
            worker_id: present(wire.tag),
            etag: present(wire.etag),
            migration_tag: present(wire.migration_tag).map(|tag| MigrationTag::new(&tag)),
            version_id: present(wire.deployment_id),
        })
    }

    /// Deletes the Worker, never by force. A Worker that is not there is deleted.
    pub async fn delete_script(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<(), ApiError> {
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "scripts",
            script.as_str(),
        ];
        match self
            .send(&Call::write("delete the Worker", Method::DELETE, &path)?)
            .await
        {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn script_path<'a>(
    account: &'a AccountId,
    script: &'a ScriptName,
    last: &'static str,
) -> [&'a str; 6] {
    [
        "accounts",
        account.as_str(),
        "workers",
        "scripts",
        script.as_str(),
        last,
    ]
}

/// Cloudflare writes "there is none" as null, as an empty text, or not at all.
fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn has_entries(exports: Option<&Value>) -> bool {
    exports
        .and_then(Value::as_object)
        .is_some_and(|map| !map.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::server::{Server, account, ok, refusal, script};
    use super::*;

    const SERVICE: &str = r#"{"id":"chat","default_environment":{"environment":"production",
        "script":{"id":"chat","tag":"9f0c","tags":["a"],"etag":"13a3","handlers":["fetch"],"migration_tag":"v3",
        "compatibility_date":"2026-10-01","compatibility_flags":[],"last_deployed_from":"wrangler","tail_consumers":null,
        "has_assets":false,"has_modules":true}},"environments":[]}"#;

    #[tokio::test]
    async fn a_service_is_there_or_clearly_missing() {
        let server = Server::start([
            ok(SERVICE),
            refusal(404, 10090, "workers.api.error.service_not_found"),
            refusal(
                404,
                7003,
                "Could not route to /accounts/acc, perhaps your object identifier is invalid?",
            ),
            ok("null"),
            ok(r#"{"default_environment":{"script":{"id":"chat","tags":null}}}"#),
        ])
        .await;
        let client = server.client();
        let read = || async { client.service(&account(), &script("chat")).await };
        let service = read().await.expect("an answer").expect("a Worker");
        assert_eq!(service.worker_id, "9f0c");
        assert_eq!(service.migration_tag, Some(MigrationTag::new("v3")));
        assert_eq!(service.last_deployed_from.as_deref(), Some("wrangler"));
        assert_eq!(read().await.expect("missing"), None);
        let no_route = read().await.expect_err("not the same as missing");
        assert!(matches!(no_route, ApiError::NoRoute(_)), "{no_route:?}");
        for _ in 0..2 {
            let shapeless = read().await.expect_err("a Worker without an identity");
            assert!(matches!(shapeless, ApiError::Decode(_)), "{shapeless:?}");
        }
    }

    #[tokio::test]
    async fn listed_workers_have_name_identity_and_lock() {
        let server = Server::start([ok(
            r#"[{"id":"a","tag":"1","tags":null,"etag":"e","migration_tag":"","modified_on":"2026","future":7},
                {"id":"b","exports":{"Room":{"type":"durable-object"}}}]"#,
        )])
        .await;
        let scripts = server.client().scripts(&account()).await.expect("a list");
        assert_eq!(scripts[0].worker_id.as_deref(), Some("1"));
        assert_eq!(scripts[0].migration_tag, None);
        assert!(!scripts[0].uses_exports && scripts[1].uses_exports);
    }

    #[tokio::test]
    async fn settings_keep_what_is_not_known_and_are_waited_for() {
        let settings = r#"{"bindings":[{"name":"S","type":"secret_text"},{"name":"N","type":"new","n":1.10}],
            "compatibility_date":"2026-10-01","compatibility_flags":null,"tags":["t"],"logpush":false,"limits":{},
            "placement":{"mode":"smart","status":"SUCCESS","last_analyzed_at":"2026"},"tail_consumers":null,
            "observability":{"enabled":true,"head_sampling_rate":0.10},"usage_model":"standard"}"#;
        let early = refusal(404, 10007, "This Worker has no versions");
        let server = Server::start([early.clone(), ok(settings)]).await;
        let settings = server
            .client()
            .settings(&account(), &script("w"))
            .await
            .expect("settings");
        assert_eq!(settings.bindings[1]["n"].to_string(), "1.10");
        assert_eq!(settings.raw["usage_model"], "standard");
        assert!(!settings.uses_exports());
        assert_eq!(
            Value::Object(settings.carried()).to_string(),
            r#"{"observability":{"enabled":true,"head_sampling_rate":0.10},"logpush":false,"placement":{"mode":"smart"}}"#
        );

        let server = Server::start(vec![early; LOOKS as usize]).await;
        let never = server
            .client()
            .settings(&account(), &script("w"))
            .await
            .expect_err("never");
        assert!(matches!(never, ApiError::NoVersions(_)), "{never:?}");
        assert_eq!(server.asked().len(), LOOKS as usize);
    }

    #[tokio::test]
    async fn an_upload_tells_what_it_made_and_no_more_than_it_knows() {
        let server = Server::start([
            ok(r#"{"id":"w","tag":"9f","etag":"13","startup_time_ms":4,"deployment_id":"bcf4"}"#),
            ok("null"),
        ])
        .await;
        let client = server.client();
        let upload = Upload {
            metadata: Metadata::default(),
            modules: [].into(),
        };
        let made = client
            .upload(&account(), &script("w"), &upload)
            .await
            .expect("an upload");
        assert_eq!(made.version_id.as_deref(), Some("bcf4"));
        assert_eq!(made.migration_tag, None);
        let made = client
            .upload(&account(), &script("w"), &upload)
            .await
            .expect("an upload");
        assert_eq!(made, Uploaded::default());
    }

    #[tokio::test]
    async fn small_writes_say_exactly_what_they_mean() {
        let server = Server::start([ok("null"), ok("{}"), ok("{}")]).await;
        let client = server.client();
        let tags = Some(vec!["a".to_owned()]);
        client
            .rename_service(&account(), &script("old"), &script("new"))
            .await
            .expect("renamed");
        let settings = ScriptSettings { tags };
        client
            .patch_script_settings(&account(), &script("w"), &settings)
            .await
            .expect("tagged");
        client
            .patch_settings(&account(), &script("w"), &Metadata::default())
            .await
            .expect("changed");
        assert_eq!(
            server.asked(),
            [
                "PATCH /accounts/acc/workers/services/old",
                "PATCH /accounts/acc/workers/scripts/w/script-settings",
                "PATCH /accounts/acc/workers/scripts/w/settings",
            ]
        );
        let requests = server.requests();
        assert!(
            requests[0].ends_with("\r\n\r\n{\"id\":\"new\"}"),
            "{}",
            requests[0]
        );
        assert!(
            requests[1].ends_with("\r\n\r\n{\"tags\":[\"a\"]}"),
            "{}",
            requests[1]
        );
        assert!(
            requests[2].contains("form-data; name=\"settings\"\r\n"),
            "{}",
            requests[2]
        );
    }

    #[tokio::test]
    async fn deleting_what_is_gone_is_success_and_what_is_bound_is_not() {
        let text = "Cannot delete service 'w' because it is still referenced by service bindings in Workers 'y'. Please remove bindings pointing to it and try again.";
        let server = Server::start([
            ok("null"),
            refusal(404, 10007, "This Worker does not exist on your account."),
            refusal(400, 10142, text),
        ])
        .await;
        let client = server.client();
        let name = script("w");
        client
            .delete_script(&account(), &name)
            .await
            .expect("deleted");
        client
            .delete_script(&account(), &name)
            .await
            .expect("gone before");
        let bound = client
            .delete_script(&account(), &name)
            .await
            .expect_err("bound");
        assert!(matches!(bound, ApiError::StillReferenced(_)), "{bound:?}");
        assert_eq!(
            server.asked(),
            ["DELETE /accounts/acc/workers/scripts/w"; 3]
        );
    }
}
