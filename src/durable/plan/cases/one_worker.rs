//! One Worker: create, rename, adopt, delete, and class names that pass from one namespace to another.

use super::*;

#[test]
fn nothing_to_do_is_nothing() {
    check("", "", "");
    check("a = A", "a = A", "");
    check("a = A kv", "a = A", "");
    check("a = A kv", "a = A kv", "");
    check("? = A", "", "");
    check("a = A\n? = B", "a = A", "");
    check("a = A", "a = A was Old", "");
    check("a = A", "a = A here from other", "");
}

#[test]
fn a_new_stable_id_is_created() {
    check("", "a = A", "create a: A (SQLite)\nupload create-A.1");
    check("", "a = A kv", "create a: A (key-value)\nupload create-A.1");
    check(
        "tagged v1",
        "b = B\na = A kv",
        "create a: A (key-value)
         create b: B (SQLite)
         upload create-A_create-B.1.after-v1",
    );
    check(
        "",
        "a = A was Old",
        "create a: A (SQLite)\nupload create-A.1",
    );
}

#[test]
fn another_class_is_a_rename() {
    check(
        "chat-rooms = ChatRoom",
        "chat-rooms = Room",
        "rename chat-rooms: ChatRoom -> Room (data kept)
         upload rename-ChatRoom-Room.1",
    );
    check(
        "a = A kv",
        "a = B",
        "rename a: A -> B (data kept)\nupload rename-A-B.1",
    );
}

#[test]
fn two_bindings_of_one_namespace_are_one_namespace() {
    check(
        "",
        "a = A\na = A sqlite",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check(
        "a = A",
        "a = B was X\na = B",
        "rename a: A -> B (data kept)\nupload rename-A-B.1",
    );
}

#[test]
fn what_is_bound_nowhere_is_deleted() {
    check(
        "old = Gone",
        "",
        "delete old: Gone (its data is deleted)\nupload delete-Gone.1",
    );
    let plan = plan(&situation("old = Gone id 7 consent", ""));
    let deletion = plan.deletions().next().expect("one deletion");
    assert_eq!(
        (
            deletion.namespace_id.as_ref().map(NamespaceId::as_str),
            deletion.consent
        ),
        (Some("7"), true)
    );
}

#[test]
fn create_rename_and_delete_go_in_one_upload() {
    check(
        "a = A\nc = C\ntagged t",
        "a = B\nd = D",
        "rename a: A -> B (data kept)
         delete c: C (its data is deleted)
         create d: D (SQLite)
         upload rename-A-B_delete-C_create-D.1.after-t",
    );
}

#[test]
fn a_class_without_a_stable_id_is_adopted_and_never_deleted() {
    check("? = A", "a = A", "adopt a: A (data kept)");
    check(
        "? = Old",
        "a = New was Old",
        "adopt a: Old -> New (data kept)\nupload rename-Old-New.1",
    );
    check("? = A\n? = B", "a = A", "adopt a: A (data kept)");
    // Its own name wins over the former one; the other class stays without an ID.
    check("? = A\n? = Old", "a = A was Old", "adopt a: A (data kept)");
    // A class with a stable ID is nobody's to take over.
    check(
        "x = A",
        "a = B was A\nx = A",
        "create a: B (SQLite)\nupload create-B.1",
    );
    check(
        "? = A kv",
        "a = A sqlite",
        "adopt a: A (data kept)\nproblem: The storage of namespace `a` cannot be changed",
    );
}

#[test]
fn nothing_is_created_beside_a_class_that_may_be_meant() {
    check(
        "? = Old",
        "a = New",
        "create a: New (SQLite)
         problem: Namespace `a` may be one that exists already",
    );
    check(
        "? = Old",
        "a = New\nold = Old",
        "create a: New (SQLite)
         adopt old: Old (data kept)
         upload create-New.1",
    );
    let detail = plan(&situation("? = Old", "a = New")).problems[0].detail();
    assert!(detail.contains("previous_class_name = \"Old\""), "{detail}");
}

#[test]
fn one_class_is_taken_over_once() {
    check(
        "? = Old",
        "a = A was Old\nb = B was Old",
        "adopt a: Old -> A (data kept)
         adopt b: Old -> B (data kept)
         problem: Two namespaces would take over class `Old`",
    );
    check(
        "? = Old",
        "a = A was Old\nb = Old",
        "adopt a: Old -> A (data kept)
         adopt b: Old (data kept)
         problem: Two namespaces would take over class `Old`",
    );
}

#[test]
fn contradictions_are_problems() {
    check(
        "",
        "a = A\nb = A",
        "problem: Durable Object class `A` has two stable IDs",
    );
    check("", "a = A\na = B", "problem: Namespace `a` has two classes");
    check(
        "",
        "a = A kv\na = A sqlite",
        "problem: Namespace `a` has two kinds of storage",
    );
    check(
        "",
        "a = A\na @ other A",
        "problem: Namespace `a` has two hosting Workers",
    );
    check(
        "",
        "a @ one\na @ two",
        "problem: Namespace `a` has two hosting Workers",
    );
    check(
        "",
        "a @ one A\na @ one B",
        "problem: Namespace `a` has two classes",
    );
    check("", "a @ one A\na @ one", "");
}

#[test]
fn storage_cannot_change() {
    check(
        "a = A",
        "a = A kv",
        "problem: The storage of namespace `a` cannot be changed",
    );
    check(
        "a = A kv",
        "a = A sqlite",
        "problem: The storage of namespace `a` cannot be changed",
    );
    let detail = plan(&situation("a = A kv", "a = A sqlite")).problems[0].detail();
    assert!(detail.contains("`sqlite = false`"), "{detail}");
}

#[test]
fn a_name_that_is_given_up_and_taken_needs_a_second_upload() {
    check(
        "a = A\nb = B",
        "a = B\nb = A",
        "rename a: A -> B (data kept)
         rename b: B -> A (data kept)
         upload A>~B B>~A
         upload ~>A ~>B",
    );
    check(
        "a = A\nb = B\nc = C",
        "a = B\nb = C\nc = A",
        "rename a: A -> B (data kept)
         rename b: B -> C (data kept)
         rename c: C -> A (data kept)
         upload A>~B B>~C C>~A
         upload ~>A ~>B ~>C",
    );
    // What is finished first comes first.
    check(
        "a = A\nb = B",
        "a = B\nb = C",
        "rename b: B -> C (data kept)
         rename a: A -> B (data kept)
         upload A>~B B>C
         upload ~>B",
    );
    check(
        "a = A",
        "a = B\nn = A",
        "rename a: A -> B (data kept)
         create n: A (SQLite)
         upload A>B +~A
         upload ~>A",
    );
    check(
        "a = A",
        "n = A",
        "delete a: A (its data is deleted)
         create n: A (SQLite)
         upload -A +~A
         upload ~>A",
    );
    check(
        "a = A\nb = B",
        "a = B",
        "delete b: B (its data is deleted)
         rename a: A -> B (data kept)
         upload -B A>~B
         upload ~>B",
    );
    check(
        "? = A\nb = B",
        "a = B was A\nb = A",
        "adopt a: A -> B (data kept)
         rename b: B -> A (data kept)
         upload A>~B B>~A
         upload ~>A ~>B",
    );
    check(
        "a = A\n? = B",
        "a = B",
        "rename a: A -> B (data kept)
         problem: Namespace `a` cannot take class `B`",
    );
}

#[test]
fn a_crash_between_two_uploads_is_finished_or_reverted_by_the_next_plan() {
    check(
        "a = Parked_1\nb = Parked_2",
        "a = B\nb = A",
        "rename a: Parked_1 -> B (data kept)
         rename b: Parked_2 -> A (data kept)
         upload rename-Parked_1-B_rename-Parked_2-A.1",
    );
    check(
        "a = Parked_1\nb = Parked_2",
        "a = A\nb = B",
        "rename a: Parked_1 -> A (data kept)
         rename b: Parked_2 -> B (data kept)
         upload rename-Parked_1-A_rename-Parked_2-B.1",
    );
}

#[test]
fn a_server_name_that_is_held_delays_a_create_but_no_rename() {
    check(
        "a = B named w_A",
        "a = B\nn = A",
        "create n: A (SQLite)
         upload +~A
         upload ~>A",
    );
    check(
        "a = B named w_A\nc = C named w_C",
        "a = B\nc = A",
        "rename c: C -> A (data kept)\nupload rename-C-A.1",
    );
    check(
        "listed 9 w_A other X",
        "n = A",
        "create n: A (SQLite)
         upload +~A
         upload ~>A",
    );
    check(
        "listed 9 w_A other X\ngone 9",
        "n = A",
        "create n: A (SQLite)\nupload create-A.1",
    );
    check(
        "a = B named old_A",
        "a = B\nn = A",
        "create n: A (SQLite)\nupload create-A.1",
    );
}

#[test]
fn a_delete_carries_no_binding_of_that_class_and_no_binding_that_reached_it() {
    check(
        "a = A",
        "b @ other A",
        "delete a: A (its data is deleted)
         upload -A without b
         upload",
    );
    check(
        "a = A",
        "b @ other B",
        "delete a: A (its data is deleted)
         upload delete-A.1",
    );
    check(
        "a = A\nb = B\nbound ROOM a",
        "b = B\nbinds ROOM",
        "delete a: A (its data is deleted)
         upload -A without ROOM
         upload",
    );
    check(
        "a = A id 1\nbound ROOM x 1",
        "binds ROOM",
        "delete a: A (its data is deleted)
         upload -A without ROOM
         upload",
    );
    check(
        "a = A\nbound ROOM a",
        "binds OTHER",
        "delete a: A (its data is deleted)
         upload delete-A.1",
    );
    check(
        "a = A\nbound ROOM a",
        "n = A\nbinds ROOM",
        "delete a: A (its data is deleted)
         create n: A (SQLite)
         upload -A +~A without ROOM
         upload ~>A",
    );
}
