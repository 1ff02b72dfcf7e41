//! The main job on local Cloudflare, told step by step: deploy a counter, rename its class, try to change what must not
//! change; then move two namespaces to another Worker and swap their classes. `cargo demo -- --serve` leaves local Cloudflare running
//! afterwards.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install::{self, Core, CoreKind};
use acceptance_tests::provider::provider_binary;
use acceptance_tests::terraform::{Run, Workspace};
use acceptance_tests::visitor::Visitor;

/// The examples that the story is told with: they are copied, and the first one is edited as a user would.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/stable-id");
const TRANSFER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/transfer");
const WORKER: &str = "counter";

type Told = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let serve = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--serve"] => true,
        _ => {
            let _ = writeln!(io::stderr(), "usage: cargo demo [-- --serve]");
            return ExitCode::from(2);
        }
    };
    match tell(serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                let _ = writeln!(io::stderr(), "  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn tell(serve: bool) -> Told {
    let core = install::core().await?;
    let workerd = install::workerd().await?;
    say("Building the provider...")?;
    let binary = provider_binary();
    let started = Instant::now();
    let story = Story::begin(core, workerd.as_ref(), &binary).await?;
    story.deploy().await?;
    story.rename().await?;
    story.change_the_stable_id().await?;
    story.transfer_and_swap().await?;
    heading("Done")?;
    say(&format!(
        "Classes have new names and namespaces a new host; every object has what it had. It took {:.1} s.",
        started.elapsed().as_secs_f64()
    ))?;
    if serve {
        story.serve().await?;
    }
    Ok(())
}

/// One local Cloudflare, one configuration, one visitor.
struct Story {
    core: Core,
    cloudflare: LocalCloudflare,
    workspace: Workspace,
    visitor: Visitor,
}

impl Story {
    async fn begin(core: Core, workerd: &Path, binary: &Path) -> Result<Self, Box<dyn Error>> {
        heading("Local Cloudflare")?;
        let cloudflare = LocalCloudflare::start(Options::new(workerd)).await?;
        say(&format!("API      {}", cloudflare.api_url()))?;
        say(&format!("Workers  {}", cloudflare.worker_url("<name>")))?;
        say(&format!("Core     {} {}", product(&core), core.version))?;
        say(&format!("Provider {}", binary.display()))?;
        let workspace = Workspace::new(&core, &cloudflare);
        workspace.copy_from(Path::new(EXAMPLE));
        let visitor = Visitor::new(&cloudflare);
        Ok(Self {
            core,
            cloudflare,
            workspace,
            visitor,
        })
    }

    async fn deploy(&self) -> Told {
        heading("1. Deploy a counter")?;
        let text = self.workspace.read("main.tf");
        let resources = text.find("resource ").unwrap_or_default();
        say(text[resources..].trim_end())?;
        let run = self.run(&["apply", "-auto-approve"], true).await?;
        say(&line_with(&run.stdout, "Apply complete!"))?;
        self.visit(&["1", "2", "3"]).await
    }

    async fn rename(&self) -> Told {
        heading("2. Rename the class, in the configuration and in the code")?;
        self.edit(
            "main.tf",
            r#"class_name = "Counter""#,
            r#"class_name = "MyCounter""#,
        )?;
        self.edit("worker.js", "class Counter", "class MyCounter")?;
        let plan = self.run(&["plan"], true).await?;
        say(&excerpt(&plan.stdout))?;
        let run = self.run(&["apply", "-auto-approve"], true).await?;
        say(&line_with(&run.stdout, "Apply complete!"))?;
        say("\nThe same objects, with what they have stored:")?;
        self.visit(&["4"]).await?;
        let again = self.run(&["plan"], true).await?;
        say(&line_with(&again.stdout, "No changes."))
    }

    async fn change_the_stable_id(&self) -> Told {
        heading("3. Change the stable ID: that is another namespace")?;
        let plan = self
            .run(&["plan", "-var", "stable_id=visits"], false)
            .await?;
        say(&excerpt(&plan.stdout))?;
        say(plan.stderr.trim())?;
        if !plan.says("# forces replacement") {
            return Err("the plan does not show the replacement".into());
        }
        say("\nAs it should be: the Worker does not let go of data that nobody agreed to lose.")?;
        self.visit(&["5"]).await
    }

    async fn transfer_and_swap(&self) -> Told {
        heading("4. Two namespaces on one Worker, bound by another one")?;
        let workspace = Workspace::new(&self.core, &self.cloudflare);
        workspace.copy_from(Path::new(TRANSFER));
        let apply = ["apply", "-auto-approve"];
        let moved = ["-var", "host=warehouse"];
        let swapped = ["-var", "host=warehouse", "-var", "swapped=true"];
        self.run_in(&workspace, &apply, true).await?;
        self.visit_both(1).await?;
        for (number, (title, edit)) in [
            ("5. Both move to the other Worker", &moved[..]),
            ("6. Their classes swap names", &swapped[..]),
        ]
        .into_iter()
        .enumerate()
        {
            heading(title)?;
            let plan = self
                .run_in(&workspace, &[&["plan"], edit].concat(), true)
                .await?;
            for line in sentences(&plan.stdout) {
                say(line)?;
            }
            let run = self
                .run_in(&workspace, &[&apply[..], edit].concat(), true)
                .await?;
            say(&line_with(&run.stdout, "Apply complete!"))?;
            self.visit_both(number + 2).await?;
            let again = self
                .run_in(&workspace, &[&["plan"], edit].concat(), true)
                .await?;
            say(&line_with(&again.stdout, "No changes."))?;
        }
        Ok(())
    }

    /// Calls both Workers of the second example; their objects are the same.
    async fn visit_both(&self, round: usize) -> Told {
        for (turn, worker) in ["shop", "warehouse"].into_iter().enumerate() {
            for (path, what) in [("/visitors", "visitor"), ("/orders", "order")] {
                say(&format!(
                    "\n$ curl {}{path}",
                    self.cloudflare.worker_url(worker)
                ))?;
                let (_, answer) = self.visitor.get(worker, path).await?;
                say(answer.trim_end())?;
                let expected = format!("{what} {}", 2 * round - 1 + turn);
                if answer.trim_end() != expected {
                    return Err(format!("the Worker should have answered {expected}").into());
                }
            }
        }
        Ok(())
    }

    async fn serve(self) -> Told {
        heading("Yours, until Ctrl-C")?;
        say("In another terminal:\n")?;
        for (name, value) in [
            ("CLOUDFLARE_API_TOKEN", self.cloudflare.token().to_owned()),
            (
                "CLOUDFLARE_ACCOUNT_ID",
                self.cloudflare.account_id().to_owned(),
            ),
            ("CLOUDFLARE_BASE_URL", self.cloudflare.api_url()),
            (
                "TF_CLI_CONFIG_FILE",
                self.workspace.cli_config().display().to_string(),
            ),
        ] {
            say(&if cfg!(windows) {
                format!("$env:{name} = '{value}'")
            } else {
                format!("export {name}='{value}'")
            })?;
        }
        say(&format!("cd '{}'", self.workspace.path().display()))?;
        say(&format!("{} plan", self.core.path.display()))?;
        say(&format!("curl {}", self.cloudflare.worker_url(WORKER)))?;
        say(
            "\nNo `init` is needed: the CLI configuration points to the provider that was just built.",
        )?;
        tokio::signal::ctrl_c().await?;
        self.cloudflare.stop().await;
        say("\nStopped.")
    }

    /// Shows and runs a command, which must end as expected.
    async fn run(&self, arguments: &[&str], succeeds: bool) -> Result<Run, Box<dyn Error>> {
        self.run_in(&self.workspace, arguments, succeeds).await
    }

    async fn run_in(
        &self,
        workspace: &Workspace,
        arguments: &[&str],
        succeeds: bool,
    ) -> Result<Run, Box<dyn Error>> {
        let program = match self.core.kind {
            CoreKind::Terraform => "terraform",
            CoreKind::OpenTofu => "tofu",
        };
        say(&format!("\n$ {program} {}", arguments.join(" ")))?;
        let run = workspace.run(arguments).await;
        match (run.status.success(), succeeds) {
            (true, true) | (false, false) => Ok(run),
            (true, false) => Err(format!("this should have been refused:\n{run}").into()),
            (false, true) => Err(format!("this should have succeeded:\n{run}").into()),
        }
    }

    /// Changes a file, and shows the lines as a diff.
    fn edit(&self, file: &str, before: &str, after: &str) -> Told {
        say(file)?;
        for line in self.workspace.read(file).lines() {
            if line.contains(before) {
                say(&format!("  - {}", line.trim()))?;
                say(&format!("  + {}", line.trim().replace(before, after)))?;
            }
        }
        self.workspace.edit(file, before, after);
        Ok(())
    }

    /// Calls the Worker once for each count, which it must answer.
    async fn visit(&self, counts: &[&str]) -> Told {
        say(&format!("\n$ curl {}", self.cloudflare.worker_url(WORKER)))?;
        for count in counts {
            let (_, answer) = self.visitor.get(WORKER, "/").await?;
            say(answer.trim_end())?;
            if answer.trim_end() != *count {
                return Err(format!("the Worker should have answered {count}").into());
            }
        }
        Ok(())
    }
}

/// The plan that the core printed, without what it did before and says afterwards.
fn excerpt(stdout: &str) -> String {
    let lines = stdout.lines().map(str::trim_end);
    let plan = lines.skip_while(|line| !line.starts_with("  #") && !line.contains("will perform"));
    let mut kept: Vec<&str> = Vec::new();
    for line in plan.skip_while(|line| line.contains("will perform")) {
        kept.push(line);
        if line.starts_with("Plan:") {
            break;
        }
    }
    kept.join("\n").trim_matches('\n').to_owned()
}

/// The sentences about classes in a plan.
fn sentences(stdout: &str) -> impl Iterator<Item = &str> {
    let verbs = [
        "create ",
        "rename ",
        "delete ",
        "transfer ",
        "adopt ",
        "leave ",
        "in ",
    ];
    stdout.lines().map(str::trim_end).filter(move |line| {
        let said = line.trim_start().strip_prefix("+ \"").unwrap_or_default();
        verbs.iter().any(|verb| said.starts_with(verb))
    })
}

fn line_with(stdout: &str, text: &str) -> String {
    let line = stdout.lines().find(|line| line.contains(text));
    line.unwrap_or_default().to_owned()
}

fn product(core: &Core) -> &'static str {
    match core.kind {
        CoreKind::Terraform => "Terraform",
        CoreKind::OpenTofu => "OpenTofu",
    }
}

fn heading(text: &str) -> Told {
    say(&format!("\n{text}\n{}", "─".repeat(text.chars().count())))
}

fn say(text: &str) -> Told {
    writeln!(io::stdout(), "{text}").map_err(Into::into)
}
