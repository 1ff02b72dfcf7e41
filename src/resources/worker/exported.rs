//! Judges at plan what Cloudflare or the runtime would refuse at apply: code that does not export the classes that are hosted, that
//! exports what stops a Worker, or that is none.

use std::sync::Arc;

use super::classes::{Classes, Decision};
use super::code::{Code, DESTROY_HINT, Modules};
use super::entry;
use super::hosting::{self, Entry};
use crate::bundle::{self, ClassExport, Exports, Main, Shape, Source};
use crate::resources::session::Session;
use crate::tf::{AttributePath, Diagnostic, Value};

/// How many exports a message lists.
const LISTED: usize = 12;

impl Classes<'_> {
    /// Judges the code of a plan whose classes are decided. What runs already, and is not uploaded with other classes, is not judged
    /// again.
    pub async fn judge_code(&mut self, code: &Code, decision: &Decision) {
        let needs_entry = decision
            .uploads
            .iter()
            .any(|upload| !upload.aliases.is_empty());
        let modules = match code {
            Code::Known(modules) => modules,
            Code::Unmanaged if needs_entry => {
                self.refuse(entry::IMPOSSIBLE.to_owned(), entry::impossible(None), None);
                return;
            }
            Code::Unmanaged | Code::Unknown => return,
        };
        let runs = self.prior.get("content_sha256").as_str() == Some(&modules.sha256)
            && self.prior.get("main_module") == self.config.get("main_module");
        if runs && decision.uploads.is_empty() {
            return;
        }
        if let Some(exports) = read(self.session, modules).await {
            self.judge_start(&exports, modules);
            self.judge_exports(&exports, modules, decision);
            // A broken main module has its own error.
            if needs_entry && matches!(exports.main(), Main::Other | Main::Unread(_)) {
                let detail = entry::impossible(Some(modules.shown()));
                self.refuse(entry::IMPOSSIBLE.to_owned(), detail, None);
            }
        }
    }

    /// At no place if it is about the code: core prints the lines of a place, and code may hold what nobody should see.
    fn refuse(&mut self, summary: String, detail: String, path: Option<AttributePath>) {
        let error = Diagnostic::error(summary, format!("{detail}\n\n{DESTROY_HINT}"));
        self.diagnostics.push(match path {
            Some(path) => error.at(path),
            None => error,
        });
    }

    /// What stops the Worker, whatever it hosts.
    fn judge_start(&mut self, exports: &Exports, modules: &Modules) {
        if let Main::Broken(error) = exports.main() {
            let main = &modules.main;
            let detail = format!(
                "Line {}, column {} of `{main}`: {}. The main module has to be an ES module; TypeScript is bundled to one if `entrypoint` \
                 names its file.",
                error.line, error.column, error.message
            );
            self.refuse(format!("Module `{main}` is no JavaScript"), detail, None);
        }
        let way_out = match modules.bundled {
            Some(_) => "Export it from another file, which this one and others can import.",
            None => "Remove the export; other modules can still share the value.",
        };
        for (name, what) in exports.that_stop() {
            let detail = format!(
                "A Worker starts only if everything that it exports is a class, a function or an object, but {} exports `{name}`, which is \
                 {what}. {way_out}",
                modules.subject()
            );
            self.refuse(
                format!("Export `{name}` stops the Worker from starting"),
                detail,
                None,
            );
        }
    }

    /// Every class that is hosted once the plan is carried out has to be exported.
    fn judge_exports(&mut self, exports: &Exports, modules: &Modules, decision: &Decision) {
        let subject = modules.subject();
        let state = Value::object([("durable_object_namespaces", decision.namespaces.clone())]);
        let mut hosted = hosting::entries(&state);
        hosted.retain(|entry| self.name.known().is_some_and(|own| entry.lives_in(own)));
        for entry in hosted {
            let class = entry.class.as_str();
            let (summary, fault) = match exports.exports_class(class) {
                ClassExport::Missing => (
                    format!("Class `{class}` is not exported"),
                    "does not export it".to_owned(),
                ),
                ClassExport::NotClass(what) => (
                    format!("Export `{class}` is no class"),
                    format!("exports {what} of that name"),
                ),
                ClassExport::Fine | ClassExport::Unknown => continue,
            };
            let (needs, way_out) = match &entry.stable_id {
                Some(id) => (
                    format!("The namespace with the stable ID `{id}` needs the class `{class}`"),
                    format!("Export a class `{class}`, or correct `class_name`."),
                ),
                None => (
                    format!(
                        "A namespace that this Worker hosts without a stable ID needs the class `{class}`"
                    ),
                    format!(
                        "Cloudflare refuses code without it. Export a class `{class}`, or bind the namespace as a \
                         `cloudflare_do_namespace`, which can rename or delete it."
                    ),
                ),
            };
            let listed = listed(exports, class);
            let detail = format!("{needs}, but {subject} {fault}. {listed}\n\n{way_out}");
            self.refuse(summary, detail, self.place_of_class(&entry));
        }
    }

    /// Where the configuration names the class of a namespace.
    fn place_of_class(&self, entry: &Entry) -> Option<AttributePath> {
        let stable_id = entry.stable_id.as_ref()?;
        let placements = hosting::placements(self.config, self.name)?;
        let mut placements = placements.into_iter();
        let found =
            placements.find(|placement| placement.object.stable_id.known() == Some(stable_id))?;
        Some(found.path.attribute("class_name"))
    }
}

/// What the code exports, read once a process.
pub(super) async fn read(session: &Session, modules: &Modules) -> Option<Arc<Exports>> {
    let key = format!("{} {}", modules.sha256, modules.main);
    if let Some(exports) = session.exports(&key) {
        return Some(exports);
    }
    let modules = modules.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let sources: Vec<Source<'_>> = modules
            .modules
            .iter()
            .map(|module| Source {
                name: &module.name,
                content: &module.body,
                is_es_module: module.content_type.ends_with("javascript+module"),
            })
            .collect();
        bundle::exports(&modules.main, &sources)
    });
    let exports = Arc::new(reading.await.ok()?);
    session.keep_exports(key, exports.clone());
    Some(exports)
}

/// What there is, and what may have been meant.
fn listed(exports: &Exports, class: &str) -> String {
    let names: Vec<&str> = exports.names().collect();
    if names.is_empty() {
        return "It exports nothing by name.".to_owned();
    }
    let mut shown: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > LISTED {
        shown.push(format!("{} more", names.len() - LISTED));
    }
    let last = shown.pop().unwrap_or_default();
    let all = match shown.is_empty() {
        true => last,
        false => format!("{} and {last}", shown.join(", ")),
    };
    let candidates = exports
        .iter()
        .filter(|export| matches!(export.shape, Shape::Class | Shape::Unknown));
    let named = candidates
        .map(|export| export.name.as_str())
        .filter(|name| *name != "default");
    match nearest(class, named) {
        Some(near) => format!("It exports {all}; did you mean `{near}`?"),
        None => format!("It exports {all}."),
    }
}

/// The name that is another one but for a slip: a third of it at most, and its case.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |name: &str| name.to_lowercase().chars().collect::<Vec<char>>();
    let wanted = folded(name);
    let most = (wanted.len() / 3).max(1);
    names
        .filter(|other| *other != name)
        .map(|other| (distance(&wanted, &folded(other)), other))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many characters have to be added, removed or replaced.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, here) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (left, there) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(here != there);
            diagonal = row[left + 1];
            row[left + 1] = replaced.min(row[left] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized() {
        for (name, names, expect) in [
            ("Roam", &["Hall", "Room"][..], Some("Room")),
            ("room", &["Room"], Some("Room")),
            ("ChatRoom", &["ChatRooms", "Chat"], Some("ChatRooms")),
            ("Room", &["Hall"], None),
            ("A", &["B"], Some("B")),
            ("Room", &["Room"], None),
            ("Room", &[], None),
        ] {
            assert_eq!(nearest(name, names.iter().copied()), expect, "{name}");
        }
    }
}
