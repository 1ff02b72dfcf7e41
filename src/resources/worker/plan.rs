//! The plan of a Worker: every attribute that can be known, the class changes, and what stands in their way.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::classes::{Classes, Decision, last_tag};
use super::code::{self, Code};
use super::element::{self, Element, Home, Phase};
use super::gate::{self, Cause};
use super::hosting::{self, ELEMENT_MAPS};
use super::identity::{Intent, Owned, Planned, Private};
use super::{Worker, attempts, delete, read, recognize};
use crate::cloudflare::{AccountId, Client};
use crate::durable::ScriptName;
use crate::resources::session::NoClient;
use crate::resources::{diagnose, duration};
use crate::tf::{
    Attr, AttributePath, Diagnostic, Diagnostics, Mode, PlanRequest, PlanResponse, Value,
};

/// What a Worker without a configured or prior date gets. A fixed date, because code must not change its behaviour by the day of
/// its first apply.
pub const COMPATIBILITY_DATE: &str = "2026-11-01";

/// Judges a configuration; parts of it may be unknown.
pub fn judge(config: &Value, phase: Phase) -> Diagnostics {
    let mut diagnostics = code::judge(config);
    if let Some(name) = config.get("name").as_str()
        && let Err(why) = ScriptName::new(name)
    {
        diagnostics.push(
            Diagnostic::error("Invalid Worker name", format!("`name` is {name:?}: {why}."))
                .at(AttributePath::root("name")),
        );
    }
    if let Some(date) = config.get("compatibility_date").as_str()
        && !is_date(date)
    {
        diagnostics.push(
            Diagnostic::error(
                "Invalid compatibility date",
                format!("`compatibility_date` is {date:?}; it must be a date such as `{COMPATIBILITY_DATE}`."),
            )
            .at(AttributePath::root("compatibility_date")),
        );
    }
    for attribute in ELEMENT_MAPS {
        for (name, value) in config.get(attribute).as_map().into_iter().flatten() {
            let path = AttributePath::root(attribute).key(name);
            diagnostics.extend(element::judge(value, &path, phase));
            let hosted_only = attribute == "durable_objects" && phase == Phase::Plan;
            if hosted_only && matches!(Element::of(value), Some(Element::Other(_))) {
                diagnostics.push(
                    Diagnostic::error(
                        "Not a Durable Object namespace",
                        format!("`{path}` must be a `cloudflare_do_namespace`. Other bindings belong into `bindings`."),
                    )
                    .at(path),
                );
            }
        }
    }
    if let (Some(vars), Some(bindings)) =
        (config.get("vars").as_map(), config.get("bindings").as_map())
    {
        for name in vars.keys().filter(|name| bindings.contains_key(*name)) {
            let path = AttributePath::root("vars").key(name);
            diagnostics.push(
                Diagnostic::error(
                    "Two bindings of one name",
                    format!("`{name}` is in `vars` and in `bindings`."),
                )
                .at(path),
            );
        }
    }
    for (name, value) in config.get("timeouts").as_map().into_iter().flatten() {
        if let Some(text) = value.as_str()
            && duration::parse(text).is_none()
        {
            let path = AttributePath::root("timeouts").attribute(name);
            diagnostics.push(
                Diagnostic::error("Invalid duration", duration::expected(name, text)).at(path),
            );
        }
    }
    diagnostics
}

fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|part| part.parse().ok())
    };
    let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
        return false;
    };
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days: u32 = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leaps => 29,
        2 => 28,
        _ => 31,
    };
    text.len() == 10
        && text.as_bytes()[4] == b'-'
        && text.as_bytes()[7] == b'-'
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
}

/// A plan in the making.
struct Draft<'a> {
    worker: &'a Worker,
    /// The state before; for a Worker that is adopted or resumed, what is there.
    prior: Value,
    config: &'a Value,
    /// Whether core sees a create.
    creates: bool,
    /// Whether that create is the second half of replacing a Worker that a state has.
    replaces: bool,
    private: Private,
    planned: Value,
    diagnostics: Diagnostics,
    requires_replace: Vec<AttributePath>,
    client: Option<Client>,
}

/// Plans a create, an update, or a destroy.
pub async fn plan(worker: &Worker, request: PlanRequest) -> PlanResponse {
    let private = Private::decode(&request.prior_private);
    let client = match worker.session.client(&request.stop) {
        Ok(client) => Some(client),
        Err(NoClient::Unknown(_)) => None,
        Err(NoClient::Unusable(diagnostic)) => {
            return PlanResponse {
                planned: request.proposed,
                private: request.prior_private,
                diagnostics: Diagnostics::from(*diagnostic),
                ..PlanResponse::default()
            };
        }
    };
    if request.proposed.is_null() {
        return delete::plan(client, &request.prior, private).await;
    }
    let mut draft = Draft {
        worker,
        creates: request.prior.is_null(),
        replaces: false,
        prior: request.prior.clone(),
        config: &request.config,
        private,
        planned: request.config.clone(),
        diagnostics: judge(&request.config, Phase::Plan),
        requires_replace: Vec::new(),
        client,
    };
    if !draft.diagnostics.has_errors() {
        draft.run(&request.stop).await;
    }
    if draft.diagnostics.has_errors() {
        // Core does not look at it then, but it has to be of the right type.
        draft.planned = request.proposed;
    }
    PlanResponse {
        planned: draft.planned,
        requires_replace: draft.requires_replace,
        private: draft.private.encode(),
        diagnostics: draft.diagnostics,
    }
}

impl Draft<'_> {
    async fn run(&mut self, stop: &CancellationToken) {
        let name = self
            .config
            .get("name")
            .text()
            .map(|text| ScriptName::from_api(&text));
        self.plan_names();
        self.plan_account().await;
        if !self.requires_replace.is_empty() {
            // Core plans again without the prior state; what is said here is only that, and what it needs to know then.
            self.plan_replacement();
            return;
        }
        let loading = code::load(self.config, &self.worker.session.bundler, stop);
        let code = match loading.await {
            Ok(code) => code,
            Err(diagnostics) => {
                self.diagnostics.extend(diagnostics);
                return;
            }
        };
        let Some(intent) = self.look_for_existing(&name, &code).await else {
            return;
        };
        let prior = std::mem::take(&mut self.prior);
        let (prior, unclear) =
            recognize::recognize(prior, self.config, &name, &self.private.hashed);
        self.prior = prior;
        self.diagnostics.extend(unclear);
        self.plan_code(&code);
        self.plan_compatibility();
        self.fill_elements(&name);
        let mut classes = Classes {
            session: &self.worker.session,
            client: self.client.as_ref(),
            account: self.planned.get("account_id").as_str().map(AccountId::new),
            prior: &self.prior,
            config: self.config,
            name: &name,
            diagnostics: &mut self.diagnostics,
        };
        let Some(decision) = classes.decide().await else {
            return;
        };
        classes.judge_code(&code, &decision).await;
        self.finish(&name, &code, intent, decision);
    }

    /// Everything computed is unknown for a Worker that is planned again from nothing.
    fn plan_replacement(&mut self) {
        for attribute in &self.worker.schema.attributes {
            let computed = matches!(attribute.mode, Mode::Computed | Mode::OptionalComputed);
            if computed && self.planned.get(&attribute.name).is_null() {
                self.planned.set(&attribute.name, Value::Unknown);
            }
        }
        for attribute in ["modules", "bindings", "durable_objects"] {
            if let Value::Map(mut map) = self.planned.get(attribute).clone() {
                for value in map.values_mut() {
                    let computed: &[&str] = if attribute == "modules" {
                        &["sha256"]
                    } else {
                        &["type", "script_name", "namespace_id"]
                    };
                    for member in computed {
                        if value.get(member).is_null() {
                            value.set(member, Value::Unknown);
                        }
                    }
                }
                self.planned.set(attribute, Value::Map(map));
            }
        }
        self.private.planned = Some(Planned {
            before: delete::before(&self.prior),
            ..Planned::default()
        });
    }

    fn prior_text(&self, attribute: &str) -> Option<&str> {
        self.prior.get(attribute).as_str()
    }

    fn plan_names(&mut self) {
        let name = self.config.get("name").clone();
        self.planned.set("service", name);
        self.planned.set("type", "service");
        let (Some(before), Some(after)) =
            (self.prior_text("name"), self.config.get("name").as_str())
        else {
            return;
        };
        if before != after {
            self.diagnostics.push(
                Diagnostic::warning(
                    "Worker will be renamed",
                    format!(
                        "Worker `{before}` becomes `{after}`. Its namespaces and data stay, but its workers.dev address changes, and \
                         other tools that name it have to be told."
                    ),
                )
                .at(AttributePath::root("name")),
            );
        }
    }

    async fn plan_account(&mut self) {
        let prior = self.prior.get("account_id").clone();
        let planned = match (self.config.get("account_id"), prior.is_null()) {
            (Value::Null | Value::Unknown, false) => prior,
            (Value::Null, true) => match (self.worker.session.account(), &self.client) {
                (Attr::Known(account), _) => account.as_str().into(),
                (Attr::Null, Some(client)) => {
                    match self.worker.session.resolve_account(client).await {
                        Ok(account) => account.as_str().into(),
                        Err(diagnostic) => {
                            self.diagnostics
                                .push(diagnostic.at(AttributePath::root("account_id")));
                            Value::Unknown
                        }
                    }
                }
                _ => Value::Unknown,
            },
            (written, false) => {
                if *written != prior {
                    self.requires_replace
                        .push(AttributePath::root("account_id"));
                }
                written.clone()
            }
            (written, true) => written.clone(),
        };
        self.planned.set("account_id", planned);
    }

    fn plan_code(&mut self, code: &Code) {
        let hash = match code {
            Code::Known(modules) => Value::from(modules.sha256.as_str()),
            Code::Unknown => Value::Unknown,
            Code::Unmanaged => self.prior.get("content_sha256").clone(),
        };
        if matches!(code, Code::Unmanaged) && self.prior.is_null() {
            self.diagnostics.push(Diagnostic::error(
                "Worker without code",
                "A Worker that does not exist yet needs its code: set `entrypoint`, `script` or `modules`. To manage the settings of a Worker whose code \
                 another tool uploads, import it, or set `adopt = true`.",
            ));
        }
        self.planned.set("content_sha256", hash);
        let mut modules = self.config.get("modules").clone();
        if let Value::Map(map) = &mut modules {
            for (name, module) in map.iter_mut() {
                let known = match code {
                    Code::Known(known) => known
                        .modules
                        .iter()
                        .position(|m| m.name == *name)
                        .map(|i| &known.hashes[i]),
                    Code::Unknown | Code::Unmanaged => None,
                };
                module.set(
                    "sha256",
                    known.map_or(Value::Unknown, |hash| hash.as_str().into()),
                );
            }
        }
        self.planned.set("modules", modules);
    }

    fn plan_compatibility(&mut self) {
        let date = match (
            self.config.get("compatibility_date"),
            self.prior.get("compatibility_date"),
        ) {
            // A Worker that runs without a date keeps the behaviour that it has.
            (Value::Null, Value::Null) if !self.prior.is_null() => Value::Null,
            (Value::Null, Value::Null) => {
                self.diagnostics.push(
                    Diagnostic::warning(
                        "No compatibility date",
                        format!("The Worker gets the date {COMPATIBILITY_DATE}. Set `compatibility_date` to choose it yourself."),
                    )
                    .at(AttributePath::root("compatibility_date")),
                );
                COMPATIBILITY_DATE.into()
            }
            (Value::Null, prior) => prior.clone(),
            (written, _) => written.clone(),
        };
        self.planned.set("compatibility_date", date);
        let flags = match (
            self.config.get("compatibility_flags"),
            self.prior.get("compatibility_flags"),
        ) {
            (Value::Null, Value::Null) => Value::List(Vec::new()),
            (Value::Null, prior) => prior.clone(),
            (written, _) => written.clone(),
        };
        self.planned.set("compatibility_flags", flags);
        let workers_dev = match (
            self.config.get("workers_dev"),
            self.prior.get("workers_dev"),
        ) {
            (Value::Null, Value::Null) => Value::Unknown,
            (Value::Null, prior) => prior.clone(),
            (written, _) => written.clone(),
        };
        self.planned.set("workers_dev", workers_dev);
    }

    /// Fills in what an element leaves to us: its type, and where a namespace lives.
    fn fill_elements(&mut self, name: &Attr<ScriptName>) {
        let entries = hosting::entries(&self.prior);
        for attribute in ELEMENT_MAPS {
            let mut elements = self.config.get(attribute).clone();
            let prior = self.prior.get(attribute);
            if let Value::Map(map) = &mut elements {
                for (key, value) in map.iter_mut() {
                    fill_element(value, prior.get(key), &entries, name);
                }
            }
            self.planned.set(attribute, elements);
        }
    }

    /// Looks whether a Worker that is to be created is there already, and whether that is all right. `None` after an error.
    async fn look_for_existing(&mut self, name: &Attr<ScriptName>, code: &Code) -> Option<Intent> {
        let absent = if self.creates {
            Intent::Create
        } else {
            Intent::Update
        };
        let account = self.planned.get("account_id").as_str().map(AccountId::new);
        let (Attr::Known(name), Some(client), Some(account)) = (name, self.client.clone(), account)
        else {
            return Some(absent);
        };
        let renames = self
            .prior_text("name")
            .is_some_and(|before| before != name.as_str());
        if let Some(id) = self.prior_text("worker_id")
            && !self.worker.session.plan_of(account.clone(), id, false)
        {
            self.diagnostics.push(attempts::twin(name));
            return None;
        }
        if !self.creates && !renames {
            return Some(absent);
        }
        if self.creates && self.worker.session.has_created(&account, name) {
            // Planned again for the apply, after its twin: not an interrupted attempt of our own.
            self.diagnostics.push(attempts::twin(name));
            return None;
        }
        if self.creates && (self.private.planned.is_some() || self.private.mark.is_some()) {
            self.judge_replacement().await;
            self.replaces = true;
            return Some(absent);
        }
        let cannot_see =
            |error| diagnose::error(format!("Cannot see whether Worker {name} exists"), &error);
        let scripts = match client.listings().scripts(&account).await {
            Ok(scripts) => scripts,
            Err(error) => {
                self.diagnostics.push(cannot_see(error));
                return None;
            }
        };
        let Some(found) = scripts.iter().find(|listed| listed.name == *name) else {
            return Some(absent);
        };
        let session = &self.worker.session;
        let is_free = |id: &String| session.plan_of(account.clone(), id, true);
        if self.creates && !found.worker_id.as_ref().is_none_or(is_free) {
            self.diagnostics.push(attempts::twin(name));
            return None;
        }
        let is_in_state = |id: &String| self.worker.session.has_seen(&account, id);
        if self.creates && found.worker_id.as_ref().is_some_and(is_in_state) {
            self.replaces = true; // The create half of replacing a tainted Worker; checked at apply.
            return Some(absent);
        }
        if renames {
            if found.worker_id.is_some()
                && found.worker_id.as_deref() == self.prior_text("worker_id")
            {
                return Some(absent); // Our own rename, whose answer was lost.
            }
            self.diagnostics.push(
                Diagnostic::error(
                    "A Worker of the new name exists",
                    format!("Account {account} has another Worker `{name}`. Choose another name, or delete that Worker first."),
                )
                .at(AttributePath::root("name")),
            );
            return None;
        }
        let hash = match code {
            Code::Known(modules) => Some(modules.sha256.as_str()),
            Code::Unknown | Code::Unmanaged => None,
        };
        let Some(intent) =
            attempts::intent_for_existing(&found.tags, hash, self.config.get("adopt").as_bool())
        else {
            self.diagnostics.push(attempts::exists(&account, name));
            return None;
        };
        match read::discover(&client, &account, name).await {
            Ok(Some((state, found))) => {
                self.prior = state;
                self.private.hashed = found.hashed;
            }
            Ok(None) => return Some(absent),
            Err(diagnostics) => {
                self.diagnostics.extend(diagnostics);
                return None;
            }
        }
        Some(intent)
    }

    /// The second plan call of a replacement: what the first one knew decides whether the old object may go.
    async fn judge_replacement(&mut self) {
        let before = self
            .private
            .planned
            .as_ref()
            .and_then(|planned| planned.before.clone());
        if let (Some(before), Some(client)) = (before, &self.client) {
            let account = AccountId::new(before.account.as_str());
            self.diagnostics.extend(
                gate::judge(
                    client,
                    &account,
                    &before.name,
                    &before.namespaces,
                    Cause::Replaced,
                )
                .await,
            );
        }
    }

    fn finish(&mut self, name: &Attr<ScriptName>, code: &Code, intent: Intent, decision: Decision) {
        let former = match (self.prior_text("name"), name) {
            (Some(former), _) => Attr::Known(ScriptName::from_api(former)),
            (None, name) => name.clone(),
        };
        let bindings_change = essences(&self.prior, &former) != essences(&self.planned, name)
            || essences(&self.planned, name).is_none();
        let differs = |attribute: &str| self.prior.get(attribute) != self.planned.get(attribute);
        let code_changes = !matches!(code, Code::Unmanaged) && differs("content_sha256");
        let flags_change = sorted(self.prior.get("compatibility_flags"))
            != sorted(self.planned.get("compatibility_flags"));
        let runtime_changes = flags_change || differs("compatibility_date");
        let main_changes = self.prior_text("main_module").is_some() && differs("main_module");
        let undecided = decision.undecided;
        let class_change = undecided || !decision.uploads.is_empty();
        let upload = intent == Intent::Create
            || code_changes
            || main_changes
            || bindings_change
            || class_change
            || runtime_changes;
        if upload && let Code::Known(modules) = code {
            let judges_builtins = intent == Intent::Create || code_changes || runtime_changes;
            let warnings = modules.warnings(&self.planned, judges_builtins);
            self.diagnostics.extend(warnings);
        }
        let fresh = intent != Intent::Update;
        let keep = |draft: &Draft<'_>, attribute: &str, changes: bool| match changes || fresh {
            true => Value::Unknown,
            false => draft.prior.get(attribute).clone(),
        };
        let renamed = differs("name");
        let etag = keep(self, "etag", upload);
        let worker_id = keep(self, "worker_id", false);
        // The tag of a Worker that is taken over may move between the two plan calls of one run.
        let decided = !undecided && matches!(intent, Intent::Create | Intent::Update);
        let migration_tag = match last_tag(&decision.uploads) {
            Some(tag) if decided => Value::from(tag.as_str()),
            _ => keep(self, "migration_tag", undecided),
        };
        let url = match self.planned.get("workers_dev") {
            Value::Bool(false) => Value::Null,
            _ => keep(self, "url", renamed || differs("workers_dev")),
        };
        for (attribute, value) in [
            ("etag", etag),
            ("worker_id", worker_id),
            ("migration_tag", migration_tag),
            ("url", url),
        ] {
            self.planned.set(attribute, value);
        }
        match intent {
            // With `create_before_destroy` the old Worker is still there when this is planned again, and then it is gone on with or
            // adopted: everything that would differ is left open. An error in that plan would leave the old half deposed in the state.
            Intent::Create if self.replaces => {
                for attribute in ["durable_object_namespaces", "migrations", "migration_tag"] {
                    self.planned.set(attribute, Value::Unknown);
                }
            }
            Intent::Create | Intent::Update => {
                self.fill_namespace_ids(&decision.namespaces);
                self.planned
                    .set("durable_object_namespaces", decision.namespaces);
                self.planned.set("migrations", decision.migrations);
            }
            // What is there may change between the two plan calls of one run, which must not differ.
            Intent::Adopt | Intent::Resume => {
                self.planned
                    .set("durable_object_namespaces", Value::Unknown);
                self.planned.set("migrations", Value::Unknown);
                self.warn_of_taking_over(intent, upload, decision.history.as_ref());
            }
        }
        self.private.planned = Some(Planned {
            intent,
            replaces: self.replaces,
            upload,
            started_from: decision.started_from.into_iter().collect::<Vec<Owned>>(),
            uploads: decision.uploads,
            leaving: decision.leaving,
            claims: decision.claims,
            undecided,
            deletes: decision.deletes,
            history: decision.history,
            before: if self.creates {
                None
            } else {
                delete::before(&self.prior)
            },
        });
    }

    /// A namespace that is adopted has its id already, which the state did not know by its stable ID.
    fn fill_namespace_ids(&mut self, namespaces: &Value) {
        for attribute in ELEMENT_MAPS {
            let Value::Map(mut map) = self.planned.get(attribute).clone() else {
                continue;
            };
            for element in map.values_mut() {
                let hosted = element.get("script_name") == self.planned.get("name");
                let known = element
                    .get("stable_id")
                    .as_str()
                    .map(|id| namespaces.get(id).get("namespace_id"));
                if let (true, true, Some(Value::String(id))) =
                    (hosted, element.get("namespace_id").is_unknown(), known)
                {
                    element.set("namespace_id", id.clone());
                }
            }
            self.planned.set(attribute, Value::Map(map));
        }
    }

    fn warn_of_taking_over(
        &mut self,
        intent: Intent,
        upload: bool,
        history: Option<&(String, Vec<String>)>,
    ) {
        let name = self.prior_text("name").unwrap_or_default().to_owned();
        let mut detail = match intent {
            Intent::Resume => format!(
                "Worker `{name}` carries the mark of an earlier create with the same code that was interrupted. This one goes on from \
                 there."
            ),
            _ => format!(
                "Worker `{name}` exists and is taken over, with its namespaces, secrets and settings."
            ),
        };
        detail.push_str(if upload {
            " A new version will be uploaded."
        } else {
            " Nothing will be uploaded."
        });
        match history {
            Some((_, sentences)) => {
                detail.push_str(&format!(
                    " What happens to its Durable Object classes:\n- {}",
                    sentences.join("\n- ")
                ));
            }
            None => detail.push_str(" Its Durable Object classes do not change."),
        }
        let summary = match intent {
            Intent::Resume => "Going on with an interrupted create",
            _ => "Adopting an existing Worker",
        };
        self.diagnostics
            .push(Diagnostic::warning(summary, detail).at(AttributePath::root("name")));
    }
}

fn fill_element(
    value: &mut Value,
    prior: &Value,
    entries: &[hosting::Entry],
    name: &Attr<ScriptName>,
) {
    match Element::of(value) {
        Some(Element::Other(ty)) if value.get("type").is_null() => value.set("type", ty),
        Some(Element::DurableObject(object)) => {
            value.set("type", element::BINDING_TYPE);
            let home = object.home(name);
            if value.get("script_name").is_null()
                && matches!(home, Home::Here(_) | Home::HereByClass)
            {
                value.set(
                    "script_name",
                    Value::from(name.clone().map(|name| name.to_string())),
                );
            } else if value.get("script_name").is_null() && home == Home::Unknown {
                value.set("script_name", Value::Unknown);
            }
            if value.get("namespace_id").is_null() {
                let known = match &home {
                    Home::Here(stable_id) => entries
                        .iter()
                        .find(|entry| entry.stable_id.as_ref() == Some(stable_id))
                        .and_then(|entry| entry.namespace_id.clone()),
                    Home::HereByClass => entries
                        .iter()
                        .find(|entry| Some(&entry.class) == object.class_name.known())
                        .and_then(|entry| entry.namespace_id.clone()),
                    // What was hosted here and moves, or has moved, is the same namespace there.
                    Home::There(_) => entries
                        .iter()
                        .find(|entry| {
                            entry.stable_id.is_some()
                                && entry.stable_id.as_ref() == object.stable_id.known()
                        })
                        .and_then(|entry| entry.namespace_id.clone()),
                    Home::ById | Home::Unknown => None,
                };
                let kept = match home {
                    // The same class of the same Worker, bound before under the same name.
                    Home::There(_)
                        if same_members(
                            value,
                            prior,
                            &["stable_id", "class_name", "script_name"],
                        ) =>
                    {
                        prior.get("namespace_id").clone()
                    }
                    _ => Value::Null,
                };
                let id = match (known, kept) {
                    (Some(id), _) => id.as_str().into(),
                    (None, Value::String(id)) => Value::String(id),
                    _ => Value::Unknown,
                };
                value.set("namespace_id", id);
            }
        }
        _ => {}
    }
}

fn same_members(one: &Value, other: &Value, members: &[&str]) -> bool {
    members
        .iter()
        .all(|member| !one.get(member).is_unknown() && one.get(member) == other.get(member))
}

fn sorted(flags: &Value) -> Option<Vec<&str>> {
    let mut flags: Vec<&str> = flags
        .as_list()?
        .iter()
        .map(Value::as_str)
        .collect::<Option<_>>()?;
    flags.sort_unstable();
    Some(flags)
}

/// What a Worker binds, by name, whichever argument it stands in. `None` if part of it is unknown.
fn essences<'a>(
    value: &'a Value,
    own: &Attr<ScriptName>,
) -> Option<BTreeMap<&'a str, Vec<(&'static str, Value)>>> {
    let mut essences = BTreeMap::new();
    if value.get("bindings").is_unknown() || value.get("vars").is_unknown() {
        return None;
    }
    for (name, text) in value.get("vars").as_map().into_iter().flatten() {
        if text.is_unknown() {
            return None;
        }
        essences.insert(
            name.as_str(),
            vec![("type", "plain_text".into()), ("text", text.clone())],
        );
    }
    for (name, element) in value.get("bindings").as_map().into_iter().flatten() {
        essences.insert(name.as_str(), element::essence(element, own)?);
    }
    Some(essences)
}

#[cfg(test)]
mod tests;
