//! A large configuration, one of the same size without a provider, and what calls a plan makes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use acceptance_tests::cloudflare::Call;

/// How many Workers.
pub const WORKERS: usize = 100;
const NAMESPACES_EACH: usize = 5;

/// The Workers, each with its namespaces.
pub fn configuration() -> String {
    let mut text = String::from(
        "terraform {\n  required_providers {\n    cloudflare = { source = \"durable-objects/cloudflare\" }\n  }\n}\n",
    );
    for worker in 0..WORKERS {
        let mut bindings = String::new();
        for class in 0..NAMESPACES_EACH {
            let name = format!("n{worker}_{class}");
            let _ = write!(
                text,
                "\nresource \"cloudflare_do_namespace\" \"{name}\" {{\n  stable_id  = \"{name}\"\n  \
                 class_name = \"C{class}\"\n}}\n"
            );
            let _ = writeln!(bindings, "    N{class} = cloudflare_do_namespace.{name}");
        }
        let _ = write!(
            text,
            "\nresource \"cloudflare_worker\" \"w{worker}\" {{\n  name = \"worker-{worker}\"\n  \
             compatibility_date = \"2026-11-01\"\n  modules = {{\n    \"worker.js\" = {{ content_file = \
             \"${{path.module}}/worker.js\" }}\n  }}\n  bindings = {{\n{bindings}  }}\n}}\n"
        );
    }
    text
}

/// The code of every Worker.
pub fn worker() -> String {
    let mut text = String::from("import { DurableObject } from \"cloudflare:workers\";\n");
    for class in 0..NAMESPACES_EACH {
        let _ = writeln!(text, "export class C{class} extends DurableObject {{}}");
    }
    text + "export default { fetch: () => new Response(\"ok\") };\n"
}

/// As many resources as the Workers and namespaces are together.
pub fn terraform_data() -> String {
    let mut text = String::new();
    for number in 0..WORKERS * (NAMESPACES_EACH + 1) {
        let _ = writeln!(
            text,
            "resource \"terraform_data\" \"d{number}\" {{\n  input = \"{number}\"\n}}"
        );
    }
    text
}

/// How often each kind of call was made; names and ids in paths are left out.
pub fn kinds(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for call in calls {
        let segments: Vec<&str> = call.path.split('/').map(without_names).collect();
        let kind = format!("{} {}", call.method, segments.join("/"));
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn without_names(segment: &str) -> &str {
    let hexadecimal = segment.len() == 32 && segment.chars().all(|it| it.is_ascii_hexdigit());
    match segment {
        _ if hexadecimal => "{account}",
        _ if segment.starts_with("worker-") => "{worker}",
        other => other,
    }
}
