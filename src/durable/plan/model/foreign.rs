//! Bindings of namespaces that other Workers host, as `src/resources/worker/foreign.rs` waits for them.

use super::cloud::Cloud;
use crate::durable::tag::Claim;
use crate::durable::{ClassName, ScriptName, StableId};

/// A binding of a class of another Worker.
#[derive(Clone)]
pub struct Foreign {
    pub binding: String,
    pub host: ScriptName,
    pub class: ClassName,
    pub stable_id: Option<StableId>,
}

impl Foreign {
    /// Whether its class is there. What the host's tag says of the stable ID counts more than that a class of that name exists.
    pub fn is_there(&self, cloud: &Cloud) -> bool {
        let Some(script) = cloud.scripts.get(&self.host) else {
            return false;
        };
        let exists = cloud.own(&self.host).contains_key(&self.class);
        match (&script.tag, &self.stable_id) {
            (Some(tag), Some(id)) => {
                let names_id = |claim: &Claim| claim.stable_id.names(id);
                let names_class = |claim: &Claim| claim.class == self.class;
                let mut claims = tag.claims.iter();
                let says_so = claims.any(|claim| names_id(claim) && names_class(claim));
                let says_nothing = !tag
                    .claims
                    .iter()
                    .any(|claim| names_id(claim) || names_class(claim));
                says_so || (says_nothing && exists)
            }
            _ => exists,
        }
    }
}
