//! What a run leaves on the machine when it has ended, whichever way: no process, no file.

use std::time::Duration;

use acceptance_tests::cloudflare::{Call, Misbehaviour};
use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Running;
use rustix::process::{Pid, test_kill_process_group};

use super::counter::CHAT;

/// The process group of a core and of every provider that it starts.
fn group_of(core: &Running) -> Pid {
    let id = i32::try_from(core.id()).ok().and_then(Pid::from_raw);
    id.expect("a process id is a positive number")
}

/// Waits until no process of a group is left.
async fn until_gone(group: Pid) {
    let gone = async {
        while test_kill_process_group(group).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), gone).await;
    waited.expect("every process that the core started ends");
}

#[tokio::test]
async fn three_commands_in_a_row_leave_no_process_and_no_file() {
    let stage = Stage::with(CHAT).await;
    for arguments in [&["plan"][..], &["apply", "-auto-approve"], &["plan"]] {
        let core = stage.workspace.spawn(arguments);
        let group = group_of(&core);
        let run = core.wait().await;
        assert!(run.status.success(), "{run}");
        until_gone(group).await;
        stage.workspace.assert_nothing_left_behind();
    }
}

#[tokio::test]
async fn a_core_that_is_killed_in_an_apply_leaves_no_provider() {
    let stage = Stage::with(CHAT).await;
    let slow = Misbehaviour::Delay { ms: 1000 }.times(1, "PUT", "*/scripts/chat");
    stage.cloudflare.add_fault(slow);
    let mut core = stage.workspace.spawn(&["apply", "-auto-approve"]);
    let group = group_of(&core);
    let asked = async {
        let upload = |it: &Call| it.method == "PUT" && it.path.ends_with("/scripts/chat");
        while !stage.cloudflare.calls().iter().any(upload) {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), asked).await;
    waited.expect("the apply uploads");
    core.kill();
    drop(core.wait().await);
    until_gone(group).await;
    stage.workspace.assert_nothing_left_behind();
}
