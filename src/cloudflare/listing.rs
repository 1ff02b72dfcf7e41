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

#[cfg(test)]
mod tests {
    use super::super::server::{Reply, Server, account, ok, refusal};
    use super::*;

    #[tokio::test]
    async fn parallel_readers_share_one_request_and_later_ones_its_answer() {
        let server = Server::start([ok(r#"[{"id":"w"}]"#)]).await;
        let client = server.client();
        let read = || async {
            client
                .listings()
                .scripts(&account())
                .await
                .expect("a list")
                .len()
        };
        assert_eq!(tokio::join!(read(), read(), read()), (1, 1, 1));
        assert_eq!(read().await, 1);
        assert_eq!(server.asked().len(), 1);
    }

    #[tokio::test]
    async fn an_error_reaches_all_who_wait_and_is_not_kept() {
        let no = refusal(403, 10023, "workers.api.error.unauthorized");
        let server = Server::start([no, ok(r#"{"subdomain":"team"}"#)]).await;
        let client = server.client();
        let (account, listings) = (account(), client.listings());
        let (a, b) = tokio::join!(
            listings.account_subdomain(&account),
            listings.account_subdomain(&account)
        );
        assert!(a.is_err() && b.is_err());
        assert_eq!(server.asked().len(), 1);
        let name = listings
            .account_subdomain(&account)
            .await
            .expect("a second look");
        assert_eq!(name.as_deref(), Some("team"));
    }

    #[tokio::test]
    async fn a_write_makes_the_next_reader_look_again() {
        let server = Server::start([ok("[]"), ok(r#"[{"id":"n"}]"#)]).await;
        let client = server.client();
        let (account, listings) = (account(), client.listings());
        assert_eq!(
            listings.namespaces(&account).await.expect("a list").len(),
            0
        );
        listings.invalidate(&account);
        assert_eq!(
            listings.namespaces(&account).await.expect("a list").len(),
            1
        );
    }

    #[tokio::test]
    async fn stopping_one_reader_does_not_stop_the_others() {
        let server = Server::start([Reply::Close, ok("[]")]).await;
        let stop = CancellationToken::new();
        let (one, other) = (server.client().with_stop(stop.clone()), server.client());
        let other = Client {
            shared: Arc::clone(&one.shared),
            stop: other.stop,
        };
        let account = account();
        let (first, second, ()) = tokio::join!(
            async { one.listings().scripts(&account).await },
            async { other.listings().scripts(&account).await },
            async { stop.cancel() },
        );
        assert!(matches!(first, Err(ApiError::Stopped { .. })), "{first:?}");
        assert!(second.is_ok(), "{second:?}");
    }
}
