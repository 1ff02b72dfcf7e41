//! Durable Object namespaces, what they hold, and who binds them.

use std::collections::HashSet;

use serde::Deserialize;

use super::call::Call;
use super::{AccountId, ApiError, Client};
use crate::durable::{ClassName, LiveNamespace, NamespaceId, ScriptName, Storage};

/// What one look into a namespace found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects {
    /// Objects with stored data among those that were listed.
    pub stored: usize,
    /// Whether there are more objects than were listed.
    pub more: bool,
}

/// Who depends on a Worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Workers with a service binding to it.
    pub services: Vec<Reference>,
    /// Workers with a binding to one of its namespaces.
    pub durable_objects: Vec<Reference>,
}

/// One binding of another Worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The Worker that has the binding.
    pub service: String,
    /// The binding's name.
    pub name: String,
    /// The namespace that is bound, if one is.
    pub namespace_id: Option<NamespaceId>,
}

/// More than 100,000 namespaces; an account has at most some thousands.
const MOST_PAGES: usize = 100;
const PER_PAGE: usize = 1000;
/// How often a listing is started again because it changed while it was read.
const STARTS: u32 = 3;

impl Client {
    /// Every namespace of the account.
    pub async fn namespaces(&self, account: &AccountId) -> Result<Vec<LiveNamespace>, ApiError> {
        let mut start = 1;
        loop {
            if let Some(namespaces) = self.namespaces_once(account, start == STARTS).await? {
                return Ok(namespaces);
            }
            start += 1;
        }
    }

    /// `None` when the listing changed between two pages, so that one may be missing.
    async fn namespaces_once(
        &self,
        account: &AccountId,
        last: bool,
    ) -> Result<Option<Vec<LiveNamespace>>, ApiError> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            name: Option<String>,
            script: Option<String>,
            class: Option<String>,
            use_sqlite: Option<bool>,
        }
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "durable_objects",
            "namespaces",
        ];
        let mut namespaces = Vec::new();
        let mut ids = HashSet::new();
        let (mut listed, mut first_total) = (0, None);
        for page in 1..=MOST_PAGES {
            let call = Call::get("list Durable Object namespaces", &path)?.page(page, PER_PAGE);
            let answer = self.send(&call).await?;
            let total = answer.count("total_count");
            // The server may give less than it was asked for: a full page is what it says is full.
            let per_page = answer
                .count("per_page")
                .filter(|&n| n > 0)
                .unwrap_or(PER_PAGE);
            if page == 1 {
                first_total = total;
            } else if total != first_total && !last {
                return Ok(None);
            }
            let wires: Vec<Wire> = answer.decode()?;
            let found = wires.len();
            listed += found;
            for wire in wires {
                if !ids.insert(wire.id.clone()) {
                    continue;
                }
                namespaces.push(LiveNamespace {
                    id: NamespaceId::new(&wire.id),
                    name: wire.name.unwrap_or_default(),
                    script: wire
                        .script
                        .filter(|name| !name.is_empty())
                        .map(|name| ScriptName::from_api(&name)),
                    class: wire
                        .class
                        .filter(|name| !name.is_empty())
                        .map(|name| ClassName::from_api(&name)),
                    storage: match wire.use_sqlite {
                        Some(true) => Storage::Sqlite,
                        _ => Storage::KeyValue,
                    },
                });
            }
            if found < per_page && total.is_none_or(|total| page * per_page >= total) {
                return Ok(Some(namespaces));
            }
            if found == 0 {
                let call = Call::get("list Durable Object namespaces", &path)?;
                let text = format!("page {page} is empty after {listed} of {total:?} namespaces");
                return Err(call.incomprehensible(text));
            }
        }
        let call = Call::get("list Durable Object namespaces", &path)?;
        Err(call.incomprehensible(format!(
            "the listing does not end after {listed} namespaces"
        )))
    }

    /// What the namespace holds: one look, of at most 1000 objects.
    ///
    /// Only [`ApiError::UnknownNamespace`] proves that there is nothing; any other error proves nothing.
    pub async fn objects(
        &self,
        account: &AccountId,
        namespace: &NamespaceId,
    ) -> Result<Objects, ApiError> {
        #[derive(Deserialize)]
        struct Wire {
            /// Whoever does not say is taken to hold data: this decides what may be destroyed.
            #[serde(rename = "hasStoredData", default = "yes")]
            has_stored_data: bool,
        }
        fn yes() -> bool {
            true
        }
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "durable_objects",
            "namespaces",
            namespace.as_str(),
            "objects",
        ];
        let call = Call::get("list the objects of the namespace", &path)?.query("limit=1000");
        let answer = self.send(&call).await?;
        let more = answer.next_cursor().is_some();
        let wires: Vec<Wire> = answer.decode()?;
        Ok(Objects {
            stored: wires.iter().filter(|wire| wire.has_stored_data).count(),
            more,
        })
    }

    /// Who binds the Worker or one of its namespaces.
    pub async fn references(
        &self,
        account: &AccountId,
        script: &ScriptName,
    ) -> Result<References, ApiError> {
        #[derive(Default, Deserialize)]
        struct Wire {
            services: Option<Services>,
            durable_objects: Option<Vec<Binding>>,
        }
        #[derive(Default, Deserialize)]
        struct Services {
            incoming: Option<Vec<Binding>>,
        }
        #[derive(Deserialize)]
        struct Binding {
            service: String,
            name: Option<String>,
            durable_object_namespace_id: Option<String>,
        }
        let reference = |binding: Binding| Reference {
            service: binding.service,
            name: binding.name.unwrap_or_default(),
            namespace_id: binding
                .durable_object_namespace_id
                .map(|id| NamespaceId::new(&id)),
        };
        let path = [
            "accounts",
            account.as_str(),
            "workers",
            "scripts",
            script.as_str(),
            "references",
        ];
        let answer = self
            .send(&Call::get("read who binds the Worker", &path)?)
            .await?;
        let wire = answer.decode::<Option<Wire>>()?.unwrap_or_default();
        let incoming = wire
            .services
            .unwrap_or_default()
            .incoming
            .unwrap_or_default();
        Ok(References {
            services: incoming.into_iter().map(reference).collect(),
            durable_objects: wire
                .durable_objects
                .unwrap_or_default()
                .into_iter()
                .map(reference)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Server, account, json, ok, refusal, script};
    use super::*;

    /// A page of namespaces numbered from `from` to below `to`, and what is said about pages.
    fn page(from: usize, to: usize, info: &str) -> super::super::server::Reply {
        let entries: Vec<String> = (from..to)
            .map(|n| format!(r#"{{"id":"n{n}","name":"w_C{n}","script":"w","class":"C{n}","use_sqlite":true}}"#))
            .collect();
        let list = entries.join(",");
        json(
            200,
            &format!(r#"{{"success":true,"result":[{list}],"result_info":{{{info}}}}}"#),
        )
    }

    #[tokio::test]
    async fn namespaces_are_read_to_the_last_page() {
        let info = r#""per_page":2,"total_count":5"#;
        let server = Server::start([page(0, 2, info), page(2, 4, info), page(4, 5, info)]).await;
        let namespaces = server
            .client()
            .namespaces(&account())
            .await
            .expect("three pages");
        assert_eq!(namespaces.len(), 5);
        assert_eq!(
            namespaces[4].class.as_ref().map(ClassName::as_str),
            Some("C4")
        );
        assert_eq!(namespaces[4].storage, Storage::Sqlite);
        let path = "GET /accounts/acc/workers/durable_objects/namespaces";
        let pages = [1, 2, 3].map(|n| format!("{path}?page={n}&per_page=1000"));
        assert_eq!(server.asked(), pages);
    }

    #[tokio::test]
    async fn a_full_last_page_and_a_missing_count_are_no_trouble() {
        let full = r#""per_page":2,"total_count":2"#;
        let server = Server::start([page(0, 2, full), page(2, 2, full)]).await;
        assert_eq!(
            server
                .client()
                .namespaces(&account())
                .await
                .expect("two pages")
                .len(),
            2
        );
        let server = Server::start([page(0, 3, "")]).await;
        assert_eq!(
            server
                .client()
                .namespaces(&account())
                .await
                .expect("one page")
                .len(),
            3
        );
    }

    #[tokio::test]
    async fn a_listing_that_changes_between_pages_is_read_again() {
        let before = r#""per_page":2,"total_count":4"#;
        let after = r#""per_page":2,"total_count":3"#;
        let server = Server::start([
            page(0, 2, before),
            page(3, 4, after),
            page(1, 3, after),
            page(3, 4, after),
        ])
        .await;
        let namespaces = server
            .client()
            .namespaces(&account())
            .await
            .expect("the second reading");
        let ids: Vec<&str> = namespaces
            .iter()
            .map(|namespace| namespace.id.as_str())
            .collect();
        assert_eq!(ids, ["n1", "n2", "n3"]);
    }

    #[tokio::test]
    async fn a_listing_that_ends_too_early_is_an_error_and_not_fewer_namespaces() {
        let info = r#""per_page":2,"total_count":5"#;
        let server = Server::start([page(0, 2, info), page(0, 0, info)]).await;
        let error = server
            .client()
            .namespaces(&account())
            .await
            .expect_err("three are missing");
        assert!(matches!(error, ApiError::Decode(_)), "{error:?}");
    }

    #[tokio::test]
    async fn very_old_namespaces_have_no_script_and_class() {
        let server = Server::start([ok(r#"[{"id":"n","name":"x"}]"#)]).await;
        let namespaces = server.client().namespaces(&account()).await.expect("one");
        assert!(namespaces[0].script.is_none() && namespaces[0].class.is_none());
    }

    #[track_caller]
    fn check(found: Result<Objects, ApiError>, stored: usize, more: bool) {
        assert_eq!(found.expect("an answer"), Objects { stored, more });
    }

    #[tokio::test]
    async fn only_objects_with_data_count_and_either_cursor_means_more() {
        let objects = r#"[{"id":"a","hasStoredData":true},{"id":"b","hasStoredData":false}]"#;
        let answer = |info: &str| {
            json(
                200,
                &format!(r#"{{"success":true,"result":{objects},"result_info":{info}}}"#),
            )
        };
        let server = Server::start([
            answer(r#"{"cursor":"","cursors":{"after":""}}"#),
            answer(r#"{"cursor":"x"}"#),
            answer(r#"{"cursors":{"after":"x"}}"#),
            ok(r#"[{"id":"who knows"}]"#),
            ok("[]"),
            refusal(404, 10066, "namespace not found"),
            ok("null"),
        ])
        .await;
        let client = server.client();
        let id = NamespaceId::new("abc");
        let look = || async { client.objects(&account(), &id).await };
        check(look().await, 1, false);
        check(look().await, 1, true);
        check(look().await, 1, true);
        check(look().await, 1, false);
        check(look().await, 0, false);
        let unknown = look().await.expect_err("no such namespace");
        assert!(
            matches!(unknown, ApiError::UnknownNamespace(_)),
            "{unknown:?}"
        );
        let null = look().await.expect_err("no list");
        assert!(matches!(null, ApiError::Decode(_)), "{null:?}");
        let path = "GET /accounts/acc/workers/durable_objects/namespaces/abc/objects?limit=1000";
        assert_eq!(server.asked()[0], path);
    }

    #[tokio::test]
    async fn references_name_who_binds() {
        let full = r#"{"services":{"incoming":[{"name":"UP","service":"front","environment":"production"}],"outgoing":[],"pages_function":false},
            "durable_objects":[{"service":"other","environment":"production","name":"ROOM","durable_object_namespace_id":"n1","durable_object_namespace_name":"w_Room"}],
            "dispatch_outbounds":[]}"#;
        let server = Server::start([ok(full), ok("{}")]).await;
        let client = server.client();
        let references = client
            .references(&account(), &script("w"))
            .await
            .expect("an answer");
        assert_eq!(references.services[0].service, "front");
        assert_eq!(references.durable_objects[0].service, "other");
        let id = references.durable_objects[0]
            .namespace_id
            .as_ref()
            .map(NamespaceId::as_str);
        assert_eq!(id, Some("n1"));
        let none = client
            .references(&account(), &script("w"))
            .await
            .expect("an answer");
        assert_eq!(none, References::default());
    }
}
