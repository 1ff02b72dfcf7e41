//! Time limits of operations, as `timeouts` sets them.

use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::duration;
use crate::tf::Value;

/// How long an apply may take unless `timeouts` says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// The time limit of an operation, as configured.
pub fn of(config: &Value, operation: &str) -> Duration {
    let text = config.get("timeouts").get(operation).as_str();
    text.and_then(duration::parse).unwrap_or(TIME_LIMIT)
}

/// A token that is cancelled by `stop`, or when `limit` is over. The task ends with the guard.
pub fn limited(stop: &CancellationToken, limit: Duration) -> (CancellationToken, DropGuard) {
    let token = stop.child_token();
    let done = CancellationToken::new();
    let (timer, over) = (token.clone(), done.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = over.cancelled() => {}
            () = tokio::time::sleep(limit) => timer.cancel(),
        }
    });
    (token, done.drop_guard())
}
