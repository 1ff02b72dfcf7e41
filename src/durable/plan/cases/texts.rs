//! Names, tags and messages.

use super::*;

#[test]
fn temporary_names_are_made_of_the_stable_id_and_the_old_tag() {
    let parked = |before: &str| -> Vec<String> {
        let plan = plan(&situation(before, "a = B\nb = A"));
        let renamed = plan.uploads[0]
            .migration
            .clone()
            .expect("class changes")
            .renamed;
        renamed.into_iter().map(|(_, to)| to.to_string()).collect()
    };
    let first = parked("a = A\nb = B");
    assert!(first.iter().all(|name| ClassName::new(name).is_ok()) && first[0] != first[1]);
    assert_eq!(first, parked("b = B\na = A"));
    assert_ne!(first, parked("tagged v2\na = A\nb = B"));
}

#[test]
fn any_name_is_just_a_name() {
    check(
        "__proto__ = __proto__\nconstructor = constructor",
        "__proto__ = constructor2\nconstructor = constructor",
        "rename __proto__: __proto__ -> constructor2 (data kept)
         upload rename-__proto__-constructor2.1",
    );
    check(
        "a:b = A",
        "a:b = B",
        "rename a:b: A -> B (data kept)\nupload rename-A-B.1",
    );
    check(
        "x->y,&%; = A",
        "x->y,&%; = B",
        "rename x->y,&%;: A -> B (data kept)\nupload rename-A-B.1",
    );
    check(
        "toString = hasOwnProperty",
        "",
        "delete toString: hasOwnProperty (its data is deleted)\nupload delete-hasOwnProperty.1",
    );
    check(
        "日本 = 部屋",
        "日本 = Räume",
        "rename 日本: 部屋 -> Räume (data kept)\nupload rename-部屋-Räume.1",
    );
}

#[test]
fn a_stable_id_cannot_forge_a_second_sentence() {
    let change = Change::Rename {
        stable_id: id("a\nrename b\u{2028}"),
        from: class("A"),
        to: class("B"),
    };
    assert_eq!(
        change.to_string(),
        "rename a\\nrename b\\u{2028}: A -> B (data kept)"
    );
}

#[test]
fn summaries_fit_whatever_the_names_are() {
    let long = "x".repeat(255);
    let wide = "界".repeat(85);
    let class = "A".repeat(300);
    for name in [long.as_str(), wide.as_str()] {
        // `shown` checks the length of each.
        check_any(
            &format!("{name} = A\n? = {class}"),
            &format!("{name} = {class}"),
        );
        check_any("", &format!("a = {class}\n{name} = {class}"));
        check_any(&format!("{name} = A"), &format!("{name} @ {long} A"));
        check_any(&format!("tag {long} {name}=A"), &format!("{name} = A"));
    }
}

/// That there is something to say, and that it has the form of a message.
#[track_caller]
fn check_any(before: &str, after: &str) {
    let plan = plan(&situation(before, after));
    assert!(!plan.problems.is_empty() || !plan.warnings.is_empty());
    shown(&plan);
}

#[test]
fn a_new_tag_is_bounded_and_never_the_old_one() {
    let many: String = (0..50)
        .map(|n| format!("id{n} = SomeClassName{n}\n"))
        .collect();
    let first = plan(&situation("", &many))
        .uploads
        .remove(0)
        .migration
        .expect("class changes")
        .new_tag;
    assert!(
        first
            .as_str()
            .starts_with("create-SomeClassName0_create-SomeClassName1_"),
        "{first}"
    );
    for old in [
        first.as_str(),
        "create-A.1.after-create-A.1.after-create-A.1",
        &"界".repeat(300),
    ] {
        let upload = plan(&situation(&format!("tagged {old}"), &many))
            .uploads
            .remove(0)
            .migration
            .expect("class changes");
        assert!(upload.new_tag.as_str().len() <= 128, "{}", upload.new_tag);
        assert_ne!(upload.new_tag.as_str(), old);
    }
    // The one old tag that the plain rule would repeat.
    let repeated = "create-A.1.after-create-A.1.after-create-";
    let upload = plan(&situation(&format!("tagged {repeated}"), "a = A"))
        .uploads
        .remove(0)
        .migration
        .expect("class changes");
    assert_eq!(upload.new_tag.as_str(), format!("{repeated}-again"));
}

#[test]
fn an_upload_says_what_it_leaves_owned() {
    let upload = plan(&situation(
        "a = A\ngone-soon = G\n? = U\n? = V",
        "a = B\nv = V",
    ))
    .uploads
    .remove(0);
    let owned: Vec<String> = upload
        .owned
        .iter()
        .map(|claim| format!("{}={}", claim.stable_id, claim.class))
        .collect();
    assert_eq!(owned, ["a=B", "v=V"]);
    let migration = upload.migration.expect("class changes");
    assert_eq!(migration.deleted, [class("G")]);
    assert_eq!(migration.renamed, [(class("A"), class("B"))]);
}
