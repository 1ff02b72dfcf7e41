//! What answers behind KV, D1, R2 and queue bindings: one Worker beside the deployed ones, there only when the account
//! has such a store. The engines of KV, D1 and queues are workerd's own (`bundled = "/workerd/kv.js"` and so on, each
//! described at the head of its source in the binary); R2 has none there, so `r2.js` is ours. All keep their data in
//! Durable Objects, one an account's store (a queue has one for each of its shards), in the folder of all others.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use aws_lc_rs::{digest, hmac};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, json};
use tokio::time::timeout;

use super::capnp::{Config, DISK, list, quoted, service_name};
use super::gate;
use super::served::{ServedConsumer, ServedStores, ServedWorker, Store, StoreKind};

/// The socket on which the stores can be asked. The space keeps it apart from every Worker's.
pub(super) const DOOR: &str = "stores door";

/// The service of all engines, and that of the KV values which are too large for its database.
const SERVICE: &str = "stores";
const BLOBS: &str = "kv values";

/// A request of the API that takes longer has hit something that never ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most shards that workerd's engine gives a queue.
const SHARDS: usize = 1024;

impl StoreKind {
    const ALL: [Self; 4] = [Self::Kv, Self::D1, Self::R2, Self::Queue];

    /// The entrypoint that speaks the protocol of its binding, and its prop that says which store is meant.
    fn entrypoint(self) -> (&'static str, &'static str) {
        match self {
            Self::Kv => ("KV", "namespace"),
            Self::D1 => ("D1", "database"),
            Self::R2 => ("R2", "bucket"),
            Self::Queue => ("Queue", "queue"),
        }
    }

    /// The class its data lives in, and the binding that the engine has to it.
    fn class(self) -> (&'static str, &'static str) {
        match self {
            Self::Kv => ("KVNamespace", "KV_SHARD"),
            Self::D1 => ("D1Database", "DATABASE"),
            Self::R2 => ("R2Bucket", "BUCKET"),
            Self::Queue => ("QueueShard", "SHARD"),
        }
    }

    /// The key of that class, which is the name of its folder. Ids of namespaces are hex digits and longer.
    fn folder(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::D1 => "d1",
            Self::R2 => "r2",
            Self::Queue => "queue",
        }
    }
}

/// Adds the engines if there is anything for them to keep.
pub(super) fn add(
    config: &mut Config<'_>,
    workers: &[ServedWorker],
    stores: &ServedStores,
    disk: &Path,
) -> io::Result<()> {
    if stores.kept.is_empty() {
        return Ok(());
    }
    let blobs = blobs(disk);
    fs::create_dir_all(&blobs)?;
    config.disk(BLOBS, &blobs)?;

    let main = config.embed(include_bytes!("engines.js"))?;
    let r2 = config.embed(include_bytes!("r2.js"))?;
    let mut bindings = vec![format!("(name = \"BLOBS\", service = {})", quoted(BLOBS))];
    let namespaces = StoreKind::ALL.map(|kind| {
        let (class, binding) = kind.class();
        bindings.push(format!(
            "(name = \"{binding}\", durableObjectNamespace = \"{class}\")"
        ));
        format!(
            "(className = \"{class}\", uniqueKey = \"{}\", enableSql = true)",
            kind.folder()
        )
    });
    let mut consumers = Map::new();
    for (index, consumer) in stores.consumers.iter().enumerate() {
        // A queue whose consumer is gone keeps its messages until there is another.
        if workers.iter().any(|worker| worker.name == consumer.worker) {
            let binding = format!("CONSUMER_{index}");
            bindings.push(format!(
                "(name = \"{binding}\", service = {})",
                quoted(&service_name(&consumer.worker))
            ));
            consumers.insert(consumer.queue.clone(), settings(consumer, &binding));
        }
    }
    let consumers = config.embed(json!(consumers).to_string().as_bytes())?;
    bindings.push(format!("(name = \"CONSUMERS\", json = {consumers})"));

    let mut definition = format!("(name = {}, worker = (modules = [", quoted(SERVICE));
    write!(
        definition,
        "(name = \"engines.js\", esModule = {main}), (name = \"r2.js\", esModule = {r2}), \
         (name = \"kv\", bundled = \"/workerd/kv.js\"), (name = \"d1\", bundled = \"/workerd/d1.js\"), \
         (name = \"queues\", bundled = \"/workerd/queues.js\")], \
         compatibilityDate = \"2026-01-01\", \
         compatibilityFlags = [\"experimental\", \"service_binding_extra_handlers\"], \
         durableObjectNamespaces = {}, durableObjectStorage = (localDisk = {}), bindings = {}))",
        list(namespaces),
        quoted(DISK),
        list(bindings)
    )
    .expect("writing to a String cannot fail");
    config.service(definition);
    config.socket(DOOR, SERVICE);
    Ok(())
}

/// A consumer as workerd's engine wants it.
fn settings(consumer: &ServedConsumer, binding: &str) -> serde_json::Value {
    let delivery = &consumer.delivery;
    json!({
        "consumer": binding,
        "maxBatchSize": delivery.batch_size,
        "maxBatchTimeout": f64::from(delivery.max_wait_time_ms) / 1000.0,
        "maxRetries": delivery.max_retries,
        "retryDelay": delivery.retry_delay,
        "maxConcurrency": delivery.max_concurrency.unwrap_or(0),
        "deadLetterQueue": consumer.dead_letter_queue.as_deref().unwrap_or_default(),
    })
}

/// The entry of a Worker's `env`.
pub(super) fn binding(name: &str, store: &Store) -> String {
    let (entrypoint, prop) = store.kind.entrypoint();
    let props = json!({prop: store.key}).to_string();
    let service = format!(
        "(name = {}, entrypoint = \"{entrypoint}\", props = (json = {}))",
        quoted(SERVICE),
        quoted(&props)
    );
    let name = quoted(name);
    match store.kind {
        StoreKind::Kv => format!("(name = {name}, kvNamespace = {service})"),
        StoreKind::R2 => format!("(name = {name}, r2Bucket = {service})"),
        StoreKind::Queue => format!("(name = {name}, queue = {service})"),
        StoreKind::D1 => format!(
            "(name = {name}, wrapped = (moduleName = \"cloudflare-internal:d1-api\", \
             innerBindings = [(name = \"fetcher\", service = {service})]))"
        ),
    }
}

/// Passes a question on to the process.
pub(super) async fn ask(
    port: Option<u16>,
    store: &Store,
    request: Request<Bytes>,
) -> io::Result<Response<Bytes>> {
    let port = port.ok_or_else(|| io::Error::other("no store is served"))?;
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let (entrypoint, _) = store.kind.entrypoint();
    let key = utf8_percent_encode(&store.key, NON_ALPHANUMERIC);
    parts.uri = format!("http://127.0.0.1:{port}/{entrypoint}/{key}{path}")
        .parse()
        .map_err(io::Error::other)?;
    let answer = async {
        let client = gate::client();
        let response = client
            .request(Request::from_parts(parts, Body::from(body)))
            .await
            .map_err(io::Error::other)?;
        let (parts, body) = response.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX)
            .await
            .map_err(io::Error::other)?;
        Ok(Response::from_parts(parts, body))
    };
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Lets queues that hold messages see who consumes them now.
pub(super) async fn wake(disk: &Path, stores: &ServedStores, port: u16) -> io::Result<()> {
    let folder = disk.join(StoreKind::Queue.folder());
    let client = gate::client();
    for consumer in &stores.consumers {
        let queue = utf8_percent_encode(&consumer.queue, NON_ALPHANUMERIC);
        for (shard, id) in shards(&consumer.queue) {
            if folder.join(format!("{id}.sqlite")).exists() {
                let uri = format!("http://127.0.0.1:{port}/wake/{queue}/{shard}");
                let uri = uri.parse().map_err(io::Error::other)?;
                client.get(uri).await.map_err(io::Error::other)?;
            }
        }
    }
    Ok(())
}

/// Removes all data of a store. The process must not be running.
pub(super) fn remove(disk: &Path, store: &Store) -> io::Result<()> {
    let folder = store.kind.folder();
    let ids = match store.kind {
        StoreKind::Queue => shards(&store.key).map(|(_, id)| id).collect(),
        _ => vec![object_id(folder, &store.key)],
    };
    for id in ids {
        for suffix in ["sqlite", "sqlite-wal", "sqlite-shm"] {
            missing_is_fine(fs::remove_file(
                disk.join(folder).join(format!("{id}.{suffix}")),
            ))?;
        }
        if store.kind == StoreKind::Kv {
            missing_is_fine(fs::remove_dir_all(blobs(disk).join(id)))?;
        }
    }
    Ok(())
}

/// The shards that a queue can have, with the ids of their objects.
fn shards(queue: &str) -> impl Iterator<Item = (usize, String)> {
    (0..SHARDS).map(move |shard| {
        let id = object_id(StoreKind::Queue.folder(), &format!("{queue}#{shard}"));
        (shard, id)
    })
}

/// Each namespace has a folder in it, named like the id of its object.
fn blobs(disk: &Path) -> PathBuf {
    disk.join("kv-values")
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The id that workerd's `idFromName` gives: a keyed hash of the name, followed by one of that hash.
fn object_id(unique_key: &str, name: &str) -> String {
    let key = digest::digest(&digest::SHA256, unique_key.as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let base = hmac::sign(&key, name.as_bytes());
    let base = &base.as_ref()[..16];
    let check = hmac::sign(&key, base);
    hex::encode([base, &check.as_ref()[..16]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_are_those_that_workerd_gives() {
        // Seen as a file name after `idFromName("abc")` in a namespace with the unique key "kv".
        assert_eq!(
            object_id("kv", "abc"),
            "e482b8eff6954d872fcb97f9ea409faa0778baea5605248de7e1c3378b3c51db"
        );
    }
}
