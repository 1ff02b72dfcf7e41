//! The schema of `cloudflare_worker`, and of the elements of `bindings` and `durable_objects`.

use std::borrow::Cow;

use crate::tf::Mode::{Computed, Optional, OptionalComputed, Required};
use crate::tf::{Attribute, Mode, Nesting, Schema, Type};

fn text(name: &'static str, mode: Mode, description: &'static str) -> Attribute {
    Attribute::new(name, mode, Type::String, description)
}

fn flag(name: &'static str, mode: Mode, description: &'static str) -> Attribute {
    Attribute::new(name, mode, Type::Bool, description)
}

/// The schema.
pub fn schema() -> Schema {
    let list = |inner| Type::List(Box::new(inner));
    Schema {
        version: 0,
        description: Cow::Borrowed(
            "A Cloudflare Worker and the Durable Object namespaces that it hosts. Its plan shows every migration of a class before it \
             happens. The Worker itself can be passed to `bindings` of another one as a service binding.",
        ),
        attributes: vec![
            text(
                "name",
                Required,
                "The name of the Worker. A change renames it in place and keeps all namespaces and their data.",
            ),
            text(
                "account_id",
                OptionalComputed,
                "The account. Default: that of the provider. A change forces replacement.",
            ),
            text(
                "script",
                Optional,
                "The code: one ES module, uploaded as `worker.js`. Kept in state, like any argument. The plan reads what it exports, and \
                 refuses code without a class that is hosted.",
            ),
            text(
                "entrypoint",
                Optional,
                "The code: a file in TypeScript or JavaScript that is bundled with everything that it imports, npm packages included. Neither \
                 Node.js nor a bundler has to be there. Only the hash of the result is kept. The plan bundles, and refuses sources that \
                 cannot be bundled, with the place and what to do. There is no type check.",
            ),
            Attribute::nested(
                "bundle",
                Optional,
                Nesting::Single,
                bundle_members(),
                "How `entrypoint` is bundled.",
            ),
            Attribute::nested(
                "modules",
                Optional,
                Nesting::Map,
                module_members(),
                "The code: module name to content, uploaded as it is.",
            ),
            text(
                "main_module",
                Optional,
                "The module that the runtime starts. Not needed with a single module.",
            ),
            text(
                "content_sha256",
                Computed,
                "The hash of the code that was uploaded: names, types and bytes of all modules.",
            ),
            text(
                "compatibility_date",
                OptionalComputed,
                "The date, `YYYY-MM-DD`, that decides the runtime's behaviour.",
            ),
            Attribute::new(
                "compatibility_flags",
                OptionalComputed,
                list(Type::String),
                "Exceptions to the compatibility date.",
            ),
            Attribute::nested(
                "bindings",
                Optional,
                Nesting::Map,
                element_members(),
                "What the code finds in `env`, by name: a `cloudflare_do_namespace`, a `cloudflare_worker`, an element of another Worker's \
                 `bindings`, or an object with `type`. Null means none.",
            ),
            Attribute::new(
                "vars",
                Optional,
                Type::Map(Box::new(Type::String)),
                "Plain-text bindings, short form.",
            ),
            Attribute::nested(
                "durable_objects",
                Optional,
                Nesting::Map,
                element_members(),
                "Namespaces that this Worker hosts without a binding; its code reaches them through `ctx.exports`. The keys are free.",
            ),
            Attribute::nested(
                "durable_object_namespaces",
                Computed,
                Nesting::Map,
                namespace_members(),
                "What this Worker hosts, by stable ID. A class that has none is listed as `class:<name>`.",
            ),
            Attribute::new(
                "migrations",
                Computed,
                Type::Map(Box::new(list(Type::String))),
                "The preview and the history of class changes: migration tag to sentences such as `rename counter: Counter -> MyCounter \
                 (data kept)`, and in how many uploads if it takes more than one.",
            ),
            flag(
                "workers_dev",
                OptionalComputed,
                "Whether the Worker answers below the account's workers.dev subdomain. Null: not managed.",
            ),
            text(
                "url",
                Computed,
                "The address on workers.dev, if it is enabled there.",
            ),
            flag(
                "adopt",
                Optional,
                "Whether to take over a Worker of this name that exists already.",
            ),
            Attribute::nested(
                "timeouts",
                Optional,
                Nesting::Single,
                vec![
                    text(
                        "create",
                        Optional,
                        "How long a create may take. Default: `10m`.",
                    ),
                    text(
                        "update",
                        Optional,
                        "How long an update may take. Default: `10m`.",
                    ),
                    text(
                        "delete",
                        Optional,
                        "How long a delete may take. Default: `10m`.",
                    ),
                ],
                "Limits, as durations such as `30s` or `10m`.",
            ),
            text("type", Computed, "Always `service`."),
            text(
                "service",
                Computed,
                "The name, which makes this object a service binding.",
            ),
            text(
                "worker_id",
                Computed,
                "Cloudflare's immutable id of the Worker.",
            ),
            text(
                "etag",
                Computed,
                "Cloudflare's hash of the Worker's content.",
            ),
            text(
                "migration_tag",
                Computed,
                "The tag of the last class change.",
            ),
        ],
    }
}

fn bundle_members() -> Vec<Attribute> {
    let list = || Type::List(Box::new(Type::String));
    vec![
        flag(
            "minify",
            Optional,
            "Whether names and white space are shortened. Classes and functions keep the `name` that code sees. Default: false.",
        ),
        flag(
            "source_map",
            Optional,
            "Whether a source map is uploaded too, with which Cloudflare shows places in the sources instead of the bundle. Default: false.",
        ),
        Attribute::new(
            "external",
            Optional,
            list(),
            "Packages that stay imports. `cloudflare:` and `node:` modules always do.",
        ),
        Attribute::new(
            "define",
            Optional,
            Type::Map(Box::new(Type::String)),
            "Global names, such as `process.env.STAGE`, to the JavaScript that stands for them: JSON or a name. Text has to be quoted: \
             `jsonencode(\"live\")`. Not for secrets, which belong into bindings.",
        ),
        Attribute::new(
            "conditions",
            Optional,
            list(),
            "The conditions that choose among the exports of a package. Default: `workerd`, `worker` and `browser`, which a list replaces.",
        ),
        text(
            "tsconfig",
            Optional,
            "The configuration of TypeScript. Default: the nearest `tsconfig.json` of each file.",
        ),
    ]
}

fn module_members() -> Vec<Attribute> {
    vec![
        text("content", Optional, "The content as text. Kept in state."),
        text(
            "content_file",
            Optional,
            "A file that holds the content. Only its hash is kept.",
        ),
        text(
            "content_base64",
            Optional,
            "The content, base64-encoded. Kept in state.",
        ),
        text(
            "content_type",
            Optional,
            "The MIME type. Default: by the ending of the module's name.",
        ),
        text("sha256", Computed, "The hash of the content."),
    ]
}

fn namespace_members() -> Vec<Attribute> {
    vec![
        text("class_name", Computed, "The class that implements it."),
        text("namespace_id", Computed, "Cloudflare's id of it."),
        text(
            "name",
            Computed,
            "Its server name, from when it was created.",
        ),
        flag("sqlite", Computed, "Whether it is backed by SQLite."),
        flag(
            "force_destroy",
            Computed,
            "Whether deleting it with data is consented to.",
        ),
        text("script_name", Computed, "The Worker that hosts it."),
    ]
}

/// The members of an element. Each name means the same in every resource whose object may be an element, because Terraform
/// takes over every attribute of that name.
pub fn element_members() -> Vec<Attribute> {
    vec![
        text(
            "type",
            OptionalComputed,
            "The kind of binding: `durable_object_namespace`, `kv_namespace`, `plain_text`, ….",
        ),
        text(
            "stable_id",
            Optional,
            "Durable Objects: the identity of the namespace.",
        ),
        text("class_name", Optional, "Durable Objects: the class."),
        text(
            "script_name",
            OptionalComputed,
            "Durable Objects: the Worker that hosts it.",
        ),
        text(
            "environment",
            Optional,
            "Durable Objects, service: the environment of the other Worker.",
        ),
        text(
            "namespace_id",
            OptionalComputed,
            "Durable Objects, KV: the namespace.",
        ),
        flag("sqlite", Optional, "Durable Objects: the storage."),
        flag(
            "force_destroy",
            Optional,
            "Durable Objects: consent to delete data.",
        ),
        text(
            "transferred_from",
            Optional,
            "Durable Objects: the former host.",
        ),
        text(
            "previous_class_name",
            Optional,
            "Durable Objects: the class to take over.",
        ),
        text(
            "text",
            Optional,
            "plain_text, secret_text: the value. Kept in state.",
        ),
        text("json", Optional, "json: the value, as JSON (`jsonencode`)."),
        text("service", Optional, "service: the Worker."),
        text(
            "service_entrypoint",
            Optional,
            "service: its exported class, if not the default.",
        ),
        text("bucket_name", Optional, "r2_bucket: the bucket."),
        text("jurisdiction", Optional, "r2_bucket: where its data stays."),
        text("database_id", Optional, "d1: the database."),
        text("queue_name", Optional, "queue: the queue."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Core gives an element every attribute of the object that has a member's name: these mean the same on both sides.
    #[test]
    fn no_member_shares_a_name_with_another_meaning() {
        let members: Vec<_> = element_members()
            .into_iter()
            .map(|member| member.name)
            .collect();
        let shared: Vec<_> = schema()
            .attributes
            .into_iter()
            .map(|a| a.name)
            .filter(|name| members.contains(name))
            .collect();
        assert_eq!(shared, ["type", "service"]);
        for reserved in ["id", "name", "entrypoint", "version_id", "tag", "script"] {
            assert!(
                !members.iter().any(|member| member == reserved),
                "{reserved}"
            );
        }
    }
}
