//! Destroys one Worker, as `src/resources/worker/delete.rs` does it.

use super::apply::refused;
use super::cloud::Cloud;
use super::turns::{Account, Applied, Failure, Wait};
use super::worker::State;
use crate::durable::{ClassName, NamespaceId, ScriptName};

/// Destroys a Worker that the configuration no longer has.
pub async fn destroy(account: &Account, own: &ScriptName, prior: &State) -> Applied {
    account.pause().await;
    let trouble = carry_out_destroy(account, own, prior).await.err();
    Applied {
        is_done: trouble.is_none(),
        state: trouble.is_some().then(|| prior.clone()),
        trouble,
    }
}

async fn carry_out_destroy(
    account: &Account,
    own: &ScriptName,
    prior: &State,
) -> Result<(), Failure> {
    if !account.cloud().scripts.contains_key(own) {
        return Ok(());
    }
    if let Some(class) = refused_by_data(&account.cloud(), own, prior) {
        return refused(format!("{class} of {own} holds data"));
    }
    if account.is_stopped() {
        return Err(Failure::Stopped);
    }
    let binders = Wait::Binders { own: own.clone() };
    let is_free = |cloud: &Cloud| cloud.clone().delete(own).is_ok();
    account.wait(binders, is_free).await?;
    let deleted = account.cloud().delete(own);
    deleted.map_err(Failure::Refused)?;
    account.wrote().await;
    Ok(())
}

/// A class that keeps a Worker from being destroyed, because it holds data without consent.
pub fn refused_by_data(cloud: &Cloud, own: &ScriptName, prior: &State) -> Option<ClassName> {
    let consents = |id: &NamespaceId| {
        let mut entries = prior.entries.iter();
        entries.any(|it| it.hosted.namespace_id.as_ref() == Some(id) && it.hosted.consent)
    };
    let own = cloud.own(own).into_iter();
    let mut gated = own.filter(|(_, id)| cloud.namespaces[id].holds_data && !consents(id));
    gated.next().map(|(class, _)| class)
}
