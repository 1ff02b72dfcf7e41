//! Runs the `scheduled` handler of Workers: on demand, or when their schedules are due.

use std::sync::Weak;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::failure::ApiFailure;
use super::server::Cloud;

/// A run of a `scheduled` handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The Worker.
    pub script: String,
    /// The expression that the handler sees; the Worker's first schedule if absent.
    #[serde(default)]
    pub cron: Option<String>,
    /// The time that the handler sees, in milliseconds since 1970; now if absent.
    #[serde(default)]
    pub time: Option<u64>,
}

/// How a run has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    /// `ok`, `exception`, or another of the runtime's words.
    pub outcome: String,
    /// The expression that the handler saw.
    pub cron: String,
    /// The time that the handler saw, in milliseconds since 1970.
    pub time: u64,
}

impl Cloud {
    /// Runs a handler and waits for its end.
    pub(super) async fn trigger(&self, trigger: Trigger) -> Result<Triggered, ApiFailure> {
        let account = self.account();
        let name = trigger.script;
        let script = account
            .scripts
            .get(&name)
            .ok_or_else(ApiFailure::no_worker)?;
        if !script.handles_cron() {
            return Err(ApiFailure::invalid(format!(
                "The Worker '{name}' handles no cron triggers: its default export has no `scheduled` handler."
            )));
        }
        let first = script.schedules.first().map(|first| first.cron.clone());
        let cron = trigger.cron.or(first).unwrap_or("* * * * *".into());
        let time = trigger
            .time
            .unwrap_or_else(|| since_1970().as_millis() as u64);
        let outcome = self.hosting.trigger(&name, &cron, time).await;
        let outcome = outcome.map_err(|error| {
            ApiFailure::new(500, 10013, format!("The local runtime failed: {error}"))
        })?;
        Ok(Triggered {
            outcome,
            cron,
            time,
        })
    }
}

/// Triggers what is due, minute by minute, as long as there is a cloud.
pub(super) async fn keep_time(cloud: Weak<Cloud>) {
    loop {
        let minute = since_1970().as_secs() / 60 + 1;
        let wait = Duration::from_secs(minute * 60).saturating_sub(since_1970());
        tokio::time::sleep(wait).await;
        let Some(cloud) = cloud.upgrade() else {
            return;
        };
        for (script, cron) in cloud.account().due(minute * 60) {
            let cloud = cloud.clone();
            tokio::spawn(async move {
                let trigger = Trigger {
                    script: script.clone(),
                    cron: Some(cron.clone()),
                    time: Some(minute * 60_000),
                };
                match cloud.trigger(trigger).await {
                    Ok(done) => log::info!("cron {cron:?} of {script:?}: {}", done.outcome),
                    Err(failure) => log::warn!("cron {cron:?} of {script:?}: {failure}"),
                }
            });
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is later than 1970")
}
