//! What a flow is: where it starts, what is applied, and what must hold in the end.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::snapshot::Snapshot;
use acceptance_tests::stage::Stage;

use crate::layout::{Namespace, Worker, hcl};

/// The saved plan of a flow.
pub const PLAN: &str = "saved.tfplan";

/// One change, and everything that is to be known of it.
#[derive(Default)]
pub struct Flow {
    pub name: &'static str,
    /// The configuration that is in force before; none: nothing is there.
    pub before: Option<String>,
    /// The Worker that another tool has deployed instead of us, if one has.
    pub foreign: Option<&'static str>,
    /// Who puts data where, once each: the Worker and the stable ID.
    pub visits: Vec<(&'static str, &'static str)>,
    /// The configuration to be applied.
    pub target: String,
    /// Whether everything is destroyed instead.
    pub destroys: bool,
    /// Further arguments of every plan and apply.
    pub arguments: Vec<&'static str>,
    /// Every namespace in the end as `<worker>/<class>`, and where it was in the beginning unless it is new.
    pub ends: Vec<(&'static str, Option<&'static str>)>,
    /// Which Worker answers for which stable ID in the end, and with how many visits so far.
    pub answers: Vec<(&'static str, &'static str, usize)>,
    /// A Worker whose migration tag another tool moves while we are at work.
    pub tag_moves: Option<&'static str>,
    /// A Worker and a class of it that another tool deletes, or replaces, while we are at work.
    pub overtaken: Option<(&'static str, &'static str)>,
    /// A Worker and two classes of it that another tool exchanges while we are at work.
    pub exchanged: Option<(&'static str, &'static str, &'static str)>,
}

/// A configuration as text.
pub fn configuration(namespaces: &[Namespace], workers: &[Worker]) -> String {
    hcl(namespaces, workers)
}

impl Flow {
    /// The arguments of a plan that is saved.
    pub fn plan(&self, file: &'static str) -> Vec<&'static str> {
        let mut all = vec!["plan", "-input=false", "-out", file];
        if self.destroys {
            all.push("-destroy");
        }
        all.extend(&self.arguments);
        all
    }

    /// The arguments of a plan that only shows whether something is left to do.
    pub fn look(&self) -> Vec<&'static str> {
        let mut all = vec!["plan", "-input=false", "-detailed-exitcode"];
        if self.destroys {
            all.push("-destroy");
        }
        all.extend(&self.arguments);
        all
    }

    /// The arguments of the apply of the saved plan.
    pub fn apply_saved(&self) -> Vec<&'static str> {
        let mut all = vec!["apply", "-auto-approve", "-input=false"];
        all.extend(&self.arguments);
        all.push(PLAN);
        all
    }

    /// The arguments of an apply that plans anew.
    pub fn apply(&self) -> Vec<&'static str> {
        let command = if self.destroys { "destroy" } else { "apply" };
        let mut all = vec![command, "-auto-approve", "-input=false"];
        all.extend(&self.arguments);
        all
    }

    /// The world before the plan: the baseline with its data, and the configuration that is about to be applied.
    pub async fn beginning(&self) -> Snapshot {
        Snapshot::of(async |stage| {
            if let Some(before) = &self.before {
                stage.workspace.write("main.tf", before);
                stage.apply(&[]).await;
            }
            for (worker, id) in &self.visits {
                stage.visitor.read(worker, &format!("/{id}")).await;
            }
            if let Some(script) = self.foreign {
                make_foreign(stage, script).await;
            }
            stage.workspace.write("main.tf", &self.target);
        })
        .await
    }
}

/// Takes from a Worker what tells that it is ours, and forgets it.
async fn make_foreign(stage: &Stage, script: &str) {
    let script = script.to_owned();
    let tag = Some("v3".into());
    for action in [
        Action::SetTags {
            script: script.clone(),
            tags: vec!["team:x".into()],
        },
        Action::SetMigrationTag { script, tag },
    ] {
        let done = stage.cloudflare.act(action).await;
        done.expect("another tool can do that");
    }
    stage.workspace.remove("terraform.tfstate");
}
