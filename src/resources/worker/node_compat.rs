//! Warns of modules of Node.js that the bundle imports and the Worker does not have. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::BuiltinImport;
use crate::bundle::node::{BY_ITSELF, Compatibility, FLAG, Missing};
use crate::tf::{AttributePath, Diagnostic};

/// How many modules a message lists.
const MODULES: usize = 12;

/// How many importers of a module a message lists.
const IMPORTERS: usize = 3;

/// What to say of the modules of Node.js that a bundle imports: nothing, or one warning.
pub(super) fn warnings(date: &str, flags: &[String], imports: &[BuiltinImport]) -> Vec<Diagnostic> {
    let compatibility = Compatibility { date, flags };
    let mut importers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        let of = importers.entry(&import.module).or_default();
        of.insert(&import.importer);
    }
    let missing: Vec<(&str, Missing, Vec<&str>)> = importers
        .into_iter()
        .filter_map(|(module, importers)| {
            let name = module.strip_prefix("node:").unwrap_or(module);
            let missing = compatibility.missing(name)?;
            Some((module, missing, importers.into_iter().collect()))
        })
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let is_off = missing
        .iter()
        .any(|(_, why, _)| matches!(why, Missing::Off(_)));
    let summary = if is_off {
        "The Worker will not start: Node.js compatibility is off"
    } else {
        "The Worker imports Node.js modules that it will not have"
    };
    let why: Vec<&Missing> = missing.iter().map(|(_, why, _)| why).collect();
    let lines: Vec<String> = missing
        .iter()
        .take(MODULES)
        .map(|(module, why, importers)| line(module, why, importers))
        .chain(rest(missing.len(), MODULES).map(|rest| format!("  and {rest} more modules")))
        .collect();
    let detail = format!(
        "With `compatibility_date` {date} and these `compatibility_flags` the runtime lacks modules that the bundle imports. A Worker does \
         not start without what it imports:\n\n{}\n\n{}",
        lines.join("\n"),
        advice(date, flags, &why)
    );
    vec![Diagnostic::warning(summary, detail).at(AttributePath::root("entrypoint"))]
}

fn line(module: &str, why: &Missing, importers: &[&str]) -> String {
    let when = match why {
        Missing::Unknown => " (no date brings it)".to_owned(),
        Missing::Off(Some(since)) | Missing::Before(since) => format!(" (from {since} on)"),
        Missing::TurnedOff(flag) => format!(" (turned off by \"{flag}\")"),
        Missing::Off(None) | Missing::NeedsFlag => String::new(),
    };
    let shown = importers[..importers.len().min(IMPORTERS)].join(", ");
    let rest = rest(importers.len(), IMPORTERS)
        .map(|rest| format!(" and {rest} more"))
        .unwrap_or_default();
    format!("  {module}{when}, imported by {shown}{rest}")
}

/// How many are not shown.
fn rest(count: usize, shown: usize) -> Option<usize> {
    count.checked_sub(shown).filter(|rest| *rest > 0)
}

/// What to set, in sentences.
fn advice(date: &str, flags: &[String], missing: &[&Missing]) -> String {
    let mut sentences = Vec::new();
    let mut turned_off: BTreeSet<&str> = BTreeSet::new();
    let (mut is_off, mut needs_flag, mut is_unknown) = (false, false, false);
    // The date that brings all of them.
    let mut since = None;
    for why in missing {
        match why {
            Missing::Unknown => is_unknown = true,
            Missing::Off(date) => {
                is_off = true;
                since = since.max(*date);
            }
            Missing::Before(date) => since = since.max(Some(*date)),
            Missing::TurnedOff(flag) => _ = turned_off.insert(flag),
            Missing::NeedsFlag => needs_flag = true,
        }
    }
    let since = since.filter(|since| *since > date);
    if is_off {
        let against = ["no_nodejs_compat", "no_nodejs_compat_v2"];
        turned_off.extend(
            against
                .iter()
                .filter(|flag| flags.iter().any(|it| it == *flag)),
        );
        if date < BY_ITSELF {
            sentences.push(match since {
                Some(since) => format!(
                    "Set `compatibility_date` to {BY_ITSELF} or later, or to {since} or later with \"{FLAG}\" in `compatibility_flags`."
                ),
                None => format!(
                    "Add \"{FLAG}\" to `compatibility_flags`, or set `compatibility_date` to {BY_ITSELF} or later."
                ),
            });
        }
    } else {
        if needs_flag {
            sentences.push(format!("Add \"{FLAG}\" to `compatibility_flags`."));
        }
        if let Some(since) = since {
            sentences.push(format!("Set `compatibility_date` to {since} or later."));
        }
    }
    if !turned_off.is_empty() {
        let flags: Vec<String> = turned_off
            .iter()
            .map(|flag| format!("\"{flag}\""))
            .collect();
        sentences.push(format!(
            "Take {} out of `compatibility_flags`.",
            flags.join(" and ")
        ));
    }
    if since.is_some() {
        sentences.push(
            "The provider puts nothing in the place of missing modules: to stay on an older date, bundle with wrangler, which does, and hand \
             the result over in `modules`."
                .to_owned(),
        );
    }
    if is_unknown {
        sentences.push(
            "What no date brings has to be replaced: import something else, or leave out the package that needs it."
                .to_owned(),
        );
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(list: &[(&str, &str)]) -> Vec<BuiltinImport> {
        let import = |(module, importer): &(&str, &str)| BuiltinImport {
            module: (*module).to_owned(),
            importer: (*importer).to_owned(),
        };
        list.iter().map(import).collect()
    }

    /// Summary and detail of the only warning.
    fn warning(date: &str, flags: &[&str], list: &[(&str, &str)]) -> (String, String) {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut warnings = warnings(date, &flags, &imports(list));
        assert_eq!(warnings.len(), 1);
        let warning = warnings.remove(0);
        assert_eq!(warning.path, Some(AttributePath::root("entrypoint")));
        let (_, detail) = warning.detail.split_once(":\n\n").expect("there is a list");
        (warning.summary, detail.to_owned())
    }

    #[test]
    fn nothing_is_said_of_modules_that_are_there() {
        let list = imports(&[
            ("node:fs", "a.ts"),
            ("node:process", "a.ts"),
            ("node:events", "a.ts"),
        ]);
        let compat = ["nodejs_compat".to_owned()];
        assert_eq!(warnings("2026-08-04", &[], &list), []);
        assert_eq!(warnings("2025-09-15", &compat, &list), []);
        assert_eq!(warnings("2020-01-01", &[], &[]), []);
        let als = ["nodejs_als".to_owned()];
        let list = imports(&[("node:async_hooks", "a.ts")]);
        assert_eq!(warnings("2024-01-01", &als, &list), []);
    }

    #[test]
    fn a_date_that_is_too_early_is_told_with_the_date_that_is_not() {
        let list = [
            ("node:fs", "src/worker.ts"),
            ("node:events", "src/worker.ts"),
            ("node:http", "node_modules/a/1.js"),
            ("node:http", "node_modules/a/2.js"),
            ("node:http", "node_modules/a/3.js"),
            ("node:http", "node_modules/a/4.js"),
            ("node:http", "src/worker.ts"),
        ];
        let (summary, detail) = warning("2025-08-14", &["nodejs_compat"], &list);
        assert_eq!(
            summary,
            "The Worker imports Node.js modules that it will not have"
        );
        assert_eq!(
            detail,
            "  node:fs (from 2025-09-15 on), imported by src/worker.ts\n  \
             node:http (from 2025-08-15 on), imported by node_modules/a/1.js, node_modules/a/2.js, node_modules/a/3.js and 2 more\n\n\
             Set `compatibility_date` to 2025-09-15 or later. The provider puts nothing in the place of missing modules: to stay on an older \
             date, bundle with wrangler, which does, and hand the result over in `modules`."
        );
    }

    #[test]
    fn without_node_compatibility_the_worker_does_not_start() {
        let list = [("node:crypto", "src/worker.ts")];
        let (summary, detail) = warning("2026-08-03", &[], &list);
        assert_eq!(
            summary,
            "The Worker will not start: Node.js compatibility is off"
        );
        assert_eq!(
            detail,
            "  node:crypto, imported by src/worker.ts\n\n\
             Add \"nodejs_compat\" to `compatibility_flags`, or set `compatibility_date` to 2026-08-04 or later."
        );
        let list = [
            ("node:crypto", "src/worker.ts"),
            ("node:tty", "src/worker.ts"),
        ];
        let (_, detail) = warning("2025-01-01", &[], &list);
        assert!(detail.contains("Set `compatibility_date` to 2026-08-04 or later, or to 2026-03-17 or later with \"nodejs_compat\""));
    }

    #[test]
    fn flags_that_turn_modules_off_are_named() {
        let list = [("node:crypto", "a.ts")];
        let off = ["no_nodejs_compat", "no_nodejs_compat_v2"];
        let (summary, detail) = warning("2026-11-01", &off, &list);
        assert_eq!(
            summary,
            "The Worker will not start: Node.js compatibility is off"
        );
        assert!(detail.ends_with(
            "\n\nTake \"no_nodejs_compat\" and \"no_nodejs_compat_v2\" out of `compatibility_flags`."
        ));
        let list = [("node:fs", "a.ts")];
        let (_, detail) = warning("2026-11-01", &["disable_nodejs_fs_module"], &list);
        assert_eq!(
            detail,
            "  node:fs (turned off by \"disable_nodejs_fs_module\"), imported by a.ts\n\n\
             Take \"disable_nodejs_fs_module\" out of `compatibility_flags`."
        );
        let (_, detail) = warning("2026-01-01", &["nodejs_compat_v2"], &list);
        assert!(detail.ends_with("\n\nAdd \"nodejs_compat\" to `compatibility_flags`."));
    }

    #[test]
    fn a_module_that_nobody_knows_is_no_question_of_dates() {
        let (_, detail) = warning("2026-11-01", &[], &[("node:nonexistent", "src/worker.ts")]);
        assert_eq!(
            detail,
            "  node:nonexistent (no date brings it), imported by src/worker.ts\n\n\
             What no date brings has to be replaced: import something else, or leave out the package that needs it."
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (10..30).map(|number| format!("node:x{number}")).collect();
        let list: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a.ts")).collect();
        let (_, detail) = warning("2026-11-01", &[], &list);
        assert!(detail.contains("  node:x21 ") && !detail.contains("node:x22"));
        assert!(detail.contains("\n  and 8 more modules\n\n"));
    }
}
