//! Plays the cluster-policy controller: user and group ranges on every namespace.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use super::StandIn;
use super::cache::{Cache, Kind, annotation, key, terminating};
use super::write::Write;

const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";
const GROUPS: &str = "openshift.io/sa.scc.supplemental-groups";
const LEVEL: &str = "openshift.io/sa.scc.mcs";

/// The operator's namespace has a known range, for tests to compare with.
const KNOWN: (&str, u64) = ("openshift-image-registry", 1_000_290_000);
const FIRST: u64 = 1_000_300_000;
const RANGE: u64 = 10_000;
const RANGES: u64 = 30_000;

/// Annotates namespaces that lack one of the annotations; what is there already is kept.
pub(super) fn plan(cache: &Cache) -> Vec<Write> {
    let mut writes = Vec::new();
    for namespace in cache.all(Kind::Namespace).filter(|namespace| !terminating(namespace)) {
        let (_, name) = key(namespace);
        let range = format!("{}/{RANGE}", start(&name));
        let wanted = [
            (UID_RANGE, range.as_str()),
            (GROUPS, range.as_str()),
            (LEVEL, "s0:c17,c9"),
        ];
        let missing: serde_json::Map<_, _> = wanted
            .iter()
            .filter(|(name, _)| annotation(namespace, name).is_none())
            .map(|&(name, value)| (name.to_owned(), json!(value)))
            .collect();
        if !missing.is_empty() {
            let body = json!({"metadata": {"annotations": missing}});
            writes.push(Write::merge(StandIn::Namespace, Kind::Namespace, namespace, body));
        }
    }
    writes
}

fn start(namespace: &str) -> u64 {
    if namespace == KNOWN.0 {
        return KNOWN.1;
    }
    let hash = digest(&SHA256, namespace.as_bytes());
    let number = hash
        .as_ref()
        .iter()
        .take(4)
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    FIRST + number % RANGES * RANGE
}

#[cfg(test)]
mod tests {
    use super::super::cache::fixture::cache;
    use super::super::write::Verb;
    use super::*;

    #[test]
    fn missing_annotations_are_added_and_given_ones_kept() {
        let metadata = json!({"name": KNOWN.0, "annotations": {UID_RANGE: "7/3"}});
        let [write] = plan(&cache([(Kind::Namespace, json!({"metadata": metadata}))]))
            .try_into()
            .unwrap();
        let Verb::Merge(body) = &write.verb else {
            panic!("a merge expected")
        };
        let expected = json!({GROUPS: "1000290000/10000", LEVEL: "s0:c17,c9"});
        assert_eq!(body["metadata"]["annotations"], expected);
        let all = json!({"name": "q", "annotations": {UID_RANGE: "7/3", GROUPS: "7/3", LEVEL: "s0"}});
        assert!(plan(&cache([(Kind::Namespace, json!({"metadata": all}))])).is_empty());
    }

    #[test]
    fn ranges_are_fixed_by_name_and_differ() {
        assert_eq!(start("zone-q"), start("zone-q"));
        assert_ne!(start("zone-q"), start("zone-p"));
        assert!(start("zone-q") >= FIRST);
    }
}
