//! Log lines on stderr in the one form that both cores read, and panics in the one form that they recognise.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write as _};
use std::panic;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{self, Key, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::Value as Json;

/// From the most to the least specific.
const VARIABLES: [&str; 3] = ["TF_LOG_PROVIDER_CLOUDFLARE", "TF_LOG_PROVIDER", "TF_LOG"];

/// Cores cut lines at 64 KiB, which would leave no JSON.
const LONGEST_TEXT: usize = 8 << 10;

/// Starts logging, and makes cores show panics.
pub fn install() {
    let level = level(|name| env::var(name).ok());
    // There is one logger; a second call in one process has nothing to add.
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
    panic::set_hook(Box::new(|info| {
        let text = panic_text(info.payload(), info.location());
        let trace = Backtrace::capture();
        let mut stderr = io::stderr().lock();
        // There is no better place to report that stderr is gone.
        let _ = match trace.status() {
            BacktraceStatus::Captured => writeln!(stderr, "{text}\n{trace}"),
            _ => writeln!(stderr, "{text}"),
        };
    }));
}

fn panic_text(payload: &dyn std::any::Any, location: Option<&panic::Location<'_>>) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    match location {
        Some(location) => format!("panic: {message} at {location}"),
        None => format!("panic: {message}"),
    }
}

/// Cores show what they are asked for; without being asked they drop all, so that only errors are worth sending.
fn level(variable: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let Some(value) = VARIABLES
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
    else {
        return LevelFilter::Error;
    };
    match value.to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::Off,
        "ERROR" => LevelFilter::Error,
        "WARN" => LevelFilter::Warn,
        "INFO" => LevelFilter::Info,
        "DEBUG" => LevelFilter::Debug,
        // Cores read `JSON` and everything they do not know as TRACE.
        _ => LevelFilter::Trace,
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries trace about connections would hide our own lines, and could show more than we would.
        let ours = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
        ours || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let line = line(record, now.unwrap_or_default());
            // One write, so that lines of different threads do not mix. If stderr is gone, so is the reader.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// A line of text fields only: Terraform crashes on a level, message or time that is no text.
fn line(record: &Record<'_>, now: Duration) -> String {
    let mut fields = Fields(BTreeMap::new());
    // The visitor never fails, and a key whose value cannot be shown is left out.
    let _ = record.key_values().visit(&mut fields);
    fields.put("@level", record.level().as_str().to_ascii_lowercase());
    fields.put("@message", record.args().to_string());
    fields.put("@module", record.target().replace("::", "."));
    fields.put("@timestamp", timestamp(now));
    format!("{}\n", Json::from_iter(fields.0))
}

struct Fields(BTreeMap<String, Json>);

impl Fields {
    fn put(&mut self, key: &str, mut text: String) {
        if text.len() > LONGEST_TEXT {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push('…');
        }
        self.0.insert(key.to_owned(), Json::String(text));
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.put(key.as_str(), value.to_string());
        Ok(())
    }
}

/// UTC with exactly six digits of a second: cores take a line with any other form for plain text.
fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since_epoch.subsec_micros()
    )
}

/// The date that lies so many days after 1970-01-01.
fn civil_date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_line_is_text() {
        let pairs = [
            ("status", kv::Value::from(404)),
            ("@level", 7.into()),
            ("ok", true.into()),
        ];
        let record = Record::builder()
            .level(log::Level::Warn)
            .target("terraform_provider_cloudflare::rpc")
            .args(format_args!("two\nlines"))
            .key_values(&pairs)
            .build();
        let line = line(&record, Duration::from_micros(1_700_000_000_000_042));
        assert_eq!(
            line,
            "{\"@level\":\"warn\",\"@message\":\"two\\nlines\",\
             \"@module\":\"terraform_provider_cloudflare.rpc\",\
             \"@timestamp\":\"2023-11-14T22:13:20.000042Z\",\"ok\":\"true\",\"status\":\"404\"}\n"
        );
    }

    #[test]
    fn a_long_message_still_fits_into_a_line() {
        let long = "ä".repeat(100_000);
        let line = line(
            &Record::builder().args(format_args!("{long}")).build(),
            Duration::ZERO,
        );
        assert!(line.len() < 60_000);
        assert!(serde_json::from_str::<Json>(&line).is_ok());
    }

    #[test]
    fn timestamps_have_six_digits_on_every_day() {
        let check = |seconds, expect| {
            assert_eq!(timestamp(Duration::from_secs(seconds)), expect);
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_400, "2000-02-29T00:00:00.000000Z");
        check(1_709_251_199, "2024-02-29T23:59:59.000000Z");
        check(1_767_225_599, "2025-12-31T23:59:59.000000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn the_most_specific_variable_decides_and_silence_is_the_default() {
        let check = |set: &[(&str, &str)], expect| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(level(variable), expect, "{set:?}");
        };
        check(&[], LevelFilter::Error);
        check(&[("TF_LOG", "")], LevelFilter::Error);
        check(&[("TF_LOG", "debug")], LevelFilter::Debug);
        check(&[("TF_LOG", "JSON")], LevelFilter::Trace);
        check(
            &[("TF_LOG", "TRACE"), ("TF_LOG_PROVIDER", "OFF")],
            LevelFilter::Off,
        );
        check(
            &[
                ("TF_LOG_PROVIDER", "WARN"),
                ("TF_LOG_PROVIDER_CLOUDFLARE", "INFO"),
            ],
            LevelFilter::Info,
        );
    }

    #[test]
    fn a_panic_starts_as_cores_expect_it() {
        let location = panic::Location::caller();
        let text = panic_text(&"broken", Some(location));
        assert!(text.starts_with("panic: broken at src/"), "{text}");
    }
}
