use super::*;

const INFRA: &str = "tinfra";

fn tag(key: &str, value: &str) -> Tag {
    new_tag(key, value)
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

fn keys(tags: &[Tag]) -> Vec<&str> {
    tags.iter().map(|tag| tag.key.as_str()).collect()
}

// storage-s3 36
#[test]
fn the_mark_comes_first_and_then_what_the_platform_asks_for() {
    let (wanted, skipped) = wanted(INFRA, &[pair("tag0", "zero"), pair("tag1", "one")]);
    let expected = [
        tag("kubernetes.io/cluster/tinfra", "owned"),
        tag("Name", "tinfra-image-registry"),
        tag("tag0", "zero"),
        tag("tag1", "one"),
    ];
    assert_eq!(wanted, expected);
    assert_eq!(skipped, Vec::<String>::new());
}

// storage-s3 57, storage-s3 58
#[test]
fn tags_that_cannot_be_set_are_skipped_and_the_others_are_applied() {
    let long = |length| "k".repeat(length);
    let bad = [
        ("name", "x", "Name"),
        ("NAME", "x", "Name"),
        ("kubernetes.io/x", "x", "reserved"),
        ("kubernetes.io/cluster/tinfra", "shared", "reserved"),
        ("a.openshift.io/y", "x", "reserved"),
        ("openshift.io/y", "x", "reserved"),
        ("aws:x", "x", "reserved"),
        (&long(129), "x", "128"),
        ("", "x", "empty"),
        ("big", &long(257), "256"),
        ("a,b", "x", "allowed"),
        ("a", "<b>", "allowed"),
        ("größe", "x", "allowed"),
    ];
    for (key, value, why) in bad {
        let (wanted, skipped) = wanted(INFRA, &[pair(key, value), pair("last", "applied")]);
        assert_eq!(keys(&wanted[2..]), ["last"], "{key}");
        assert!(skipped.len() == 1 && skipped[0].contains(why), "{skipped:?}");
    }
    let good = [
        pair("a b", "with some blanks"),
        pair("_.:/=+-@", "_.:/=+-@"),
        pair(&long(128), &long(256)),
        pair("mykubernetes.io/x", ""),
        pair("kubernetes.io", "no prefix"),
        pair("team/kubernetes.io/x", "not the prefix"),
    ];
    let (wanted, skipped) = wanted(INFRA, &good);
    assert_eq!((wanted.len(), skipped.len()), (2 + good.len(), 0));
}

#[test]
fn a_key_is_wanted_once_with_its_last_value() {
    let (wanted, _) = wanted(
        INFRA,
        &[pair("a", "1"), pair("b", "2"), pair("a", "3"), KeyValue::default()],
    );
    assert_eq!(wanted[2..], [tag("a", "3"), tag("b", "2")]);
}

#[test]
fn no_more_are_wanted_than_a_bucket_may_have() {
    let many: Vec<KeyValue> = (0..60).map(|i| pair(&format!("k{i}"), "v")).collect();
    let (wanted, skipped) = wanted(INFRA, &many);
    assert_eq!((wanted.len(), skipped.len()), (50, 12));
    assert_eq!(wanted[49].key, "k47");
    assert!(skipped[0].contains("k48"), "{skipped:?}");
}

#[test]
fn a_bucket_is_owned_only_with_the_whole_mark_and_no_other_cluster_s() {
    let [cluster, name] = mark_of(INFRA);
    let other = tag("kubernetes.io/cluster/red", "owned");
    let nobody = |missing: &Tag| Owner::Nobody(format!("tag {}={} is missing", missing.key, missing.value));
    for (tags, expected) in [
        (vec![cluster.clone(), name.clone(), tag("team", "x")], Owner::Ours),
        (vec![], nobody(&cluster)),
        (vec![name.clone()], nobody(&cluster)),
        (vec![cluster.clone()], nobody(&name)),
        (vec![cluster.clone(), tag("Name", "tinfra-other")], nobody(&name)),
        (
            vec![cluster.clone(), tag("name", "tinfra-image-registry")],
            nobody(&name),
        ),
        (vec![tag(&cluster.key, "shared"), name.clone()], nobody(&cluster)),
        (
            vec![tag("kubernetes.io/cluster/TINFRA", "owned"), name.clone()],
            Owner::Other("TINFRA".to_owned()),
        ),
        (
            vec![cluster.clone(), name.clone(), other.clone()],
            Owner::Other("red".to_owned()),
        ),
        (vec![tag(&other.key, "shared")], Owner::Other("red".to_owned())),
    ] {
        assert_eq!(owner(&tags, INFRA), expected, "{tags:?}");
    }
    assert_ne!(owner(&mark_of(""), ""), Owner::Ours);
}

// storage-s3 38, storage-s3 54, storage-s3 55, storage-s3 61
// In part: 54 (the set); 55 (that there is none).
#[test]
fn merging_keeps_the_tags_of_others_and_takes_none_away() {
    let existing = [tag("b", "2"), tag("team", "x")];
    assert_eq!(
        merge(&existing, &[tag("a", "1"), tag("b", "3")]).unwrap(),
        [tag("b", "3"), tag("team", "x"), tag("a", "1")]
    );
    assert_eq!(merge(&existing, &[tag("team", "x")]), None);
    assert_eq!(merge(&existing, &[]), None);
    assert_eq!(merge(&[], &[tag("a", "1")]).unwrap(), [tag("a", "1")]);
}

#[test]
fn tags_of_aws_are_neither_compared_nor_dropped_nor_written_by_us() {
    let system = tag("aws:cloudformation:stack-name", "s");
    let existing = [system.clone(), tag("a", "1")];
    assert_eq!(merge(&existing, &[tag("a", "1")]), None);
    assert_eq!(merge(&existing, &[tag("a", "1"), tag("aws:x", "y")]), None);
    assert_eq!(merge(&existing, &[tag("a", "2")]).unwrap(), [system, tag("a", "2")]);
}

#[test]
fn the_mark_and_existing_tags_come_first_within_the_limit() {
    let existing: Vec<Tag> = (0..47).map(|i| tag(&format!("k{i}"), "v")).collect();
    let (wanted, _) = wanted(INFRA, &[pair("a", "1"), pair("b", "2"), pair("k3", "new")]);
    let merged = merge(&existing, &wanted).unwrap();
    assert_eq!(merged.len(), 50);
    assert_eq!(keys(&merged[47..]), ["kubernetes.io/cluster/tinfra", "Name", "a"]);
    assert_eq!(merged[3], tag("k3", "new"));
    assert_eq!(left_out(&existing, &wanted), ["b"]);
    assert_eq!(merge(&merged, &wanted), None);

    let full: Vec<Tag> = (0..50).map(|i| tag(&format!("k{i}"), "v")).collect();
    assert_eq!(merge(&full, &wanted).unwrap().len(), 52);
    let mut with_system = existing.clone();
    with_system.push(tag("aws:x", "y"));
    assert_eq!(left_out(&with_system, &wanted), ["b"]);
}

#[test]
fn the_mark_is_added_to_what_is_there() {
    let existing = [tag("Name", "old"), tag("team", "x")];
    let marked = mark(&existing, INFRA).unwrap();
    assert_eq!(
        marked,
        [
            tag("Name", "tinfra-image-registry"),
            tag("team", "x"),
            tag("kubernetes.io/cluster/tinfra", "owned"),
        ]
    );
    assert_eq!(owner(&marked, INFRA), Owner::Ours);
    assert_eq!(mark(&marked, INFRA), None);
}

// storage-decisions 1
// In part: 1 (which tags).
#[test]
fn storage_that_was_not_created_here_gets_no_mark() {
    let (wanted, _) = wanted(INFRA, &[pair("a", "1")]);
    let unmarked = without_mark(&wanted);
    assert_eq!(keys(&unmarked), ["Name", "a"]);
    assert!(matches!(owner(&unmarked, INFRA), Owner::Nobody(_)));
}
