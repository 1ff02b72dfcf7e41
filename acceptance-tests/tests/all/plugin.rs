//! The provider's process as a core sees it: start, handshake, TLS, calls, and every way to end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use acceptance_tests::plugin_client::wire::tfplugin6 as proto;
use acceptance_tests::plugin_client::{COOKIE, Identity, Plugin, attach};
use acceptance_tests::provider::provider_binary;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn directory() -> TempDir {
    tempfile::tempdir().expect("makes a directory")
}

fn left_in(directory: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("reads");
    entries.map(|entry| entry.expect("reads").path()).collect()
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.and_then(Pid::from_raw).expect("is running");
    kill_process(pid, signal).expect("is running");
}

async fn ended(child: &mut Child) -> Option<i32> {
    let status = timeout(PATIENCE, child.wait()).await.expect("ends");
    status.expect("can be waited for").code()
}

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(provider_binary());
    command
        .args(arguments)
        .env_remove(COOKIE.0)
        .stdin(Stdio::null());
    command.envs(environment.iter().copied());
    let output = timeout(PATIENCE, command.output()).await.expect("ends");
    output.expect("starts")
}

async fn works(plugin: &Plugin) {
    let schema = async {
        let request = proto::get_provider_schema::Request {};
        plugin.client().await.get_provider_schema(request).await
    };
    let answer = timeout(PATIENCE, schema).await.expect("answers in time");
    assert!(answer.expect("answers").into_inner().provider.is_some());
}

#[tokio::test]
async fn a_person_who_starts_it_learns_what_it_is() {
    let output = run(&[], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).expect("is text");
    assert!(
        text.contains("source = \"durable-objects/cloudflare\""),
        "{text}"
    );
    let output = run(&[], &[(COOKIE.0, "another")]).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn it_tells_its_version() {
    let output = run(&["--version"], &[]).await;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("is text");
    assert_eq!(
        text,
        concat!(
            "terraform-provider-cloudflare ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        )
    );
}

#[tokio::test]
async fn an_unreadable_certificate_ends_it_instead_of_going_without_tls() {
    let output = run(&[], &[COOKIE, ("PLUGIN_CLIENT_CERT", "nonsense")]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("PLUGIN_CLIENT_CERT"));
}

#[tokio::test]
async fn the_handshake_line_is_all_that_stdout_ever_carries() {
    let directory = directory();
    let mut plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let start = format!("1|6|unix|{}|grpc|", plugin.socket.display());
    assert!(plugin.line.starts_with(&start), "{}", plugin.line);
    assert!(plugin.socket.starts_with(directory.path()));
    assert!(!plugin.line.contains('='), "the base64 has no padding");
    let mut rest = String::new();
    let read = timeout(PATIENCE, plugin.stdout.read_to_string(&mut rest)).await;
    read.expect("stdout is let go at once").expect("reads");
    assert_eq!(rest, "");
    works(&plugin).await;
}

#[tokio::test]
async fn nobody_but_the_host_gets_through_tls() {
    let directory = directory();
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let stranger = Identity::new();
    let thief = plugin.identity().clone().with_key_of(&stranger);
    let host = plugin.identity();
    for (who, identity, version) in [
        ("no certificate", None, &rustls::version::TLS13),
        (
            "another certificate",
            Some(&stranger),
            &rustls::version::TLS13,
        ),
        (
            "the host's certificate with another key",
            Some(&thief),
            &rustls::version::TLS13,
        ),
        ("TLS 1.2", Some(host), &rustls::version::TLS12),
    ] {
        let call = async {
            let channel = plugin.channel(plugin.tls(identity, version)).await.ok()?;
            let mut client = proto::provider_client::ProviderClient::new(channel);
            let request = proto::get_provider_schema::Request {};
            client.get_provider_schema(request).await.ok()
        };
        let answer = timeout(PATIENCE, call).await.expect("is refused in time");
        assert!(answer.is_none(), "{who}");
    }
    assert!(
        timeout(PATIENCE, async {
            let mut client = attach(plugin.socket.clone()).await.ok()?;
            client
                .get_provider_schema(proto::get_provider_schema::Request {})
                .await
                .ok()
        })
        .await
        .expect("is refused in time")
        .is_none(),
        "no TLS at all"
    );
    works(&plugin).await;
}

#[tokio::test]
async fn another_user_does_not_reach_the_socket() {
    let directory = directory();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&directory, open).expect("is ours");
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let own = plugin.socket.parent().expect("is in a directory");
    let mode = fs::metadata(own).expect("is ours").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let sees = |path: &Path, uid| {
        let mut test = std::process::Command::new("test");
        test.arg("-e").arg(path).uid(uid).gid(uid);
        test.status().expect("starts").success()
    };
    assert!(sees(own, 65534), "the way to the directory is open");
    assert!(sees(&plugin.socket, 0));
    assert!(!sees(&plugin.socket, 65534));
}

#[tokio::test]
async fn a_plan_takes_fifty_mebibytes() {
    let directory = directory();
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let mut script = b"\xdb\x03\x20\x00\x00".to_vec();
    script.resize(script.len() + (50 << 20), b'x');
    let value = proto::DynamicValue {
        msgpack: script,
        json: Vec::new(),
    };
    let request = proto::plan_resource_change::Request {
        type_name: "cloudflare_worker".into(),
        proposed_new_state: Some(value.clone()),
        config: Some(value),
        ..Default::default()
    };
    let mut client = plugin.client().await;
    let plan = client.plan_resource_change(request);
    let answer = timeout(PATIENCE * 3, plan).await.expect("answers in time");
    let answer = answer
        .expect("a diagnostic, not a refused message")
        .into_inner();
    assert!(answer.planned_state.is_some());
    assert_eq!(answer.diagnostics.len(), 1, "text is no Worker");
}

#[tokio::test]
async fn silent_clients_and_garbage_keep_nobody_waiting() {
    let directory = directory();
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(UnixStream::connect(&plugin.socket).await.expect("connects"));
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0x16, 3, 1, 0xff, 0xff, 1],
    ] {
        let mut stream = UnixStream::connect(&plugin.socket).await.expect("connects");
        stream.write_all(garbage).await.expect("is taken");
        silent.push(stream);
    }
    let started = Instant::now();
    works(&plugin).await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "before the silent ones time out"
    );
}

#[tokio::test]
async fn a_stopped_provider_goes_on_answering() {
    let directory = directory();
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let mut client = plugin.client().await;
    for _run in 0..2 {
        let answer = client.stop_provider(proto::stop_provider::Request {}).await;
        assert_eq!(answer.expect("answers").into_inner().error, "");
        works(&plugin).await;
    }
}

#[tokio::test]
async fn what_is_not_offered_is_unimplemented() {
    let directory = directory();
    let plugin = Plugin::start(&provider_binary(), directory.path()).await;
    let mut client = plugin.client().await;
    let answer = client.get_functions(proto::get_functions::Request {}).await;
    assert_eq!(
        answer.expect_err("is none").code(),
        tonic::Code::Unimplemented
    );
}

#[tokio::test]
async fn three_runs_end_in_time_and_leave_no_files() {
    let directory = directory();
    for _run in 0..3 {
        let mut plugin = Plugin::start(&provider_binary(), directory.path()).await;
        // Cores keep their own connection open until the process has gone.
        let _client = plugin.client().await;
        let _silent = UnixStream::connect(&plugin.socket).await.expect("connects");
        works(&plugin).await;
        let started = Instant::now();
        plugin.shut_down().await;
        assert_eq!(ended(&mut plugin.child).await, Some(0));
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "hosts kill it then"
        );
        assert!(left_in(&directory).is_empty());
    }
}

#[tokio::test]
async fn ctrl_c_is_the_cores_business_and_sigterm_ends_it_cleanly() {
    let directory = directory();
    let mut plugin = Plugin::start(&provider_binary(), directory.path()).await;
    send(&plugin.child, Signal::INT);
    works(&plugin).await;
    send(&plugin.child, Signal::TERM);
    assert_eq!(ended(&mut plugin.child).await, Some(0));
    assert!(left_in(&directory).is_empty());
}

#[tokio::test]
async fn a_killed_core_leaves_no_orphan_and_no_files() {
    let directory = directory();
    let mut shell = Command::new("sh");
    // The shell is the core here: it stays the provider's parent until it is killed.
    shell.args(["-c", "\"$0\" & wait"]).arg(provider_binary());
    shell.env("TMPDIR", directory.path());
    let mut plugin = Plugin::start_command(shell).await;
    works(&plugin).await;
    // Held by the provider too, so that its end is the end of the provider.
    let mut stderr = plugin.child.stderr.take().expect("is piped");
    plugin.child.start_kill().expect("is running");
    assert_eq!(ended(&mut plugin.child).await, None);
    let mut rest = String::new();
    let read = timeout(PATIENCE, stderr.read_to_string(&mut rest)).await;
    read.expect("the provider ends").expect("reads");
    assert!(left_in(&directory).is_empty());
}

#[tokio::test]
async fn a_core_that_no_longer_reads_is_taken_for_gone() {
    let directory = directory();
    let mut plugin = Plugin::start(&provider_binary(), directory.path()).await;
    drop(plugin.child.stderr.take());
    assert_eq!(ended(&mut plugin.child).await, Some(0));
    assert!(left_in(&directory).is_empty());
}

#[tokio::test]
async fn what_a_killed_provider_left_behind_goes_with_the_next_run() {
    let directory = directory();
    let mut plugin = Plugin::start(&provider_binary(), directory.path()).await;
    plugin.child.start_kill().expect("is running");
    assert_eq!(ended(&mut plugin.child).await, None);
    assert_eq!(left_in(&directory).len(), 1);
    let next = Plugin::start(&provider_binary(), directory.path()).await;
    assert_eq!(
        left_in(&directory),
        [next.socket.parent().expect("is in a directory")]
    );
}

#[tokio::test]
async fn a_directory_too_deep_for_a_socket_is_no_obstacle() {
    let directory = directory();
    let deep = directory.path().join("d".repeat(120));
    fs::create_dir(&deep).expect("is new");
    let mut plugin = Plugin::start(&provider_binary(), &deep).await;
    works(&plugin).await;
    plugin.shut_down().await;
    ended(&mut plugin.child).await;
    assert!(!plugin.socket.parent().expect("is in a directory").exists());
}

#[tokio::test]
async fn log_lines_are_json_with_text_fields_only() {
    let directory = directory();
    let mut command = Command::new(provider_binary());
    command
        .env("TMPDIR", directory.path())
        .env("TF_LOG", "TRACE");
    let mut plugin = Plugin::start_command(command).await;
    let mut client = plugin.client().await;
    let request = proto::validate_resource_config::Request::default();
    client
        .validate_resource_config(request)
        .await
        .expect("answers");
    plugin.shut_down().await;
    let mut text = String::new();
    let stderr = plugin.child.stderr.as_mut().expect("is piped");
    timeout(PATIENCE, stderr.read_to_string(&mut text))
        .await
        .expect("ends")
        .expect("reads");
    assert!(text.contains("ValidateResourceConfig"), "{text}");
    for line in text.lines() {
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).expect("is an object");
        assert!(fields.values().all(serde_json::Value::is_string), "{line}");
    }
}

#[tokio::test]
async fn debug_mode_prints_what_both_cores_attach_to_and_ends_with_ctrl_c() {
    let directory = directory();
    let mut child = Command::new(provider_binary())
        .arg("-debug")
        .env_remove(COOKIE.0)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let json = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("prints");
        let line = line.expect("reads").expect("says how to attach");
        if let Some(json) = line.strip_prefix("\tTF_REATTACH_PROVIDERS='") {
            break json.trim_end_matches('\'').to_owned();
        }
    };
    let configs: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    for host in ["registry.terraform.io", "registry.opentofu.org"] {
        let config = &configs[format!("{host}/durable-objects/cloudflare")];
        let socket = config["Addr"]["String"].as_str().expect("is a path");
        let mut client = attach(socket.into()).await.expect("connects");
        let request = proto::get_provider_schema::Request {};
        let answer = client.get_provider_schema(request).await.expect("answers");
        assert!(answer.into_inner().provider.is_some());
    }
    send(&child, Signal::INT);
    assert_eq!(ended(&mut child).await, Some(0));
    assert!(left_in(&directory).is_empty());
}
