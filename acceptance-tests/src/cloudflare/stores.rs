//! What an account stores data in besides Durable Objects: KV namespaces, D1 databases, R2 buckets and queues.
//! Pure: what is in them is the runtime's business.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::bindings::Binding;
use super::failure::ApiFailure;
use super::queues::{Queue, no_queue};
use super::runtime::{Store, StoreKind};

/// The stores of one account, each kind in the order of creation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stores {
    /// What a binding to a store that is not here does.
    pub unknown: UnknownStores,
    /// KV namespaces.
    pub kv: Vec<KvNamespace>,
    /// D1 databases.
    pub databases: Vec<Database>,
    /// R2 buckets.
    pub buckets: Vec<Bucket>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Those that were deleted, the last time of each.
    pub deleted: Vec<Deleted>,
}

/// A store that is gone. There may be another of the same name since, which must not find its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Which one.
    pub store: Store,
    /// What the account's `serving` was from then on.
    pub serving: u64,
}

/// What an upload that binds an unknown store does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownStores {
    /// It creates it, for people who try an example. Cloudflare never does.
    #[default]
    Created,
    /// It is refused, as by Cloudflare.
    Refused,
}

/// A KV namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvNamespace {
    /// 32 hex digits.
    pub id: String,
    /// Unique in the account.
    pub title: String,
}

/// A D1 database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its id.
    pub uuid: String,
    /// Unique in the account.
    pub name: String,
    /// When it was created.
    pub created_at: String,
}

/// An R2 bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Unique in the account, and its only id.
    pub name: String,
    /// When it was created.
    pub created_on: String,
}

impl Stores {
    /// Every store, as the runtime knows it.
    pub fn all(&self) -> BTreeSet<Store> {
        let kv = self.kv.iter().map(|ns| (StoreKind::Kv, &ns.id));
        let databases = self.databases.iter().map(|db| (StoreKind::D1, &db.uuid));
        let buckets = self.buckets.iter().map(|b| (StoreKind::R2, &b.name));
        let queues = self.queues.iter().map(|q| (StoreKind::Queue, &q.name));
        let all = kv.chain(databases).chain(buckets).chain(queues);
        all.map(|(kind, key)| Store {
            kind,
            key: key.clone(),
        })
        .collect()
    }

    fn note_deleted(&mut self, store: Store, serving: u64) {
        self.deleted.retain(|deleted| deleted.store != store);
        self.deleted.push(Deleted { store, serving });
    }

    /// The stores of the account after it was cleared: none, and what is known of those that were.
    pub fn cleared(&mut self, serving: u64) -> Self {
        for store in self.all() {
            self.note_deleted(store, serving);
        }
        Self {
            deleted: std::mem::take(&mut self.deleted),
            ..Self::default()
        }
    }

    /// The namespace with an id.
    pub fn kv(&self, id: &str) -> Result<&KvNamespace, ApiFailure> {
        let found = self.kv.iter().find(|ns| ns.id == id);
        found.ok_or_else(|| ApiFailure::new(404, 10013, "get namespace: 'namespace not found'"))
    }

    /// The database with an id.
    pub fn database(&self, uuid: &str) -> Result<&Database, ApiFailure> {
        let found = self.databases.iter().find(|db| db.uuid == uuid);
        found.ok_or_else(|| {
            ApiFailure::new(404, 7404, format!("The database {uuid} could not be found"))
        })
    }

    /// The bucket with a name.
    pub fn bucket(&self, name: &str) -> Result<&Bucket, ApiFailure> {
        let found = self.buckets.iter().find(|bucket| bucket.name == name);
        found.ok_or_else(|| ApiFailure::new(404, 10006, "The specified bucket does not exist."))
    }
}

pub(super) fn check_given(what: &str, name: &str) -> Result<(), ApiFailure> {
    if name.trim().is_empty() {
        return Err(ApiFailure::invalid(format!("A {what} must not be empty.")));
    }
    Ok(())
}

impl Account {
    /// Creates a KV namespace.
    pub fn create_kv(&mut self, title: &str) -> Result<KvNamespace, ApiFailure> {
        check_given("title", title)?;
        self.check_title(title)?;
        let namespace = KvNamespace {
            id: self.issue_id(),
            title: title.into(),
        };
        self.stores.kv.push(namespace.clone());
        self.store_added();
        Ok(namespace)
    }

    /// Gives a KV namespace another title.
    pub fn rename_kv(&mut self, id: &str, title: &str) -> Result<KvNamespace, ApiFailure> {
        if self.stores.kv(id)?.title != title {
            check_given("title", title)?;
            self.check_title(title)?;
        }
        let found = self.stores.kv.iter_mut().find(|ns| ns.id == id);
        let namespace = found.expect("looked up above");
        namespace.title = title.into();
        Ok(namespace.clone())
    }

    fn check_title(&self, title: &str) -> Result<(), ApiFailure> {
        if self.stores.kv.iter().any(|ns| ns.title == title) {
            return Err(ApiFailure::refused(
                10014,
                "a namespace with this account ID and title already exists",
            ));
        }
        Ok(())
    }

    /// Deletes a KV namespace with its data.
    pub fn delete_kv(&mut self, id: &str) -> Result<(), ApiFailure> {
        self.stores.kv(id)?;
        self.stores.kv.retain(|ns| ns.id != id);
        self.store_deleted(StoreKind::Kv, id);
        Ok(())
    }

    /// Creates a D1 database.
    pub fn create_database(&mut self, name: &str, now: &str) -> Result<Database, ApiFailure> {
        check_given("name", name)?;
        if self.stores.databases.iter().any(|db| db.name == name) {
            return Err(ApiFailure::refused(
                7502,
                format!("Database with name: '{name}' already exists"),
            ));
        }
        let mut uuid = self.issue_id();
        for dash in [20, 16, 12, 8] {
            uuid.insert(dash, '-');
        }
        let database = Database {
            uuid,
            name: name.into(),
            created_at: now.into(),
        };
        self.stores.databases.push(database.clone());
        self.store_added();
        Ok(database)
    }

    /// Deletes a D1 database with its data.
    pub fn delete_database(&mut self, uuid: &str) -> Result<(), ApiFailure> {
        self.stores.database(uuid)?;
        self.stores.databases.retain(|db| db.uuid != uuid);
        self.store_deleted(StoreKind::D1, uuid);
        Ok(())
    }

    /// Creates an R2 bucket.
    pub fn create_bucket(&mut self, name: &str, now: &str) -> Result<Bucket, ApiFailure> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let allowed = |c: char| plain(c) || c == '-';
        if !(3..=63).contains(&name.len())
            || !name.chars().all(allowed)
            || !name.starts_with(plain)
            || !name.ends_with(plain)
        {
            return Err(ApiFailure::refused(
                10005,
                "The specified bucket name is not valid.",
            ));
        }
        if self.stores.bucket(name).is_ok() {
            return Err(ApiFailure::new(
                409,
                10004,
                "The bucket you tried to create already exists, and you own it.",
            ));
        }
        let bucket = Bucket {
            name: name.into(),
            created_on: now.into(),
        };
        self.stores.buckets.push(bucket.clone());
        self.store_added();
        Ok(bucket)
    }

    /// Deletes an R2 bucket, which the caller has found to be empty.
    pub fn delete_bucket(&mut self, name: &str) -> Result<(), ApiFailure> {
        self.stores.bucket(name)?;
        self.stores.buckets.retain(|bucket| bucket.name != name);
        self.store_deleted(StoreKind::R2, name);
        Ok(())
    }

    /// Finds the stores that bindings of an upload name. Those that are not there are created or refused.
    pub fn bind_stores(&mut self, bindings: &[Binding], now: &str) -> Result<(), ApiFailure> {
        for binding in bindings {
            let Some(Store { kind, key }) = store_of(binding) else {
                continue;
            };
            let stores = &self.stores;
            let known = match kind {
                StoreKind::Kv => stores.kv(&key).is_ok(),
                StoreKind::D1 => stores.database(&key).is_ok(),
                StoreKind::R2 => stores.bucket(&key).is_ok(),
                StoreKind::Queue => stores.has_queue(&key),
            };
            if known {
                continue;
            }
            if stores.unknown == UnknownStores::Refused {
                return Err(not_found(kind, &binding.name, &key));
            }
            let created = now.to_owned();
            match kind {
                StoreKind::Kv => self.stores.kv.push(KvNamespace {
                    title: format!("created for binding {key}"),
                    id: key,
                }),
                StoreKind::D1 => self.stores.databases.push(Database {
                    name: format!("created-for-binding-{key}"),
                    uuid: key,
                    created_at: created,
                }),
                StoreKind::R2 => self.stores.buckets.push(Bucket {
                    name: key,
                    created_on: created,
                }),
                StoreKind::Queue => self.find_queue(&key, now)?,
            }
            self.store_added();
        }
        Ok(())
    }

    pub(super) fn store_deleted(&mut self, kind: StoreKind, key: &str) {
        self.serving += 1;
        let store = Store {
            kind,
            key: key.into(),
        };
        self.stores.note_deleted(store, self.serving);
    }

    /// The engines are there only when there is something for them to keep; only the first store changes that.
    pub(super) fn store_added(&mut self) {
        if self.stores.all().len() == 1 {
            self.serving += 1;
        }
    }
}

/// The store that a binding names.
pub fn store_of(binding: &Binding) -> Option<Store> {
    let (kind, key) = match binding.kind.as_str() {
        "kv_namespace" => (StoreKind::Kv, binding.text("namespace_id")),
        "d1" => (
            StoreKind::D1,
            binding.text("database_id").or(binding.text("id")),
        ),
        "r2_bucket" => (StoreKind::R2, binding.text("bucket_name")),
        "queue" => (StoreKind::Queue, binding.text("queue_name")),
        _ => return None,
    };
    Some(Store {
        kind,
        key: key?.into(),
    })
}

fn not_found(kind: StoreKind, binding: &str, key: &str) -> ApiFailure {
    match kind {
        StoreKind::Kv => ApiFailure::refused(10041, format!("KV namespace '{key}' not found.")),
        StoreKind::D1 => ApiFailure::refused(
            10181,
            format!("D1 binding '{binding}' references database '{key}' which was not found."),
        ),
        StoreKind::R2 => ApiFailure::refused(10085, format!("R2 bucket '{key}' not found.")),
        StoreKind::Queue => no_queue(400, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-01T10:00:00.000000Z";
    const ID: &str = "00000000000000000000000000000abc";

    fn binding(members: Value) -> Binding {
        let members = members.as_object().expect("it is an object").clone();
        let text = |name: &str| members[name].as_str().expect("it is text").to_owned();
        Binding {
            name: text("name"),
            kind: text("type"),
            target: super::super::bindings::Target::Elsewhere,
            members,
        }
    }

    fn bindings() -> [Binding; 4] {
        [
            json!({"name": "KV", "type": "kv_namespace", "namespace_id": ID}),
            json!({"name": "DB", "type": "d1", "id": "a-database"}),
            json!({"name": "FILES", "type": "r2_bucket", "bucket_name": "files"}),
            json!({"name": "JOBS", "type": "queue", "queue_name": "jobs"}),
        ]
        .map(binding)
    }

    #[test]
    fn a_binding_to_an_unknown_store_creates_it_once() {
        let mut account = Account::new("account", "seed");
        account.bind_stores(&bindings(), NOW).expect("created");
        let stores = account.stores.all();
        assert_eq!(stores.len(), 4);
        account.bind_stores(&bindings(), NOW).expect("found");
        assert_eq!(account.stores.all(), stores);
    }

    #[test]
    fn a_strict_account_refuses_each_unknown_store_in_cloudflares_words() {
        let mut account = Account::new("account", "seed");
        account.stores.unknown = UnknownStores::Refused;
        let refusals = bindings().map(|binding| {
            account
                .bind_stores(&[binding], NOW)
                .expect_err("it is unknown")
                .to_string()
        });
        assert_eq!(
            refusals,
            [
                format!("400: 10041 KV namespace '{ID}' not found."),
                "400: 10181 D1 binding 'DB' references database 'a-database' which was not found."
                    .into(),
                "400: 10085 R2 bucket 'files' not found.".into(),
                "400: 11000 Queue 'jobs' not found.".into(),
            ]
        );
        assert!(account.stores.all().is_empty());
    }

    #[test]
    fn names_are_unique_and_only_the_first_store_changes_what_is_served() {
        let mut account = Account::new("account", "seed");
        let serving = account.serving;
        account.create_kv("cache").expect("created");
        assert_eq!(account.serving, serving + 1);
        account.create_database("cache", NOW).expect("created");
        account.create_bucket("cache", NOW).expect("created");
        account.create_queue("cache", NOW).expect("created");
        assert_eq!(account.serving, serving + 1);
        let code = |failure: ApiFailure| failure.errors[0].code;
        let refused = [
            account.create_kv("cache").map(drop).map_err(code),
            account
                .create_database("cache", NOW)
                .map(drop)
                .map_err(code),
            account.create_bucket("cache", NOW).map(drop).map_err(code),
            account.create_queue("cache", NOW).map(drop).map_err(code),
            account.create_bucket("No", NOW).map(drop).map_err(code),
        ];
        assert_eq!(
            refused,
            [10014, 7502, 10004, 11009, 10005].map(Err::<(), u32>)
        );
    }
}
