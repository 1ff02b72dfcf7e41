//! Listings that are read once for everybody who only looks: one request at a time, kept until something is written.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio_util::sync::CancellationToken;

use super::{AccountId, ApiError, Client, ListedScript};
use crate::durable::LiveNamespace;

type Reading<T> = Shared<BoxFuture<'static, Result<T, ApiError>>>;

/// What is being read or was read, by account.
#[derive(Default)]
pub(super) struct Cache {
    scripts: Slots<Arc<[ListedScript]>>,
    namespaces: Slots<Arc<[LiveNamespace]>>,
    subdomains: Slots<Option<Arc<str>>>,
}

struct Slots<T>(Mutex<HashMap<AccountId, Reading<T>>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots(Mutex::default())
    }
}

impl<T> Slots<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Reading<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared listings, for Read and Plan. Apply reads afresh, with the functions of [`Client`].
pub struct Listings<'a> {
    client: &'a Client,
}

impl fmt::Debug for Listings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listings").field(self.client).finish()
    }
}

impl<'a> Listings<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Listings { client }
    }

    /// Every Worker of the account.
    pub async fn scripts(&self, account: &AccountId) -> Result<Arc<[ListedScript]>, ApiError> {
        self.read(
            &self.client.shared.listings.scripts,
            account,
            |client, account| async move { client.scripts(&account).await.map(Arc::from) },
        )
        .await
    }

    /// Every namespace of the account.
    pub async fn namespaces(&self, account: &AccountId) -> Result<Arc<[LiveNamespace]>, ApiError> {
        self.read(
            &self.client.shared.listings.namespaces,
            account,
            |client, account| async move { client.namespaces(&account).await.map(Arc::from) },
        )
        .await
    }

    /// The account's workers.dev subdomain, if it has one.
    pub async fn account_subdomain(
        &self,
        account: &AccountId,
    ) -> Result<Option<Arc<str>>, ApiError> {
        self.read(
            &self.client.shared.listings.subdomains,
            account,
            |client, account| async move {
                client
                    .account_subdomain(&account)
                    .await
                    .map(|name| name.map(Arc::from))
            },
        )
        .await
    }

    /// Forgets what was listed of the account. To be called after every write;
    /// a listing that is under way reaches only those who already wait for it.
    pub fn invalidate(&self, account: &AccountId) {
        let cache = &self.client.shared.listings;
        cache.scripts.lock().remove(account);
        cache.namespaces.lock().remove(account);
        cache.subdomains.lock().remove(account);
    }

    async fn read<T, F>(
        &self,
        slots: &Slots<T>,
        account: &AccountId,
        request: impl FnOnce(Client, AccountId) -> F,
    ) -> Result<T, ApiError>
    where
        T: Clone,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let reading = {
            let mut slots = slots.lock();
            match slots.get(account) {
                Some(reading) => reading.clone(),
                None => {
                    // Whoever asks first may be stopped while the others still wait.
                    let client = self.client.with_stop(CancellationToken::new());
                    let reading = request(client, account.clone()).boxed().shared();
                    slots.insert(account.clone(), reading.clone());
                    reading
                }
            }
        };
        let outcome = tokio::select! {
            biased;
            () = self.client.stop.cancelled() => {
                return Err(ApiError::Stopped { operation: "read a listing", in_flight: false });
            }
            outcome = reading.clone() => outcome,
        };
        if outcome.is_err() {
            // Only this reading is forgotten, not one that somebody began since.
            let mut slots = slots.lock();
            if slots
                .get(account)
                .is_some_and(|newest| newest.ptr_eq(&reading))
            {
                slots.remove(account);
            }
        }
        outcome
    }
}
