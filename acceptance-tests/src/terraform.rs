//! Drives a core, Terraform or OpenTofu, in a directory of its own, as a user would at a terminal.
//!
//! The core sees nothing of the developer's environment: no credentials, no CLI configuration, no plugin cache. Its
//! temporary directory lies inside the workspace, so that a test can see whether anything was left behind.

mod run;

use std::fs::{self, File};
use std::future::Future;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub use self::run::{Run, flatten};

use crate::cloudflare::LocalCloudflare;
use crate::install::Core;
use crate::provider::provider_binary;

/// How long a command may take. It ends a hanging core with what it said, rather than the test run without a word.
const LIMIT: Duration = Duration::from_secs(300);

/// The source address of the provider, as `required_providers` writes it.
pub const SOURCE: &str = "durable-objects/cloudflare";

/// A root module, its state, and the core that works on them.
///
/// Every method that runs a command and expects success panics with the whole output, at the line of the caller.
#[derive(Debug)]
pub struct Workspace {
    directory: TempDir,
    core: PathBuf,
    environment: Vec<(String, String)>,
    commands: AtomicUsize,
}

impl Workspace {
    /// An empty root module for the provider under test, with local Cloudflare behind it.
    pub fn new(core: &Core, cloudflare: &LocalCloudflare) -> Self {
        Self::without_provider(core)
            .with_provider(&provider_binary())
            .with_variable("CLOUDFLARE_API_TOKEN", cloudflare.token())
            .with_variable("CLOUDFLARE_ACCOUNT_ID", cloudflare.account_id())
            .with_variable("CLOUDFLARE_BASE_URL", cloudflare.api_url())
    }

    /// An empty root module for what the core can do alone: no provider but those built into it.
    pub fn without_provider(core: &Core) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tf-")
            .tempdir()
            .expect("a temporary directory can be created");
        for folder in ["module", "tmp", "home", "output"] {
            fs::create_dir(directory.path().join(folder)).expect("the directory is new");
        }
        let workspace = Self {
            directory,
            core: core.path.clone(),
            environment: Vec::new(),
            commands: AtomicUsize::new(0),
        };
        workspace.configure_cli("");
        workspace
    }

    /// Uses the provider in `binary` instead of a published one; no `init` is needed, nor would it work.
    pub fn with_provider(self, binary: &Path) -> Self {
        let plugins = self.directory.path().join("plugins");
        fs::create_dir(&plugins).expect("a workspace gets one provider");
        link(binary, &plugins);
        self.configure_cli(&format!(
            "\n  dev_overrides {{\n    \"{SOURCE}\" = \"{}\"\n  }}",
            hcl_path(&plugins)
        ));
        self
    }

    /// Sets an environment variable for every command from here on.
    pub fn with_variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The directory of the root module.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("module")
    }

    /// The CLI configuration that makes the core use the provider under test.
    pub fn cli_config(&self) -> PathBuf {
        self.directory.path().join("cli.tfrc")
    }

    /// Writes a file of the root module, replacing an earlier one.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("the workspace is writable");
        }
        fs::write(path, content).expect("the workspace is writable");
    }

    /// Removes a file of the root module.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).expect("the file was written before");
    }

    /// Reads a file of the root module.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("the file was written before")
    }

    /// Changes a file of the root module as an editor's "replace all" does; the text must be there.
    #[track_caller]
    pub fn edit(&self, name: &str, before: &str, after: &str) {
        let text = self.read(name);
        assert!(
            text.contains(before),
            "`{before}` is not in {name}:\n{text}"
        );
        self.write(name, &text.replace(before, after));
    }

    /// Copies the files of a directory into the root module.
    #[track_caller]
    pub fn copy_from(&self, source: &Path) {
        copy_folder(source, &self.path());
    }

    /// `apply`, which must succeed.
    #[track_caller]
    pub fn apply(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.succeed("apply", &["-auto-approve"], extra)
    }

    /// `apply`, which must fail.
    #[track_caller]
    pub fn apply_expecting_error(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.fail("apply", &["-auto-approve"], extra)
    }

    /// `apply -refresh-only`, which must succeed.
    #[track_caller]
    pub fn refresh(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.succeed("apply", &["-refresh-only", "-auto-approve"], extra)
    }

    /// `destroy`, which must succeed.
    #[track_caller]
    pub fn destroy(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.succeed("destroy", &["-auto-approve"], extra)
    }

    /// `destroy`, which must fail.
    #[track_caller]
    pub fn destroy_expecting_error(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.fail("destroy", &["-auto-approve"], extra)
    }

    /// `plan`, which must succeed.
    #[track_caller]
    pub fn plan(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.succeed("plan", &[], extra)
    }

    /// `plan`, which must fail.
    #[track_caller]
    pub fn plan_expecting_error(&self, extra: &[&str]) -> impl Future<Output = Run> {
        self.fail("plan", &[], extra)
    }

    /// `validate`, which must succeed.
    #[track_caller]
    pub fn validate(&self) -> impl Future<Output = Run> {
        self.succeed("validate", &[], &[])
    }

    /// `validate`, which must fail.
    #[track_caller]
    pub fn validate_expecting_error(&self) -> impl Future<Output = Run> {
        self.fail("validate", &[], &[])
    }

    /// `import` of one object, which must succeed.
    #[track_caller]
    pub fn import(&self, address: &str, id: &str) -> impl Future<Output = Run> {
        let caller = Location::caller();
        async move {
            let run = self.run(&["import", address, id]).await;
            run.expect_success(caller)
        }
    }

    /// `plan -detailed-exitcode`: 0 for no changes, 2 for changes, 1 for an error.
    pub async fn plan_exit_code(&self, extra: &[&str]) -> Option<i32> {
        let run = self
            .run(&[&["plan", "-detailed-exitcode"], extra].concat())
            .await;
        run.status.code()
    }

    /// Panics with the plan if the configuration and what is there differ.
    #[track_caller]
    pub fn assert_plan_is_empty(&self, extra: &[&str]) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let run = self
                .run(&[&["plan", "-detailed-exitcode"], extra].concat())
                .await;
            assert!(
                run.status.code() == Some(0),
                "at {caller}: the plan should be empty:\n{run}"
            );
        }
    }

    /// The plan as data: `plan -out`, then `show -json`.
    #[track_caller]
    pub fn plan_json(&self, extra: &[&str]) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let file = "saved.tfplan";
            self.run(&[&["plan", "-out", file], extra].concat())
                .await
                .expect_success(caller);
            let shown = self.run(&["show", "-json", file]).await;
            self.remove(file);
            shown.expect_success(caller).json(caller)
        }
    }

    /// The state as data: `show -json`.
    #[track_caller]
    pub fn state_json(&self) -> impl Future<Output = Value> {
        let caller = Location::caller();
        async move {
            let shown = self.run(&["show", "-json"]).await;
            shown.expect_success(caller).json(caller)
        }
    }

    /// The attributes of a resource of the root module in the state; `Null` if it is not there.
    #[track_caller]
    pub fn resource(&self, address: &str) -> impl Future<Output = Value> {
        let state = self.state_json();
        async move {
            let state = state.await;
            let resources = state["values"]["root_module"]["resources"].as_array();
            let found = resources.and_then(|all| all.iter().find(|it| it["address"] == address));
            found.map_or(Value::Null, |it| it["values"].clone())
        }
    }

    /// Panics if a command left a file in its temporary directory: a socket, a certificate, a crash log.
    #[track_caller]
    pub fn assert_nothing_left_behind(&self) {
        let folder = self.directory.path().join("tmp");
        let left: Vec<_> = fs::read_dir(folder)
            .expect("the workspace is readable")
            .map(|entry| entry.expect("the directory is readable").file_name())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Runs any command to its end, however it ends.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        self.spawn(arguments).wait().await
    }

    /// Starts any command in a process group of its own.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let output = self.directory.path().join("output");
        let stdout = output.join(format!("{number}.stdout"));
        let stderr = output.join(format!("{number}.stderr"));
        let create = |path| File::create(path).expect("the workspace is writable");
        let mut command = Command::new(&self.core);
        self.environment_of(&mut command);
        if let Some((subcommand, rest)) = arguments.split_first() {
            command.arg(subcommand);
            // `state` has subcommands of its own, and they print no colours.
            if *subcommand != "state" {
                command.arg("-no-color");
            }
            command.args(rest);
        }
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            // Files rather than pipes: an orphan that keeps a pipe open would look like a core that hangs.
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.core.display()));
        Running {
            child,
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            stdout,
            stderr,
        }
    }

    fn environment_of(&self, command: &mut Command) {
        let directory = self.directory.path();
        command.env_clear();
        // Windows programs do not start without these.
        for name in ["PATH", "SystemRoot", "SystemDrive", "PATHEXT"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for name in ["HOME", "USERPROFILE", "APPDATA"] {
            command.env(name, directory.join("home"));
        }
        for name in ["TMPDIR", "TMP", "TEMP"] {
            command.env(name, directory.join("tmp"));
        }
        command
            .env("TF_CLI_CONFIG_FILE", self.cli_config())
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("CHECKPOINT_DISABLE", "1");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
    }

    fn configure_cli(&self, overrides: &str) {
        let text = format!("provider_installation {{{overrides}\n  direct {{}}\n}}\n");
        fs::write(self.cli_config(), text).expect("the workspace is writable");
    }

    #[track_caller]
    fn succeed(
        &self,
        command: &'static str,
        options: &'static [&'static str],
        extra: &[&str],
    ) -> impl Future<Output = Run> {
        let caller = Location::caller();
        async move {
            let arguments = [&[command], options, extra].concat();
            self.run(&arguments).await.expect_success(caller)
        }
    }

    #[track_caller]
    fn fail(
        &self,
        command: &'static str,
        options: &'static [&'static str],
        extra: &[&str],
    ) -> impl Future<Output = Run> {
        let caller = Location::caller();
        async move {
            let arguments = [&[command], options, extra].concat();
            self.run(&arguments).await.expect_failure(caller)
        }
    }
}

/// A command that has not ended yet.
#[derive(Debug)]
pub struct Running {
    child: Child,
    arguments: Vec<String>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// The process id of the core.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the core was not waited for yet")
    }

    /// Waits until the core has ended; [`Self::wait`] says how.
    pub async fn ended(&mut self) {
        // An error shows in `wait` as well.
        let _ = self.child.wait().await;
    }

    /// SIGKILL to the core and everything that it started, as when the machine loses power.
    #[cfg(unix)]
    pub fn kill_all(&self) {
        use rustix::process::{Signal, kill_process_group};

        kill_process_group(self.group(), Signal::KILL).expect("the core is running");
    }

    /// SIGKILL to what the core started, the provider; the core is left to see what to do.
    #[cfg(unix)]
    pub async fn kill_provider(&self) {
        use rustix::process::{Pid, Signal, kill_process};

        let listing = Command::new("ps").args(["-A", "-o", "pid=,pgid="]).output();
        let listing = listing.await.expect("`ps` is there").stdout;
        let group = self.group().as_raw_nonzero().get();
        for line in String::from_utf8_lossy(&listing).lines() {
            let mut numbers = line.split_whitespace().filter_map(|it| it.parse().ok());
            let (Some(process), Some(of)) = (numbers.next(), numbers.next()) else {
                continue;
            };
            if of == group
                && process != group
                && let Some(provider) = Pid::from_raw(process)
            {
                // It may have ended since it was listed.
                let _ = kill_process(provider, Signal::KILL);
            }
        }
    }

    /// The core leads a process group of its own.
    #[cfg(unix)]
    fn group(&self) -> rustix::process::Pid {
        let group = i32::try_from(self.id()).ok();
        let group = group.and_then(rustix::process::Pid::from_raw);
        group.expect("a process id is a positive number")
    }

    /// Ctrl-C: SIGINT to the core and everything that it started.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        use rustix::process::{Signal, kill_process_group};

        kill_process_group(self.group(), Signal::INT).expect("the core is running");
    }

    /// SIGKILL to the core alone: nothing that it started is told.
    pub fn kill(&mut self) {
        self.child.start_kill().expect("the core is running");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> impl Future<Output = Run> {
        let caller = Location::caller();
        async move {
            let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
            let read = |path: &Path| {
                let bytes = fs::read(path).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
            let command = self.arguments.join(" ");
            let Ok(status) = ended else {
                panic!("at {caller}: `{command}` took more than {LIMIT:?}:\n{stdout}\n{stderr}");
            };
            Run {
                command,
                status: status.expect("the core is a child of this process"),
                stdout,
                stderr,
            }
        }
    }
}

/// Puts the provider into a directory that holds nothing else: cores take the first file with a fitting name.
fn link(binary: &Path, folder: &Path) {
    let name = binary
        .file_name()
        .expect("the path of a binary has a file name");
    let target = folder.join(name);
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(binary, &target);
    #[cfg(not(unix))]
    let linked = fs::hard_link(binary, &target).or_else(|_| fs::copy(binary, &target).map(drop));
    linked.unwrap_or_else(|error| panic!("{} cannot be used: {error}", binary.display()));
}

/// A path as an HCL string holds it: a backslash would start an escape sequence.
fn hcl_path(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

/// Copies a folder with all that is in it, into one that may be there already.
///
/// # Panics
/// If it cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder exists") {
        let path = entry.expect("the folder is readable").path();
        let copy = to.join(path.file_name().expect("an entry has a name"));
        match path.is_dir() {
            true => copy_folder(&path, &copy),
            false => drop(fs::copy(&path, &copy).expect("a file can be copied")),
        }
    }
}
