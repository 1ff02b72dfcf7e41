//! Static assets: what a version of a Worker has, and the store of uploaded files behind it.
//!
//! Files are kept once by the hash that the client gave them, whatever its algorithm. A manifest (path to hash) is kept
//! by a hash of its own, and so is the folder that workerd serves: its files are links to the kept ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, str};

use aws_lc_rs::hmac;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::account::Plan;
use super::bindings::Binding;
use super::failure::ApiFailure;

/// The assets of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assets {
    /// The hash of the manifest.
    pub manifest: String,
    /// How they are served, as it was sent.
    pub config: Map<String, Value>,
}

/// `assets` of an upload's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssetsDraft {
    /// The token that proves that everything has been uploaded.
    pub jwt: Option<String>,
    /// How they are to be served.
    pub config: Map<String, Value>,
}

impl AssetsDraft {
    /// Reads `assets`.
    pub fn parse(value: &Value) -> Result<Self, ApiFailure> {
        let wrong = || {
            ApiFailure::invalid(
                "json: cannot unmarshal into field ScriptMetadata.assets: an object with `jwt` and `config` is expected",
            )
        };
        let fields = value.as_object().ok_or_else(wrong)?;
        let jwt = match fields.get("jwt") {
            None | Some(Value::Null) => None,
            Some(jwt) => Some(jwt.as_str().ok_or_else(wrong)?.to_owned()),
        };
        let config = match fields.get("config") {
            None | Some(Value::Null) => Map::new(),
            Some(config) => config.as_object().cloned().ok_or_else(wrong)?,
        };
        Ok(Self { jwt, config })
    }
}

/// The assets after an upload: the uploaded ones, or those of the version before if they are to be kept.
pub fn after(
    uploaded: Option<Assets>,
    draft: Option<&AssetsDraft>,
    keep: bool,
    before: Option<&Assets>,
) -> Result<Option<Assets>, ApiFailure> {
    match (uploaded, draft) {
        (Some(assets), _) => Ok(Some(assets)),
        (None, None) => Ok(before.filter(|_| keep).cloned()),
        (None, Some(draft)) => {
            let before = before.filter(|_| keep).ok_or_else(|| {
                ApiFailure::invalid("assets must have a valid `jwt` of a finished upload specified")
            })?;
            Ok(Some(Assets {
                manifest: before.manifest.clone(),
                config: draft.config.clone(),
            }))
        }
    }
}

/// An `assets` binding needs assets.
pub fn check_bindings(bindings: &[Binding], assets: Option<&Assets>) -> Result<(), ApiFailure> {
    if assets.is_none() && bindings.iter().any(|binding| binding.kind == "assets") {
        return Err(ApiFailure::invalid(
            "Cannot use an assets binding without assets",
        ));
    }
    Ok(())
}

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 32 hex digits of the client's choice.
    pub hash: String,
    /// The size in bytes.
    pub size: u64,
}

type Manifest = BTreeMap<String, Entry>;

const LARGEST_FILE: u64 = 25 << 20;

/// As much as goes into one request without coming near the largest body.
const BUCKET: u64 = 40 << 20;

/// How long a token is good.
const HOUR: u64 = 3600;

/// Reads a manifest: at most 20,000 files (100,000 if paid for) of 25 MiB each.
fn manifest(value: &Value, plan: Plan) -> Result<Manifest, ApiFailure> {
    let manifest: Manifest = value
        .get("manifest")
        .cloned()
        .and_then(|manifest| serde_json::from_value(manifest).ok())
        .ok_or_else(|| {
            ApiFailure::refused(
                10026,
                "Could not parse request body. Please ensure the request is valid and try again.",
            )
        })?;
    let limit = if plan == Plan::Free { 20_000 } else { 100_000 };
    if manifest.len() > limit {
        return Err(ApiFailure::invalid(format!(
            "The manifest has {} files; at most {limit} are allowed.",
            manifest.len()
        )));
    }
    for (path, entry) in &manifest {
        let plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.len() <= 255
                && !part.contains('\0')
        };
        if !path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(plain))
        {
            return Err(ApiFailure::invalid(format!("Invalid asset path: {path}")));
        }
        if !is_hash(&entry.hash) {
            return Err(ApiFailure::invalid(format!(
                "Invalid asset hash of {path}: 32 hexadecimal characters are expected"
            )));
        }
        if entry.size > LARGEST_FILE {
            return Err(ApiFailure::invalid(format!(
                "The asset {path} is larger than 25 MiB."
            )));
        }
    }
    Ok(manifest)
}

fn is_hash(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What a client has to do to have a manifest complete.
pub(super) struct Session {
    /// Goes with the uploads, or with the Worker if nothing is missing.
    pub(super) jwt: String,
    /// The hashes that are missing, in the groups in which they are to be sent.
    pub(super) buckets: Vec<Vec<String>>,
}

/// Uploaded files, in a folder that is not there before the first of them.
pub(super) struct AssetStore {
    folder: PathBuf,
    key: hmac::Key,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    exp: u64,
    manifest: String,
    complete: bool,
}

impl AssetStore {
    pub(super) fn new(folder: PathBuf) -> Self {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the operating system has random numbers");
        Self {
            folder,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        }
    }

    /// Registers a manifest.
    pub(super) fn begin(&self, request: &Value, plan: Plan) -> Result<Session, ApiFailure> {
        let manifest = manifest(request, plan)?;
        let text = serde_json::to_vec(&manifest).expect("strings and numbers are JSON");
        let name = hex::encode(&Sha256::digest(&text)[..16]);
        let path = self.manifest_path(&name);
        if !path.exists() {
            write(&path, &text).map_err(broken)?;
        }
        let missing = self.missing(&manifest);
        let mut buckets: Vec<Vec<String>> = Vec::new();
        let mut size = 0;
        for (hash, length) in &missing {
            match buckets.last_mut().filter(|_| size + length <= BUCKET) {
                Some(bucket) => bucket.push(hash.clone()),
                None => {
                    buckets.push(vec![hash.clone()]);
                    size = 0;
                }
            }
            size += length;
        }
        Ok(Session {
            jwt: self.sign(&name, missing.is_empty()),
            buckets,
        })
    }

    /// Keeps files of a session; the token that proves completeness if nothing is missing any more.
    pub(super) fn upload(
        &self,
        token: &str,
        files: &[(String, Bytes)],
    ) -> Result<Option<String>, ApiFailure> {
        let claims = self
            .verify(token)
            .filter(|claims| !claims.complete)
            .ok_or_else(|| ApiFailure::new(401, 10000, "Authentication error"))?;
        let manifest = self.read(&claims.manifest).map_err(broken)?;
        let expected: BTreeSet<&str> = manifest.values().map(|entry| entry.hash.as_str()).collect();
        for (hash, content) in files {
            if !expected.contains(hash.as_str()) {
                return Err(ApiFailure::invalid(format!(
                    "The file {hash} is not in the manifest of this upload."
                )));
            }
            if content.len() as u64 > LARGEST_FILE {
                return Err(ApiFailure::invalid(format!(
                    "The file {hash} is larger than 25 MiB."
                )));
            }
        }
        for (hash, content) in files {
            write(&self.file_path(hash), content).map_err(broken)?;
        }
        let complete = self.missing(&manifest).is_empty();
        Ok(complete.then(|| self.sign(&claims.manifest, true)))
    }

    /// The manifest that a token proves to be complete, its folder ready to be served.
    pub(super) fn complete(&self, token: &str) -> Result<String, ApiFailure> {
        let claims = self
            .verify(token)
            .filter(|claims| claims.complete)
            .ok_or_else(|| ApiFailure::invalid("The assets token is invalid or has expired."))?;
        self.lay_out(&claims.manifest).map_err(broken)?;
        Ok(claims.manifest)
    }

    /// The folder with the files of a manifest.
    pub(super) fn site(&self, manifest: &str) -> PathBuf {
        site(&self.folder, manifest)
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.folder.join("manifests").join(name)
    }

    fn file_path(&self, hash: &str) -> PathBuf {
        self.folder.join("files").join(hash)
    }

    fn read(&self, name: &str) -> io::Result<Manifest> {
        Ok(serde_json::from_slice(&fs::read(
            self.manifest_path(name),
        )?)?)
    }

    fn missing(&self, manifest: &Manifest) -> BTreeMap<String, u64> {
        manifest
            .values()
            .filter(|entry| !self.file_path(&entry.hash).exists())
            .map(|entry| (entry.hash.clone(), entry.size))
            .collect()
    }

    /// Makes the folder of a manifest, complete at once or not at all.
    fn lay_out(&self, name: &str) -> io::Result<()> {
        let site = self.site(name);
        if site.is_dir() {
            return Ok(());
        }
        let sites = site.parent().expect("it is below the store's folder");
        fs::create_dir_all(sites)?;
        let making = tempfile::Builder::new().tempdir_in(sites)?;
        for (path, entry) in self.read(name)? {
            let target = making.path().join(path.trim_start_matches('/'));
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = self.file_path(&entry.hash);
            // Not every file system has links.
            fs::hard_link(&file, &target).or_else(|_| fs::copy(&file, &target).map(drop))?;
        }
        match fs::rename(making.keep(), &site) {
            // Somebody else has been faster, with the same files.
            Err(_) if site.is_dir() => Ok(()),
            result => result,
        }
    }

    fn sign(&self, manifest: &str, complete: bool) -> String {
        let claims = json!({"exp": now() + HOUR, "manifest": manifest, "complete": complete});
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = hmac::sign(&self.key, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(&self, token: &str) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, text.as_bytes(), &signature).ok()?;
        let (_, claims) = text.split_once('.')?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (claims.exp > now()).then_some(claims)
    }
}

/// Where the files of a manifest are in a store's folder.
pub(super) fn site(folder: &Path, manifest: &str) -> PathBuf {
    folder.join("sites").join(manifest)
}

/// The configuration in the words of workerd's `assets` service.
pub(super) fn service_config(config: &Map<String, Value>) -> Value {
    let names = [
        ("html_handling", "html_handling"),
        ("not_found_handling", "not_found_handling"),
        ("run_worker_first", "run_worker_first"),
        ("base_path", "base_path"),
        ("_headers", "headers"),
        ("_redirects", "redirects"),
    ];
    let given = names
        .iter()
        .filter_map(|(name, known)| Some((*known, config.get(*name)?)))
        .filter(|(_, value)| !value.is_null());
    Value::Object(
        given
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect(),
    )
}

/// Writes a file that is complete whenever it can be seen.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("it is below the store's folder");
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

fn broken(error: io::Error) -> ApiFailure {
    ApiFailure::new(500, 10013, format!("The assets cannot be kept: {error}"))
}
