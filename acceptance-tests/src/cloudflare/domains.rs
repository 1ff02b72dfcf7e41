//! Custom domains: host names that belong to a Worker as a whole. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::account::Account;
use super::failure::ApiFailure;
use super::routes::{Zone, is_domain};

/// A host name that a Worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// 32 hex digits.
    pub id: String,
    /// The host name.
    pub hostname: String,
    /// The immutable id of the Worker.
    pub worker: String,
    /// The zone it is in.
    pub zone: String,
    /// The certificate, which local Cloudflare does not have.
    pub certificate: String,
    /// Whether it is answered.
    pub enabled: bool,
    /// Whether previews of versions are answered below it.
    pub previews_enabled: bool,
}

/// A domain as a request describes it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DomainDraft {
    /// The host name.
    pub hostname: String,
    /// The zone by id.
    pub zone_id: Option<String>,
    /// The zone by name.
    pub zone_name: Option<String>,
    /// Whether it is answered.
    pub enabled: Option<bool>,
    /// Whether previews of versions are answered below it.
    pub previews_enabled: Option<bool>,
}

/// What a set of domains would change for a Worker.
#[derive(Clone, Debug, Default)]
pub struct Changeset {
    /// Domains that nobody has.
    pub added: Vec<Value>,
    /// Domains that somebody has, each with whether it changes.
    pub updated: Vec<Value>,
    /// Domains that the Worker would lose.
    pub removed: Vec<Value>,
}

impl Account {
    /// The domain with an id: 100114 if there is none.
    pub fn domain(&self, id: &str) -> Result<&Domain, ApiFailure> {
        let found = self.domains.iter().find(|domain| domain.id == id);
        found.ok_or_else(|| {
            ApiFailure::new(
                404,
                100114,
                "The specified custom domain could not be found.",
            )
        })
    }

    /// The domains of the Worker with an immutable id.
    pub fn domains_of<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Domain> {
        self.domains
            .iter()
            .filter(move |domain| domain.worker == tag)
    }

    /// A domain as the API shows it.
    pub fn shown_domain(&self, domain: &Domain) -> Value {
        json!({
            "id": domain.id,
            "hostname": domain.hostname,
            "service": self.name_of(&domain.worker),
            "environment": "production",
            "zone_id": domain.zone,
            "zone_name": self.zone(&domain.zone).map(|zone| &zone.name),
            "cert_id": domain.certificate,
            "enabled": domain.enabled,
            "previews_enabled": domain.previews_enabled,
        })
    }

    /// Gives a host name to a Worker. One that another Worker has is taken over only with `override_origin` (100116).
    pub fn put_domain(
        &mut self,
        script: &str,
        draft: &DomainDraft,
        override_origin: bool,
    ) -> Result<Domain, ApiFailure> {
        let worker = self.worker(script).ok_or_else(ApiFailure::no_worker)?;
        let worker = worker.tag.clone();
        let zone = self.zone_for(draft)?.id.clone();
        let former = self
            .domains
            .iter()
            .position(|domain| domain.hostname == draft.hostname);
        if let Some(at) = former
            && self.domains[at].worker != worker
            && !override_origin
        {
            return Err(ApiFailure::new(
                409,
                100116,
                format!(
                    "Hostname '{}' already in use by other custom domain. Either delete it, try a different hostname, \
                     or use the option 'override_existing_origin' to override.",
                    draft.hostname
                ),
            ));
        }
        let at = former.unwrap_or_else(|| {
            let (id, certificate) = (self.issue_id(), uuid(&self.issue_id()));
            self.domains.push(Domain {
                id,
                hostname: draft.hostname.clone(),
                worker: String::new(),
                zone: String::new(),
                certificate,
                enabled: true,
                previews_enabled: false,
            });
            self.domains.len() - 1
        });
        let domain = &mut self.domains[at];
        domain.worker = worker;
        domain.zone = zone;
        domain.enabled = draft.enabled.unwrap_or(domain.enabled);
        domain.previews_enabled = draft.previews_enabled.unwrap_or(domain.previews_enabled);
        Ok(domain.clone())
    }

    /// Gives host names to a Worker; with `only`, those that are not among them are taken from it.
    pub fn put_domains(
        &mut self,
        script: &str,
        drafts: &[DomainDraft],
        override_origin: bool,
        only: bool,
    ) -> Result<Vec<Domain>, ApiFailure> {
        let worker = self.worker(script).ok_or_else(ApiFailure::no_worker)?;
        let worker = worker.tag.clone();
        if only {
            self.domains.retain(|domain| {
                domain.worker != worker
                    || drafts.iter().any(|draft| draft.hostname == domain.hostname)
            });
        }
        drafts
            .iter()
            .map(|draft| self.put_domain(script, draft, override_origin))
            .collect()
    }

    /// What [`Self::put_domains`] would change, nothing left out.
    pub fn domain_changes(
        &self,
        script: &str,
        drafts: &[DomainDraft],
        only: bool,
    ) -> Result<Changeset, ApiFailure> {
        let worker = self.worker(script).ok_or_else(ApiFailure::no_worker)?;
        let mut changes = Changeset::default();
        for draft in drafts {
            let zone = self.zone_for(draft)?;
            let former = self
                .domains
                .iter()
                .find(|domain| domain.hostname == draft.hostname);
            match former {
                Some(domain) => {
                    let mut shown = self.shown_domain(domain);
                    shown["modified"] = json!(domain.worker != worker.tag);
                    changes.updated.push(shown);
                }
                None => changes.added.push(json!({
                    "id": "",
                    "hostname": draft.hostname,
                    "service": script,
                    "environment": "production",
                    "zone_id": zone.id,
                    "zone_name": zone.name,
                })),
            }
        }
        let kept = |domain: &Domain| drafts.iter().any(|draft| draft.hostname == domain.hostname);
        let lost = self
            .domains
            .iter()
            .filter(|domain| only && domain.worker == worker.tag && !kept(domain));
        changes.removed = lost.map(|domain| self.shown_domain(domain)).collect();
        Ok(changes)
    }

    /// Takes a host name from its Worker.
    pub fn delete_domain(&mut self, id: &str) -> Result<(), ApiFailure> {
        self.domain(id)?;
        self.domains.retain(|domain| domain.id != id);
        Ok(())
    }

    /// The zone that a request names, or that its host name is in: 100117 if there is none.
    fn zone_for(&self, draft: &DomainDraft) -> Result<&Zone, ApiFailure> {
        let host = draft.hostname.as_str();
        if !is_domain(host) {
            return Err(ApiFailure::invalid(format!(
                "Hostname '{host}' is not valid."
            )));
        }
        let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let found = match (given(&draft.zone_id), given(&draft.zone_name)) {
            (Some(id), _) => self.zone(&id),
            (None, Some(name)) => self.zones.iter().find(|zone| zone.name == name),
            (None, None) => self.zone_of(host),
        };
        found.filter(|zone| zone.covers(host)).ok_or_else(|| {
            ApiFailure::new(
                404,
                100117,
                format!("No zone of this account was found for hostname '{host}'."),
            )
        })
    }
}

/// 32 hex digits in the form of a UUID.
fn uuid(id: &str) -> String {
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}
