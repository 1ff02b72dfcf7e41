//! Which Worker is ours: the mark, our tag among the script tags, and the private data beside the state.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cloudflare::{ListedScript, Service};
use crate::durable::plan::{Leaving, Upload};
use crate::durable::tag::{self, AlchemyTarget, Claim, Decoded, OurTag, TagId};
use crate::durable::{ClassName, NamespaceId, StableId};
use crate::tf::Diagnostic;

/// Cloudflare takes ten tags from a Worker.
const TAGS: usize = 10;

/// What is kept beside the state, and handed from plan to apply. Not shown to anybody, but not secret either.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// The mark that our create or adoption wrote into the Worker's tag.
    pub mark: Option<String>,
    /// Cloudflare's hash of the content after our last finished upload.
    pub etag: Option<String>,
    /// Whether the state comes from an import that no Read has completed.
    pub imported: bool,
    /// Classes whose stable ID the Worker's tag has as a hash only: an import cannot show it, but a configuration can name it.
    pub hashed: Vec<HashedClaim>,
    /// What apply has to do; only in planned private data.
    pub planned: Option<Planned>,
}

/// A class, and the stable ID that it has, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedClaim {
    /// The class.
    pub class: String,
    hash: [u8; 12],
}

impl HashedClaim {
    /// Whether it is this stable ID.
    pub fn names(&self, stable_id: &StableId) -> bool {
        TagId::Hash(self.hash).names(stable_id)
    }
}

/// What script tags say of classes whose stable ID they have as a hash only.
pub fn hashed_claims(tags: &[String]) -> Vec<HashedClaim> {
    let claims = decode(tags).ours.map(|ours| ours.claims);
    let hashed = claims.into_iter().flatten().filter_map(|claim| {
        let TagId::Hash(hash) = claim.stable_id else {
            return None;
        };
        let class = claim.class.to_string();
        Some(HashedClaim { class, hash })
    });
    hashed.collect()
}

/// The part of a plan that people do not see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Planned {
    /// How the Worker comes into this state.
    pub intent: Intent,
    /// Whether a create is the second half of replacing a Worker that a state has.
    pub replaces: bool,
    /// Whether anything has to be uploaded.
    pub upload: bool,
    /// The namespaces that the Worker owned when this was planned.
    pub started_from: Vec<Owned>,
    /// The uploads that change classes, and what completes them.
    pub uploads: Vec<Upload>,
    /// The namespaces that another Worker takes over.
    pub leaving: Vec<Leaving>,
    /// What our tag shall say in the end.
    pub claims: Vec<Claim>,
    /// Whether anything about classes was unknown, so that this must not be applied.
    pub undecided: bool,
    /// The namespaces that go.
    pub deletes: Vec<Deleted>,
    /// What the class changes are called in `migrations`: the key, and the sentences.
    pub history: Option<(String, Vec<String>)>,
    /// The object of the state before, for the second plan call of a replacement.
    pub before: Option<Before>,
}

/// How a Worker comes into the planned state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// It does not exist yet.
    #[default]
    Create,
    /// It exists, and the user asks to take it over.
    Adopt,
    /// It exists because a create of ours was interrupted.
    Resume,
    /// It is in state.
    Update,
}

/// A namespace that a Worker owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owned {
    /// The class that implements it.
    pub class: String,
    /// Cloudflare's id.
    pub id: String,
}

/// A namespace that a plan deletes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Its identity.
    pub stable_id: String,
    /// The class that implements it.
    pub class: String,
    /// Cloudflare's id, where it is known.
    pub namespace_id: Option<String>,
    /// Whether deleting data is consented to.
    pub consent: bool,
}

/// A Worker as a state had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// What it hosts.
    pub namespaces: Vec<Deleted>,
}

impl Private {
    /// Reads private data. What cannot be read counts as absent: the immutable id still identifies the Worker.
    pub fn decode(bytes: &[u8]) -> Private {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// Writes private data.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What is kept when a plan has been carried out.
    pub fn kept(&self) -> Private {
        Private {
            planned: None,
            ..self.clone()
        }
    }
}

/// Claims, but for those of namespaces that have left.
pub fn without(claims: &[Claim], gone: &BTreeSet<StableId>) -> Vec<Claim> {
    let stays = |claim: &&Claim| !gone.iter().any(|id| claim.stable_id.names(id));
    claims.iter().filter(stays).cloned().collect()
}

/// A fresh mark.
///
/// # Errors
/// When the operating system has no random numbers.
pub fn new_mark() -> Result<String, Diagnostic> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| {
        Diagnostic::error(
            "No random numbers",
            format!("The operating system refused: {error}."),
        )
    })?;
    Ok(hex::encode(bytes))
}

/// What a Worker's script tags say.
pub fn decode(tags: &[String]) -> Decoded {
    tag::decode(tags.iter().map(String::as_str))
}

/// All script tags of a Worker: the foreign ones as they are, and ours. What found no room comes second.
pub fn all_tags(foreign: &[String], ours: &OurTag) -> (Vec<String>, Vec<TagId>) {
    let encoded = tag::encode(ours, TAGS.saturating_sub(foreign.len()));
    let mut tags = foreign.to_vec();
    tags.extend(encoded.tags);
    (tags, encoded.left_out)
}

/// The stable ID that a Worker's tags give to a class. `bindings` are (name, class) of its own Durable Object bindings, by
/// which older tags of alchemy name a class.
pub fn stable_id_of<'a>(
    class: &ClassName,
    decoded: &Decoded,
    bindings: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<StableId> {
    if let Some(ours) = &decoded.ours {
        let claim = ours.claims.iter().find(|claim| claim.class == *class);
        return claim.and_then(|claim| claim.stable_id.exact().cloned());
    }
    let bound: Vec<&str> = bindings
        .into_iter()
        .filter(|(_, bound)| *bound == class.as_str())
        .map(|(name, _)| name)
        .collect();
    let mut ids = decoded
        .alchemy
        .iter()
        .filter_map(|claim| match &claim.target {
            AlchemyTarget::Class(claimed) => (claimed == class).then_some(&claim.stable_id),
            AlchemyTarget::Binding(name) => {
                bound.contains(&name.as_str()).then_some(&claim.stable_id)
            }
        });
    let id = ids.next()?;
    // Two IDs for one class: neither can be believed.
    ids.all(|other| other == id).then(|| id.clone())
}

/// Whose Worker a live one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one in state.
    Ours,
    /// Another one, which must not be touched.
    Another,
}

/// Tells whether a live Worker is the one in state: by the mark, or where one side has none, by the immutable id.
pub fn whose(live: &Service, mark: Option<&str>, worker_id: Option<&str>) -> Whose {
    judge(&live.tags, Some(&live.worker_id), mark, worker_id)
}

/// The same of a Worker in the listing.
pub fn whose_listed(live: &ListedScript, mark: Option<&str>, worker_id: Option<&str>) -> Whose {
    judge(&live.tags, live.worker_id.as_deref(), mark, worker_id)
}

fn judge(
    live_tags: &[String],
    live_id: Option<&str>,
    mark: Option<&str>,
    worker_id: Option<&str>,
) -> Whose {
    let live_mark = decode(live_tags)
        .ours
        .map(|ours| ours.mark)
        .filter(|mark| !mark.is_empty());
    let same = match (live_mark.as_deref(), mark) {
        (Some(live), Some(ours)) => live == ours,
        _ => worker_id.is_none_or(|id| Some(id) == live_id),
    };
    if same { Whose::Ours } else { Whose::Another }
}

/// A namespace as private data keeps it.
pub fn owned(class: &ClassName, id: &NamespaceId) -> Owned {
    Owned {
        class: class.to_string(),
        id: id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::ScriptName;

    fn service(tags: Vec<String>, worker_id: &str) -> Service {
        Service {
            name: ScriptName::from_api("chat"),
            worker_id: worker_id.to_owned(),
            tags,
            etag: None,
            migration_tag: None,
            compatibility_date: None,
            compatibility_flags: Vec::new(),
            last_deployed_from: None,
            has_assets: false,
            has_modules: true,
        }
    }

    #[test]
    fn the_mark_decides_whose_worker_it_is_and_the_id_where_there_is_none() {
        let ours = OurTag {
            mark: "m1".into(),
            ..OurTag::default()
        };
        let (tags, _) = all_tags(&["team:x".to_owned()], &ours);
        assert_eq!(
            whose(&service(tags.clone(), "id1"), Some("m1"), Some("other")),
            Whose::Ours
        );
        assert_eq!(
            whose(&service(tags.clone(), "id1"), Some("m2"), Some("id1")),
            Whose::Another
        );
        assert_eq!(
            whose(&service(tags, "id1"), None, Some("id2")),
            Whose::Another
        );
        assert_eq!(
            whose(&service(Vec::new(), "id1"), Some("m1"), Some("id1")),
            Whose::Ours
        );
    }

    #[test]
    fn private_data_survives_being_written_and_read() {
        let class = ClassName::from_api("A");
        let claim = Claim::new(&StableId::new("x").expect("a stable ID"), &class);
        let upload = Upload {
            migration: None,
            owned: vec![claim],
            aliases: Vec::new(),
            left_out: ["ROOMS".to_owned()].into(),
            awaits: vec![class],
            reuses_names: true,
        };
        let private = Private {
            mark: Some("m".into()),
            planned: Some(Planned {
                uploads: vec![upload],
                ..Planned::default()
            }),
            ..Private::default()
        };
        assert_eq!(Private::decode(&private.encode()), private);
        assert_eq!(Private::decode(b"not json"), Private::default());
    }

    #[test]
    fn a_class_gets_its_stable_id_from_our_tag_or_from_alchemys() {
        let class = ClassName::from_api("Room");
        let tags = vec!["alchemy:do:chat:rooms:ROOMS".to_owned()];
        let id = stable_id_of(&class, &decode(&tags), [("ROOMS", "Room")]);
        assert_eq!(id.map(|id| id.to_string()).as_deref(), Some("chat:rooms"));
        assert_eq!(
            stable_id_of(&class, &decode(&tags), [("OTHER", "Room")]),
            None
        );
    }
}
