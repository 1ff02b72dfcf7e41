//! Namespaces that live in other Workers, move there, or come from there.

use super::*;

#[test]
fn a_namespace_that_lives_elsewhere_is_not_created_again() {
    let away = "a = A id 1 named w_A\nlisted 1 w_A other A";
    check(
        away,
        "a = A",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A here",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A here from other",
        "transfer a: A of other -> A (data kept)\nupload transfer-other-A-A.1",
    );
    check(
        away,
        "a = A from other",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        away,
        "a = A from third",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    // It is not this Worker's to delete either.
    check(away, "", "");
    check(away, "a @ third A from w", "");
    // Taken between two plan calls of one run, which must not differ.
    check(
        away,
        "a @ other A from w",
        "leave a: A to other (data kept)",
    );
}

#[test]
fn a_namespace_known_to_be_gone_is_created_again() {
    check(
        "a = A id 1 named w_A\ngone 1",
        "a = A",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check("a = A id 1 named w_A\ngone 1", "", "");
    // Missing from a listing that may lag proves nothing.
    check("a = A id 1 named w_A\nlisted 2 w_B w B", "a = A", "");
}

#[test]
fn a_worker_that_is_renamed_keeps_what_it_hosts() {
    check(
        "formerly old\na = A id 1 named old_A\nlisted 1 old_A old A",
        "a = A",
        "",
    );
    check(
        "formerly old\na = A id 1 named old_A\nlisted 1 old_A old A",
        "a = B\nn = A from old",
        "rename a: A -> B (data kept)
         create n: A (SQLite)
         upload A>B +~A
         upload ~>A",
    );
    check(
        "formerly old\ntag old a=A\na = A",
        "a = A\nb = B",
        "create b: B (SQLite)\nupload create-B.1",
    );
}

#[test]
fn a_transfer_is_found_by_the_tag_or_else_by_the_class() {
    check(
        "tag other a=X\nlisted 1 other_X other X",
        "a = A here from other",
        "transfer a: X of other -> A (data kept)\nupload transfer-other-X-A.1",
    );
    check(
        "tag other a=X\nlisted 1 other_X other X",
        "a = A from other",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
    check(
        "listed 1 other_A other A",
        "a = A here from other",
        "transfer a: A of other -> A (data kept)\nupload transfer-other-A-A.1",
    );
    check(
        "listed 1 other_Old other Old\nlisted 2 other_A other A",
        "a = A here from other was Old",
        "transfer a: Old of other -> A (data kept)\nupload transfer-other-Old-A.1",
    );
    check(
        "tag third a=A\nlisted 1 third_A third A",
        "a = A here from other",
        "problem: Namespace `a` is hosted by Worker `third`",
    );
    check(
        "listed 1 other_A other A",
        "a = A here kv from other",
        "transfer a: A of other -> A (data kept)
         problem: The storage of namespace `a` cannot be changed",
    );
    // The class there belongs to another stable ID, or the tag is older than the listing.
    let nothing = "create a: A (SQLite)
         upload create-A.1
         warning: No namespace `a` found on Worker `other`";
    check(
        "tag other x=A\nlisted 1 other_A other A",
        "a = A here from other",
        nothing,
    );
    check(
        "tag other a=A\nlisted 1 other_B other B",
        "a = A here from other",
        nothing,
    );
    check("", "a = A here from other", nothing);
    check(
        "planned a third",
        "a = A here from other",
        "create a: A (SQLite)
         upload create-A.1
         warning: Another namespace `a` exists on Worker `third`
         warning: No namespace `a` found on Worker `other`",
    );
    check(
        "",
        "a = A from w",
        "create a: A (SQLite)\nupload create-A.1",
    );
    check("", "a = A from ", "create a: A (SQLite)\nupload create-A.1");
}

#[test]
fn a_known_namespace_is_transferred_and_none_of_that_class_instead() {
    check(
        "bound ROOM a 1\nlisted 1 x_A third A\nlisted 2 other_A other A",
        "a = A here from other",
        "problem: Namespace `a` is hosted by Worker `third`",
    );
    check(
        "bound ROOM a 1\nlisted 1 other_X other X",
        "a = A here from other",
        "transfer a: X of other -> A (data kept)\nupload transfer-other-X-A.1",
    );
    check(
        "bound ROOM a 1\nlisted 1 other_X other X",
        "a = A",
        "problem: Namespace `a` is hosted by Worker `other`",
    );
}

#[test]
fn what_is_transferred_goes_to_its_final_class_unless_another_worker_has_yet_to_take_that() {
    let here = "listed 1 other_X other X\ntag other a=X";
    check(
        &format!("{here}\nb = A"),
        "a = A here from other\nb = B",
        "rename b: A -> B (data kept)
         transfer a: X of other -> A (data kept)
         upload A>B
         upload other.X>A",
    );
    check(
        &format!("{here}\nb = A"),
        "a = A here from other\nb @ other X from w",
        "leave b: A to other (data kept)
         transfer a: X of other -> A (data kept)
         upload other.X>~A
         upload ~>A once A is gone",
    );
    check(
        &format!("{here}\nb = B\nc = C"),
        "a = A here from other\nb = C\nc = B",
        "transfer a: X of other -> A (data kept)
         rename b: B -> C (data kept)
         rename c: C -> B (data kept)
         upload B>~C C>~B
         upload other.X>A
         upload ~>B ~>C",
    );
    check(
        &format!("{here}\n? = A"),
        "a = A here from other",
        "transfer a: X of other -> A (data kept)
         problem: Namespace `a` cannot take class `A`",
    );
}

#[test]
fn what_is_hosted_here_and_bound_from_elsewhere_leaves_if_that_is_said() {
    check(
        "a = A",
        "a @ other A from w",
        "leave a: A to other (data kept)",
    );
    check(
        "a = A",
        "a @ other A",
        "problem: Namespace `a` is hosted here, not by `other`",
    );
    check(
        "a = A\ntag other a=X\nlisted 2 other_X other X",
        "a @ other A from w",
        "problem: Namespace `a` exists here and on Worker `other`",
    );
    check(
        "a = A\nb = B",
        "a @ other A from w\nb = A",
        "leave a: A to other (data kept)
         rename b: B -> A (data kept)
         upload B>~A
         upload ~>A once A is gone",
    );
    check("? = A", "a @ other A", "");
}

#[test]
fn a_second_namespace_of_one_stable_id_is_warned_of() {
    let expect = "create a: A (SQLite)
         upload create-A.1
         warning: Another namespace `a` exists on Worker `other`";
    check("tag other a=X", "a = A", expect);
    check("planned a other", "a = A", expect);
    check("planned a other\ntag other a=A", "a = A", expect);
    check("a = A\ntag other a=A", "a = A", "");
    check(
        "tag w a=A\nplanned a w",
        "a = A",
        "create a: A (SQLite)\nupload create-A.1",
    );
}
