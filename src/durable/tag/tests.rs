//! What survives in script tags, and what a reader refuses to believe.

use proptest::prelude::*;

use super::*;

fn id(text: &str) -> StableId {
    StableId::new(text).expect("a stable ID")
}

fn ours(claims: &[(&str, &str)]) -> OurTag {
    let claim = |&(stable_id, class): &(&str, &str)| {
        Claim::new(&id(stable_id), &ClassName::from_api(class))
    };
    OurTag {
        mark: "0123456789abcdef01234567".into(),
        content_hash: Some("ab".repeat(32)),
        unfinished: false,
        claims: claims.iter().map(claim).collect(),
    }
}

fn read(tags: &[String]) -> Decoded {
    decode(tags.iter().map(String::as_str))
}

/// Whether both say the same, be an ID exact or hashed.
fn same(written: &OurTag, read: &OurTag) -> bool {
    let head = |tag: &OurTag| (tag.mark.clone(), tag.content_hash.clone(), tag.unfinished);
    let claims = |tag: &OurTag| -> BTreeSet<_> {
        tag.claims
            .iter()
            .map(|claim| (claim.stable_id.hash(), claim.class.clone()))
            .collect()
    };
    head(written) == head(read) && claims(written) == claims(read)
}

#[test]
fn a_small_tag_can_be_read_by_a_person() {
    let encoded = encode(
        &ours(&[
            ("counter", "Counter"),
            ("Room", "Room"),
            ("a,b&c;d=e*f", "Zähler$"),
        ]),
        10,
    );
    let tag = &encoded.tags[0];
    assert_eq!((encoded.tags.len(), &encoded.left_out[..]), (1, &[][..]));
    assert!(tag.starts_with("dons1:1/1:"), "{tag}");
    assert!(
        tag.ends_with(";;Room;a%2Cb%26c%3Bd%3De%2Af=Z%C3%A4hler$;counter=Counter"),
        "{tag}"
    );
}

#[test]
fn a_hundred_namespaces_fit_in_three_tags() {
    let names: Vec<_> = (0..100)
        .map(|n| (format!("team-{n:03}-chat-rooms."), format!("ChatRoom{n}")))
        .collect();
    assert!(names.iter().all(|(stable_id, _)| stable_id.len() == 20));
    let names: Vec<_> = names
        .iter()
        .map(|(stable_id, class)| (stable_id.as_str(), class.as_str()))
        .collect();
    let written = ours(&names);
    let encoded = encode(&written, 10);
    assert!(encoded.left_out.is_empty());
    assert_eq!(encoded.tags.len(), 3);
    assert!(same(&written, &read(&encoded.tags).ours.expect("whole")));
}

#[test]
fn ids_are_hashed_only_where_that_saves_a_tag() {
    let names: Vec<_> = (0..22)
        .map(|n| (format!("{n:040}"), format!("C{n}")))
        .collect();
    let names: Vec<_> = names
        .iter()
        .map(|(stable_id, class)| (stable_id.as_str(), class.as_str()))
        .collect();
    let exact = |count: usize| {
        let encoded = encode(&ours(&names[..count]), 10);
        let read = read(&encoded.tags).ours.expect("whole");
        (
            encoded.tags.len(),
            read.claims
                .iter()
                .filter(|claim| claim.stable_id.exact().is_some())
                .count(),
        )
    };
    assert_eq!(exact(20), (1, 20));
    // Beyond, only as many become hashes as necessary.
    assert_eq!(exact(21), (1, 20));
    assert_eq!(exact(22), (1, 19));
    // A hash still tells whether a given ID is meant.
    let read = read(&encode(&ours(&names), 10).tags).ours.expect("whole");
    assert!(names.iter().all(|(stable_id, class)| {
        read.claims
            .iter()
            .any(|claim| claim.stable_id.names(&id(stable_id)) && claim.class.as_str() == *class)
    }));
    assert!(
        !read
            .claims
            .iter()
            .any(|claim| claim.stable_id.names(&id("another")))
    );
}

#[test]
fn what_finds_no_room_is_named() {
    let written = ours(&[("a", "A"), ("b", &"B".repeat(1000)), ("c", "C")]);
    let encoded = encode(&written, 1);
    assert_eq!(encoded.left_out, [TagId::Exact(id("b"))]);
    assert!(same(
        &ours(&[("a", "A"), ("c", "C")]),
        &read(&encoded.tags).ours.expect("whole")
    ));
    let nothing = encode(&written, 0);
    assert_eq!((nothing.tags.len(), nothing.left_out.len()), (0, 3));
}

#[test]
fn contradictory_claims_are_left_out_rather_than_written() {
    let encoded = encode(
        &ours(&[("a", "A"), ("b", "A"), ("c", "C"), ("d", "D"), ("d", "E")]),
        10,
    );
    assert!(same(
        &ours(&[("c", "C")]),
        &read(&encoded.tags).ours.expect("whole")
    ));
    assert_eq!(encoded.left_out.len(), 4);
}

#[test]
fn foreign_tags_survive_unchanged() {
    let foreign = [
        "cf:service=x",
        "donsole:1",
        "dons:1",
        "",
        "alchemy:do:a:b:C",
        "cf:service=x",
        "dons1",
    ];
    let mut tags: Vec<String> = foreign.iter().map(ToString::to_string).collect();
    tags.splice(2..2, encode(&ours(&[("a", "A")]), 10).tags);
    let decoded = read(&tags);
    assert_eq!(decoded.foreign, foreign);
    assert!(decoded.ours.is_some() && !decoded.damaged);
}

#[test]
fn alchemys_tags_are_understood() {
    #[track_caller]
    fn check(tags: &[&str], expect: &[(&str, &str)]) {
        let show = |claim: &AlchemyClaim| {
            let target = match &claim.target {
                AlchemyTarget::Binding(binding) => format!("binding {binding}"),
                AlchemyTarget::Class(class) => format!("class {class}"),
            };
            (claim.stable_id.to_string(), target)
        };
        let read: Vec<_> = decode(tags.iter().copied())
            .alchemy
            .iter()
            .map(show)
            .collect();
        let expect: Vec<_> = expect
            .iter()
            .map(|(stable_id, target)| (stable_id.to_string(), target.to_string()))
            .collect();
        assert_eq!(read, expect);
    }
    check(
        &["alchemy:do:counter:COUNTER"],
        &[("counter", "binding COUNTER")],
    );
    check(&["alchemy:do:a:b:c:CTR"], &[("a:b:c", "binding CTR")]);
    check(
        &[
            "alchemy:do:counter",
            "alchemy:do:",
            "alchemy:do:a:",
            "alchemy:do::A",
        ],
        &[],
    );
    check(
        &["alchemy:dos:Counter;Meter=MeterV2"],
        &[("Counter", "class Counter"), ("Meter", "class MeterV2")],
    );
    check(
        &["alchemy:dos:a%3Bb%3Dc=A", "alchemy:dos:d=D"],
        &[("a;b=c", "class A"), ("d", "class D")],
    );
    check(
        &["alchemy:dos:", "alchemy:dos:;;=A;a=", "alchemy:dos:%FF=A"],
        &[],
    );
    // Two answers are none.
    check(&["alchemy:dos:a=A;a=B;c=C"], &[("c", "class C")]);
    check(&["alchemy:dos:a=A;b=A;c=C"], &[("c", "class C")]);
    check(
        &["alchemy:migration-tag:alchemy:v2", "alchemy:stage:test"],
        &[],
    );
}

#[test]
fn what_is_not_one_whole_set_claims_nothing() {
    let many: Vec<_> = (0..80)
        .map(|n| (format!("namespace-{n}-----"), format!("Class{n}")))
        .collect();
    let many: Vec<_> = many
        .iter()
        .map(|(stable_id, class)| (stable_id.as_str(), class.as_str()))
        .collect();
    let whole = encode(&ours(&many), 10).tags;
    assert!(whole.len() > 1);
    assert!(read(&whole).ours.is_some());
    let doubled: Vec<_> = whole.iter().chain(&whole).rev().cloned().collect();
    assert!(read(&doubled).ours.is_some());

    #[track_caller]
    fn refused(tags: &[String]) {
        let decoded = read(tags);
        assert_eq!(
            (decoded.ours, decoded.damaged, decoded.foreign.len()),
            (None, true, 0)
        );
    }
    refused(&whole[1..]);
    refused(&whole[..1]);
    let other = encode(&ours(&[("a", "A")]), 10).tags;
    refused(&[whole.clone(), other.clone()].concat());
    refused(&[other[0].clone(), other[0].replace("dons1", "dons2")]);
    refused(&[other[0].replace("dons1", "dons2")]);
    refused(&[other[0].replace("a=A", "a=B")]);
    refused(&[other[0].clone(), other[0].replace("a=A", "a=B")]);
    refused(&[format!("{};b=B", other[0])]);
    for length in "dons1:".len()..other[0].len() {
        refused(&[other[0][..length].to_owned()]);
    }
}

/// A tag with a right check over any payload: what somebody who knows the format could write.
#[track_caller]
fn forged(payload: &str) -> Option<OurTag> {
    read(&in_pieces(payload)).ours
}

#[test]
fn a_payload_that_contradicts_itself_claims_nothing() {
    assert!(forged("m;h;;a=A;b=B").is_some());
    assert!(forged(";;").is_some());
    let hash = URL_SAFE_NO_PAD.encode(hash_of(&id("a")));
    assert!(forged(&format!("m;h;;{hash}*A")).is_some());
    for payload in [
        "m;h",
        "m;h;x",
        "m;h;;",
        "m;h;;a=A;a=B",
        "m;h;;a=A;b=A",
        "m;h;;a=",
        "m;h;;=A",
        "m;h;;class%3AA=A",
        "m;h;;class:A=A",
        "m;h;;%FF=A",
        "m;h;;abc*A",
        "m;h;;****************A",
        &format!("m;h;;a=A;{hash}*B"),
        &format!("m;h;;{hash}*A;{hash}*B"),
    ] {
        assert_eq!(forged(payload), None, "{payload}");
    }
}

fn any_tag() -> impl Strategy<Value = OurTag> {
    let claim = (
        "\\PC{1,40}|[a-z:;=,&*%\n-]{1,20}|[a-z]{200,255}",
        "[A-Za-z$_][A-Za-z0-9$_é]{0,30}",
    );
    let claims = prop::collection::vec(claim, 0..40);
    (
        claims,
        "[0-9a-f]{24}|\\PC{0,9}",
        prop::option::of("[0-9a-f]{64}"),
        any::<bool>(),
    )
        .prop_map(|(claims, mark, content_hash, unfinished)| {
            let claim = |(stable_id, class): &(String, String)| {
                Some(Claim::new(
                    &StableId::new(stable_id).ok()?,
                    &ClassName::from_api(class),
                ))
            };
            OurTag {
                mark,
                content_hash,
                unfinished,
                claims: claims.iter().filter_map(claim).collect(),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(tag in any_tag(), slots in 0_usize..12, reverse in any::<bool>()) {
        let mut encoded = encode(&tag, slots);
        prop_assert!(encoded.tags.len() <= slots.min(10));
        prop_assert!(encoded.tags.iter().all(|tag| tag.len() <= 1024 && !tag.contains([',', '&'])));
        if reverse {
            encoded.tags.reverse();
        }
        let mut kept = tag.clone();
        kept.claims.retain(|claim| !encoded.left_out.contains(&claim.stable_id));
        let decoded = read(&encoded.tags);
        match decoded.ours {
            Some(ours) => prop_assert!(same(&kept, &ours)),
            None => prop_assert!(encoded.tags.is_empty() && kept.claims.is_empty() && !decoded.damaged),
        }
    }

    #[test]
    fn garbage_never_becomes_a_claim(tag in any_tag(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), by in "\\PC|") {
        let mut tags = encode(&tag, 10).tags;
        let whole = read(&tags);
        let index = which.index(tags.len());
        let at = at.index(tags[index].len());
        tags[index].replace_range(at..=at, &by);
        let decoded = read(&tags);
        prop_assert!(decoded.ours.is_none() || decoded == whole);
    }

    #[test]
    fn any_text_can_be_read(tags in prop::collection::vec("(dons[0-9]?:|alchemy:dos?:)?([0-9]/[0-9]:)?\\PC{0,40}", 0..6)) {
        prop_assert!(read(&tags).ours.is_none());
        let _ = forged(&tags.concat().replace(|c: char| !c.is_ascii(), "%"));
    }
}
