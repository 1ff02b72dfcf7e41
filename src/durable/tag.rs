//! The script tags in which a Worker says which stable ID each of its classes has.
//!
//! Tags are evidence that anybody can edit: a set that is incomplete, contradictory or of another version claims nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ClassName, StableId};

/// Cloudflare's limits, measured: the eleventh tag and the 1025th byte are refused.
const TAGS_PER_WORKER: usize = 10;
const TAG_BYTES: usize = 1024;

/// `dons<version>:<index>/<count>:<check>:<piece>`. The pieces of all tags together are
/// `<mark>;<content hash>;<flags>` and then, for each claim, `;<stable ID>=<class>`, or `;<stable ID>` where both are the same,
/// or `;<hash of the stable ID>*<class>`. A piece may end anywhere; the check covers them all.
const PREFIX: &str = "dons";
const VERSION: &str = "1";
const UNFINISHED: &str = "u";

/// Of a tag, what is left for its piece after the longest head.
const PIECE_BYTES: usize = TAG_BYTES - "dons1:10/10:".len() - CHECK_CHARACTERS - ":".len();
const CHECK_CHARACTERS: usize = 8;
const HASH_CHARACTERS: usize = 16;

/// What stays readable. Neither the separators of our format nor `,` and `&`, which Cloudflare refuses.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b':')
    .remove(b'/')
    .remove(b'@');

/// A stable ID as a tag carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TagId {
    /// Its text.
    Exact(StableId),
    /// 96 bits of the hash of a long one.
    Hash([u8; 12]),
}

impl TagId {
    /// Whether this stands for the given stable ID.
    pub fn names(&self, stable_id: &StableId) -> bool {
        match self {
            Self::Exact(exact) => exact == stable_id,
            Self::Hash(hash) => *hash == hash_of(stable_id),
        }
    }

    /// The text, where the tag has it.
    pub fn exact(&self) -> Option<&StableId> {
        match self {
            Self::Exact(exact) => Some(exact),
            Self::Hash(_) => None,
        }
    }

    fn hash(&self) -> [u8; 12] {
        match self {
            Self::Exact(exact) => hash_of(exact),
            Self::Hash(hash) => *hash,
        }
    }
}

impl fmt::Display for TagId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => exact.fmt(f),
            Self::Hash(hash) => write!(f, "(hash {})", URL_SAFE_NO_PAD.encode(hash)),
        }
    }
}

/// That a script owns a class under a stable ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Whose namespace it is.
    pub stable_id: TagId,
    /// The class that implements it.
    pub class: ClassName,
}

impl Claim {
    /// The claim of a class for a stable ID. The tag may shorten the ID to its hash.
    pub fn new(stable_id: &StableId, class: &ClassName) -> Self {
        Self {
            stable_id: TagId::Exact(stable_id.clone()),
            class: class.clone(),
        }
    }
}

/// What our tag says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OurTag {
    /// The random text that tells the Worker we made from one that merely has its name or id.
    pub mark: String,
    /// The hash of what was uploaded with this tag.
    pub content_hash: Option<String>,
    /// Whether further uploads were planned after this one.
    pub unfinished: bool,
    /// Every class with a known stable ID that the script owns.
    pub claims: Vec<Claim>,
}

/// Our tag as script tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The script tags.
    pub tags: Vec<String>,
    /// Claims that found no room.
    pub left_out: Vec<TagId>,
}

/// What the script tags of a Worker say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Our tag, if it is whole and free of contradiction.
    pub ours: Option<OurTag>,
    /// Whether there are tags of ours that cannot be trusted.
    pub damaged: bool,
    /// Every tag that is not ours, alchemy's included, in the order given and unchanged.
    pub foreign: Vec<String>,
    /// What alchemy's tags say.
    pub alchemy: Vec<AlchemyClaim>,
}

/// That alchemy gave a stable ID to a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlchemyClaim {
    /// Alchemy's id of the namespace.
    pub stable_id: StableId,
    /// How its tag points at the namespace.
    pub target: AlchemyTarget,
}

/// What a tag of alchemy names beside the stable ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlchemyTarget {
    /// Version 0.94: the name of the binding.
    Binding(String),
    /// Version 2: the class.
    Class(ClassName),
}

/// Packs our tag into as few script tags as possible, at most `free_slots`.
///
/// Stable IDs stay readable as long as that costs no further tag; beyond, the longest ones become hashes.
pub fn encode(tag: &OurTag, free_slots: usize) -> Encoded {
    let head = format!(
        "{};{};{}",
        escape(&tag.mark),
        escape(tag.content_hash.as_deref().unwrap_or_default()),
        if tag.unfinished { UNFINISHED } else { "" }
    );
    let room = free_slots.min(TAGS_PER_WORKER) * PIECE_BYTES;
    let mut left_out = Vec::new();
    if head.len() > room {
        left_out.extend(tag.claims.iter().map(|claim| claim.stable_id.clone()));
        left_out.sort();
        return Encoded {
            tags: Vec::new(),
            left_out,
        };
    }

    let mut records = Vec::new();
    let mut shortest = head.len();
    for claim in agreed(&tag.claims, &mut left_out) {
        let record = Record::new(claim);
        if shortest + record.shortest() > room {
            left_out.push(claim.stable_id.clone());
            continue;
        }
        shortest += record.shortest();
        records.push(record);
    }

    let fewest = shortest.div_ceil(PIECE_BYTES);
    let mut length = head.len()
        + records
            .iter()
            .map(|record| record.text.len())
            .sum::<usize>();
    let mut by_saving: Vec<usize> = (0..records.len()).collect();
    by_saving.sort_by_key(|&index| std::cmp::Reverse(records[index].saving()));
    for index in by_saving {
        if length.div_ceil(PIECE_BYTES) <= fewest {
            break;
        }
        length -= records[index].saving();
        records[index].shorten();
    }

    let mut payload = head;
    records
        .iter()
        .for_each(|record| payload.push_str(&record.text));
    left_out.sort();
    Encoded {
        tags: in_pieces(&payload),
        left_out,
    }
}

/// The claims in order, without those that contradict another: these would make the reader distrust the whole tag.
fn agreed<'a>(claims: &'a [Claim], left_out: &mut Vec<TagId>) -> Vec<&'a Claim> {
    let claims: BTreeSet<&Claim> = claims.iter().collect();
    let mut ids = BTreeMap::<_, usize>::new();
    let mut classes = BTreeMap::<_, usize>::new();
    for claim in &claims {
        *ids.entry(claim.stable_id.hash()).or_default() += 1;
        *classes.entry(&claim.class).or_default() += 1;
    }
    let mut agreed = Vec::new();
    for claim in claims {
        let alone = ids[&claim.stable_id.hash()] == 1 && classes[&claim.class] == 1;
        if alone && !claim.class.as_str().is_empty() {
            agreed.push(claim);
        } else {
            left_out.push(claim.stable_id.clone());
        }
    }
    agreed
}

/// One claim, with its separator.
struct Record {
    text: String,
    hashed: String,
}

impl Record {
    fn new(claim: &Claim) -> Self {
        let class = escape(claim.class.as_str());
        let hashed = format!(
            ";{}*{class}",
            URL_SAFE_NO_PAD.encode(claim.stable_id.hash())
        );
        let text = match &claim.stable_id {
            TagId::Hash(_) => hashed.clone(),
            TagId::Exact(id) if id.as_str() == claim.class.as_str() => format!(";{class}"),
            TagId::Exact(id) => format!(";{}={class}", escape(id.as_str())),
        };
        Self { text, hashed }
    }
    fn shortest(&self) -> usize {
        self.text.len().min(self.hashed.len())
    }
    fn saving(&self) -> usize {
        self.text.len() - self.shortest()
    }
    fn shorten(&mut self) {
        if self.hashed.len() < self.text.len() {
            self.text.clone_from(&self.hashed);
        }
    }
}

fn in_pieces(payload: &str) -> Vec<String> {
    let check = check_of(payload);
    let count = payload.len().div_ceil(PIECE_BYTES);
    let pieces = payload.as_bytes().chunks(PIECE_BYTES).enumerate();
    pieces
        .map(|(index, piece)| {
            let piece = std::str::from_utf8(piece).expect("everything but ASCII is escaped");
            format!("{PREFIX}{VERSION}:{}/{count}:{check}:{piece}", index + 1)
        })
        .collect()
}

/// Reads the script tags of a Worker. Their order does not matter.
pub fn decode<'a>(tags: impl IntoIterator<Item = &'a str>) -> Decoded {
    let mut decoded = Decoded::default();
    let mut ours = BTreeSet::new();
    let mut alchemy = BTreeSet::new();
    for tag in tags {
        if is_ours(tag) {
            ours.insert(tag);
        } else {
            alchemy.extend(alchemy_claims(tag));
            decoded.foreign.push(tag.to_owned());
        }
    }
    decoded.alchemy = undisputed(alchemy);
    decoded.ours = joined(&ours).as_deref().and_then(parse);
    decoded.damaged = !ours.is_empty() && decoded.ours.is_none();
    decoded
}

/// Ours of any version: what a newer one wrote is ours to replace, though not ours to read.
fn is_ours(tag: &str) -> bool {
    let Some((version, _)) = tag
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once(':'))
    else {
        return false;
    };
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
}

/// The payload, if the tags are exactly one whole set.
fn joined(tags: &BTreeSet<&str>) -> Option<String> {
    let mut pieces = BTreeMap::new();
    let mut seen = None;
    for tag in tags {
        let mut fields = tag.strip_prefix(PREFIX)?.splitn(4, ':');
        let (version, place, check, piece) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let (index, count) = place.split_once('/')?;
        if version != VERSION || *seen.get_or_insert((count, check)) != (count, check) {
            return None;
        }
        if pieces.insert(index.parse::<usize>().ok()?, piece).is_some() {
            return None;
        }
    }
    let (count, check) = seen?;
    if count.parse() != Ok(pieces.len()) || !pieces.keys().copied().eq(1..=pieces.len()) {
        return None;
    }
    let payload: String = pieces.into_values().collect();
    (check_of(&payload) == check).then_some(payload)
}

fn parse(payload: &str) -> Option<OurTag> {
    let mut fields = payload.split(';');
    let mark = unescape(fields.next()?)?;
    let content_hash = unescape(fields.next()?)?;
    let unfinished = match fields.next()? {
        "" => false,
        UNFINISHED => true,
        _ => return None,
    };
    let claims: Vec<Claim> = fields.map(parse_claim).collect::<Option<_>>()?;
    let ids: BTreeSet<_> = claims.iter().map(|claim| claim.stable_id.hash()).collect();
    let classes: BTreeSet<_> = claims.iter().map(|claim| &claim.class).collect();
    if ids.len() < claims.len() || classes.len() < claims.len() {
        return None;
    }
    let mut tag = OurTag {
        mark,
        content_hash: Some(content_hash).filter(|hash| !hash.is_empty()),
        unfinished,
        claims,
    };
    tag.claims.sort();
    Some(tag)
}

fn parse_claim(record: &str) -> Option<Claim> {
    if let Some((hash, class)) = record.split_once('*') {
        // The decoder below also takes other lengths, which would be no hash of ours.
        let hash = (hash.len() == HASH_CHARACTERS).then(|| URL_SAFE_NO_PAD.decode(hash).ok())??;
        return Some(Claim {
            stable_id: TagId::Hash(hash.try_into().ok()?),
            class: parse_class(class)?,
        });
    }
    let (id, class) = record.split_once('=').unwrap_or((record, record));
    Some(Claim {
        stable_id: TagId::Exact(StableId::new(&unescape(id)?).ok()?),
        class: parse_class(class)?,
    })
}

fn parse_class(text: &str) -> Option<ClassName> {
    let class = unescape(text)?;
    (!class.is_empty()).then(|| ClassName::from_api(&class))
}

/// `alchemy:do:<stable ID>:<binding>` (the ID may contain colons) or `alchemy:dos:<stable ID>[=<class>];…`, percent-encoded.
fn alchemy_claims(tag: &str) -> Vec<AlchemyClaim> {
    if let Some(rest) = tag.strip_prefix("alchemy:do:") {
        let claim = rest
            .rsplit_once(':')
            .filter(|(_, binding)| !binding.is_empty())
            .and_then(|(id, binding)| {
                Some(AlchemyClaim {
                    stable_id: StableId::new(id).ok()?,
                    target: AlchemyTarget::Binding(binding.to_owned()),
                })
            });
        return claim.into_iter().collect();
    }
    let Some(rest) = tag.strip_prefix("alchemy:dos:") else {
        return Vec::new();
    };
    let claim = |record: &str| {
        let (id, class) = record.split_once('=').unwrap_or((record, record));
        let stable_id = StableId::new(&unescape(id)?).ok()?;
        Some(AlchemyClaim {
            stable_id,
            target: AlchemyTarget::Class(parse_class(class)?),
        })
    };
    rest.split(';').filter_map(claim).collect()
}

/// Without the classes that have two IDs and the IDs that have two classes.
fn undisputed(claims: BTreeSet<AlchemyClaim>) -> Vec<AlchemyClaim> {
    let disputed = |claim: &AlchemyClaim| {
        matches!(claim.target, AlchemyTarget::Class(_))
            && claims.iter().any(|other| {
                matches!(other.target, AlchemyTarget::Class(_))
                    && other != claim
                    && (other.stable_id == claim.stable_id || other.target == claim.target)
            })
    };
    claims
        .iter()
        .filter(|claim| !disputed(claim))
        .cloned()
        .collect()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn unescape(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn check_of(payload: &str) -> String {
    let mut check = URL_SAFE_NO_PAD.encode(Sha256::digest(payload.as_bytes()));
    check.truncate(CHECK_CHARACTERS);
    check
}

fn hash_of(stable_id: &StableId) -> [u8; 12] {
    let digest = Sha256::digest(stable_id.as_str().as_bytes());
    let mut hash = [0; 12];
    hash.copy_from_slice(&digest[..12]);
    hash
}

#[cfg(test)]
mod tests;
