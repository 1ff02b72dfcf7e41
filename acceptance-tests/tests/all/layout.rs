//! Configurations of several namespaces and Workers, and a look at who answers for whom.
//!
//! Every object counts its visits and remembers the stable ID of the code that first wrote to it. A visit to `/x` thus says three
//! things: which code answers, whose data it found, and whether the data is complete.

use std::fmt::Write;

use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;

/// A `cloudflare_do_namespace`; its stable ID is its address.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    pub id: &'static str,
    pub class: &'static str,
    /// Further arguments, a line each.
    pub more: Vec<String>,
}

/// A `cloudflare_worker`; its name is its address.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    pub name: &'static str,
    /// Stable IDs that it binds, under their upper-case names unless another one is given.
    pub binds: Vec<(&'static str, &'static str)>,
    /// Stable IDs that it only lists in `durable_objects`.
    pub lists: Vec<&'static str>,
    /// The classes of its code, and whose code they are.
    pub code: Vec<(&'static str, &'static str)>,
    /// Further arguments, a line each.
    pub more: Vec<String>,
}

/// A namespace.
pub fn namespace(id: &'static str, class: &'static str) -> Namespace {
    Namespace {
        id,
        class,
        more: Vec::new(),
    }
}

impl Namespace {
    /// With `script_name`.
    pub fn on(self, script: &str) -> Self {
        self.with(&format!("script_name = \"{script}\""))
    }

    /// With another argument.
    pub fn with(mut self, line: &str) -> Self {
        self.more.push(line.to_owned());
        self
    }
}

/// A Worker that binds the given stable IDs.
pub fn worker(name: &'static str, binds: &[&'static str]) -> Worker {
    Worker {
        name,
        binds: binds.iter().map(|id| ("", *id)).collect(),
        ..Worker::default()
    }
}

impl Worker {
    /// With the classes of its code.
    pub fn code(mut self, classes: &[(&'static str, &'static str)]) -> Self {
        self.code = classes.to_vec();
        self
    }

    /// With stable IDs in `durable_objects`.
    pub fn lists(mut self, ids: &[&'static str]) -> Self {
        self.lists = ids.to_vec();
        self
    }

    /// With bindings under names of their own.
    pub fn slots(mut self, slots: &[(&'static str, &'static str)]) -> Self {
        self.binds = slots.to_vec();
        self
    }
}

fn binding((slot, id): &(&str, &str)) -> String {
    if slot.is_empty() {
        id.to_uppercase()
    } else {
        (*slot).to_owned()
    }
}

/// The configuration as HCL.
pub fn hcl(namespaces: &[Namespace], workers: &[Worker]) -> String {
    let mut text = String::from(
        "terraform {\n  required_providers {\n    cloudflare = {\n      source = \"durable-objects/cloudflare\"\n    }\n  }\n}\n\n\
         provider \"cloudflare\" {\n  max_retries = 1\n}\n",
    );
    for Namespace { id, class, more } in namespaces {
        let more = more.join("\n  ");
        write!(
            text,
            "\nresource \"cloudflare_do_namespace\" \"{id}\" {{\n  stable_id = \"{id}\"\n  class_name = \"{class}\"\n  {more}\n}}\n"
        )
        .expect("a string takes anything");
    }
    for worker in workers {
        let mut bindings = String::new();
        let mut routes = String::new();
        for bound in &worker.binds {
            let (name, id) = (binding(bound), bound.1);
            writeln!(bindings, "    {name} = cloudflare_do_namespace.{id}").expect("a string");
            writeln!(routes, "  \"/{id}\": (env) => env.{name},").expect("a string");
        }
        let lists: String = worker
            .lists
            .iter()
            .map(|id| format!("    {id} = cloudflare_do_namespace.{id}\n"))
            .collect();
        let classes: String = worker
            .code
            .iter()
            .map(|(class, id)| {
                format!(
                    "export class {class} extends Counter {{ whose() {{ return \"{id}\"; }} }}\n"
                )
            })
            .collect();
        let (name, more) = (worker.name, worker.more.join("\n  "));
        write!(
            text,
            r#"
resource "cloudflare_worker" "{name}" {{
  name               = "{name}"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  {more}
  bindings = {{
{bindings}  }}
  durable_objects = {{
{lists}  }}
  script = <<-JS
import {{ DurableObject }} from "cloudflare:workers";
class Counter extends DurableObject {{
  async fetch() {{
    const storage = this.ctx.storage;
    const owner = (await storage.get("owner")) ?? this.whose();
    const count = ((await storage.get("count")) ?? 0) + 1;
    await storage.put({{ owner, count }});
    return new Response(`${{this.whose()}} for ${{owner}} ${{count}}`);
  }}
}}
{classes}
const routes = {{
{routes}}};
export default {{
  async fetch(request, env) {{
    const namespace = routes[new URL(request.url).pathname](env);
    return namespace.get(namespace.idFromName("one")).fetch(request);
  }},
}};
  JS
}}
"#
        )
        .expect("a string takes anything");
    }
    text.replace("${", "$${")
}

/// A stage on which the configuration is applied.
pub async fn stage(namespaces: &[Namespace], workers: &[Worker]) -> Stage {
    let stage = Stage::empty().await;
    configure(&stage, namespaces, workers);
    stage.apply(&[]).await;
    stage
}

/// Replaces the configuration.
pub fn configure(stage: &Stage, namespaces: &[Namespace], workers: &[Worker]) {
    stage.workspace.write("main.tf", &hcl(namespaces, workers));
}

/// Replaces the configuration and applies it, to the empty plan.
pub async fn reconfigure(stage: &Stage, namespaces: &[Namespace], workers: &[Worker]) -> Run {
    configure(stage, namespaces, workers);
    stage.apply(&[]).await
}

/// Visits an object through a Worker's binding: its own code must answer with its own data, so many visits old.
#[track_caller]
pub fn visited(stage: &Stage, worker: &str, id: &str, count: usize) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let path = format!("/{id}");
    async move {
        let said = stage.visitor.read(worker, &path).await;
        assert_eq!(
            said,
            format!("{id} for {id} {count}"),
            "{worker} at {caller}"
        );
    }
}

/// The namespace id of a class.
pub fn id_of(stage: &Stage, place: &str) -> String {
    let all = stage.namespaces();
    let found = all.iter().find(|(at, _)| at == place);
    found
        .unwrap_or_else(|| panic!("{place} is not among {all:?}"))
        .1
        .clone()
}

/// A name, which Worker comes after which, and further arguments.
pub type Variant = (
    &'static str,
    Option<(&'static str, &'static str)>,
    &'static [&'static str],
);

/// In which order the core goes through two Workers.
pub const VARIANTS: [Variant; 5] = [
    ("no order", None, &[]),
    ("taker first", Some(("a", "b")), &[]),
    ("source first", Some(("b", "a")), &[]),
    (
        "one at a time, taker first",
        Some(("a", "b")),
        &["-parallelism=1"],
    ),
    (
        "one at a time, source first",
        Some(("b", "a")),
        &["-parallelism=1"],
    ),
];

/// With the second Worker after the first one.
pub fn ordered(mut workers: Vec<Worker>, order: Option<(&str, &str)>) -> Vec<Worker> {
    if let Some((later, earlier)) = order {
        for worker in &mut workers {
            if worker.name == later {
                let line = format!("depends_on = [cloudflare_worker.{earlier}]");
                worker.more.push(line);
            }
        }
    }
    workers
}

/// Applies until it goes through, as a user would; no more than `most` times.
pub async fn converge(stage: &Stage, extra: &[&str], most: usize) {
    for _ in 1..most {
        let run = stage
            .workspace
            .run(
                &[
                    &["apply", "-auto-approve", "-input=false", "-no-color"],
                    extra,
                ]
                .concat(),
            )
            .await;
        if run.status.success() {
            break;
        }
    }
    stage.apply(extra).await;
}
