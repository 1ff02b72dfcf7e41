//! Which modules of Node.js a Worker has, by its compatibility date and flags.
//!
//! Measured with the runtime, release 1.20261117.1; the acceptance test `node_modules` measures again.

/// From this compatibility date on nobody has to ask for modules of Node.js.
pub const BY_ITSELF: &str = "2026-08-04";

/// The flag with which modules of Node.js come at an earlier date.
pub const FLAG: &str = "nodejs_compat";

/// What gives the globals of Node.js, and the oldest modules; part of [`FLAG`] from [`GLOBALS_SINCE`] on.
const GLOBALS: &str = "nodejs_compat_v2";

const GLOBALS_SINCE: &str = "2024-09-23";

/// Gives `node:async_hooks` alone.
const ASYNC_HOOKS: &str = "nodejs_als";

/// There with every date and all flags.
const ALWAYS: &[&str] = &["process"];

/// There whenever Node.js is on.
#[rustfmt::skip]
const WITH_NODE: &[&str] = &[
    "_stream_duplex", "_stream_passthrough", "_stream_readable", "_stream_transform", "_stream_writable", "_tls_common", "_tls_wrap",
    "assert", "assert/strict", "async_hooks", "buffer", "constants", "crypto", "diagnostics_channel", "dns", "dns/promises", "events",
    "fs/promises", "module", "net", "path", "path/posix", "path/win32", "querystring", "stream", "stream/consumers", "stream/promises",
    "stream/web", "string_decoder", "test", "timers", "timers/promises", "tls", "url", "util", "util/types", "zlib",
];

/// There with the globals.
const WITH_GLOBALS: &[&str] = &["sys"];

/// Modules that came together.
struct Group {
    /// With [`FLAG`], from this compatibility date on.
    since: &'static str,
    /// The flags that begin with `enable_nodejs_` and `disable_nodejs_` end with this.
    feature: &'static str,
    modules: &'static [&'static str],
}

const fn group(
    since: &'static str,
    feature: &'static str,
    modules: &'static [&'static str],
) -> Group {
    Group {
        since,
        feature,
        modules,
    }
}

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    group("2025-08-15", "http_modules", &[
        "_http_agent", "_http_client", "_http_common", "_http_incoming", "_http_outgoing", "http", "https",
    ]),
    group("2025-09-01", "http_server_modules", &["_http_server"]),
    group("2025-09-01", "http2_module", &["http2"]),
    group("2025-09-15", "fs_module", &["fs"]),
    group("2025-09-15", "os_module", &["os"]),
    group("2025-09-21", "console_module", &["console"]),
    group("2025-10-01", "vm_module", &["vm"]),
    group("2025-12-04", "cluster_module", &["cluster"]),
    group("2025-12-04", "domain_module", &["domain"]),
    group("2025-12-04", "punycode_module", &["punycode"]),
    group("2025-12-04", "trace_events_module", &["trace_events"]),
    group("2025-12-04", "wasi_module", &["wasi"]),
    group("2026-01-29", "dgram_module", &["dgram"]),
    group("2026-01-29", "inspector_module", &["inspector", "inspector/promises"]),
    group("2026-01-29", "sqlite_module", &["sqlite"]),
    group("2026-01-29", "stream_wrap_module", &["_stream_wrap"]),
    group("2026-03-17", "child_process_module", &["child_process"]),
    group("2026-03-17", "perf_hooks_module", &["perf_hooks"]),
    group("2026-03-17", "readline_module", &["readline", "readline/promises"]),
    group("2026-03-17", "repl_module", &["repl"]),
    group("2026-03-17", "tty_module", &["tty"]),
    group("2026-03-17", "v8_module", &["v8"]),
    group("2026-03-17", "worker_threads_module", &["worker_threads"]),
];

/// Every module that some Worker has, without `node:`.
pub fn modules() -> impl Iterator<Item = &'static str> {
    let alone = [ALWAYS, WITH_NODE, WITH_GLOBALS].into_iter().flatten();
    alone
        .chain(GROUPS.iter().flat_map(|group| group.modules))
        .copied()
}

/// Every compatibility date that changes which modules there are.
pub fn dates() -> impl Iterator<Item = &'static str> {
    [GLOBALS_SINCE, BY_ITSELF]
        .into_iter()
        .chain(GROUPS.iter().map(|group| group.since))
}

/// Why a Worker does not have a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No Worker has it.
    Unknown,
    /// Node.js is off. With [`FLAG`] it comes at a date, or at any.
    Off(Option<&'static str>),
    /// It comes with a later compatibility date.
    Before(&'static str),
    /// A flag turns it off.
    TurnedOff(String),
    /// It comes with [`FLAG`] alone.
    NeedsFlag,
}

/// What decides which modules of Node.js a Worker has.
#[derive(Clone, Copy, Debug)]
pub struct Compatibility<'a> {
    /// The compatibility date, `YYYY-MM-DD`.
    pub date: &'a str,
    /// The compatibility flags.
    pub flags: &'a [String],
}

impl Compatibility<'_> {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|it| it == flag)
    }

    fn is_flagged(&self) -> bool {
        (self.has(FLAG) || self.date >= BY_ITSELF) && !self.has("no_nodejs_compat")
    }

    fn has_globals(&self) -> bool {
        let implied = self.is_flagged() && self.date >= GLOBALS_SINCE;
        (self.has(GLOBALS) || implied || self.date >= BY_ITSELF) && !self.has("no_nodejs_compat_v2")
    }

    /// Whether there are modules of Node.js.
    pub fn is_on(&self) -> bool {
        self.is_flagged() || self.has_globals()
    }

    /// Why the Worker does not have a module, such as `fs`. `None` means that it has it.
    pub fn missing(&self, module: &str) -> Option<Missing> {
        if ALWAYS.contains(&module) || module == "async_hooks" && self.has(ASYNC_HOOKS) {
            return None;
        }
        if WITH_NODE.contains(&module) {
            return (!self.is_on()).then_some(Missing::Off(None));
        }
        if WITH_GLOBALS.contains(&module) {
            return self.missing_global();
        }
        let of = |group: &&Group| group.modules.contains(&module);
        match GROUPS.iter().find(of) {
            Some(group) => self.missing_group(group),
            None => Some(Missing::Unknown),
        }
    }

    fn missing_global(&self) -> Option<Missing> {
        let off = "no_nodejs_compat_v2";
        match () {
            () if self.has_globals() => None,
            () if !self.is_on() => Some(Missing::Off(Some(GLOBALS_SINCE))),
            () if self.has(off) => Some(Missing::TurnedOff(off.to_owned())),
            () => Some(Missing::Before(GLOBALS_SINCE)),
        }
    }

    fn missing_group(&self, group: &Group) -> Option<Missing> {
        let enabled = self.has(&format!("enable_nodejs_{}", group.feature));
        if !self.is_on() {
            return Some(Missing::Off((!enabled).then_some(group.since)));
        }
        if enabled {
            return None;
        }
        // The server comes with the date only beside the client.
        let features: &[&str] = match group.feature {
            "http_server_modules" => &["http_server_modules", "http_modules"],
            _ => &[group.feature],
        };
        let mut disabled = features.iter().map(|it| format!("disable_nodejs_{it}"));
        match disabled.find(|flag| self.has(flag)) {
            Some(flag) => Some(Missing::TurnedOff(flag)),
            None if self.date < group.since => Some(Missing::Before(group.since)),
            None if self.is_flagged() => None,
            None if self.date >= BY_ITSELF => {
                Some(Missing::TurnedOff("no_nodejs_compat".to_owned()))
            }
            None => Some(Missing::NeedsFlag),
        }
    }
}
