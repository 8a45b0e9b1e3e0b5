//! Plays service-ca and the network operator where they fill ConfigMaps: the service CA into annotated ones, the
//! trusted bundle into labelled ones. Other keys of such a ConfigMap are left alone.

use kube::api::DynamicObject;
use serde_json::json;

use super::StandIn;
use super::cache::{Cache, Kind, annotation, key, label, terminating};
use super::write::Write;

const SERVICE_CA: [&str; 2] = [
    "service.beta.openshift.io/inject-cabundle",
    "service.alpha.openshift.io/inject-cabundle",
];
const SERVICE_CA_KEY: &str = "service-ca.crt";
/// The ConfigMap that each namespace has on the platform.
const IN_EVERY_NAMESPACE: &str = "openshift-service-ca.crt";

const TRUSTED: &str = "config.openshift.io/inject-trusted-cabundle";
const TRUSTED_KEY: &str = "ca-bundle.crt";

/// Fills annotated ConfigMaps with the service CA, and gives each namespace one of its own.
pub(super) fn plan_service_ca(cache: &Cache, service_ca: &str) -> Vec<Write> {
    let by = StandIn::ServiceCaBundle;
    let asks = |map: &&DynamicObject| SERVICE_CA.iter().any(|name| annotation(map, name) == Some("true"));
    let mut writes: Vec<_> = cache
        .all(Kind::ConfigMap)
        .filter(asks)
        .filter_map(|map| fill(by, map, SERVICE_CA_KEY, service_ca))
        .collect();
    for namespace in cache.all(Kind::Namespace).filter(|namespace| !terminating(namespace)) {
        let (_, name) = key(namespace);
        if cache.get(Kind::ConfigMap, &name, IN_EVERY_NAMESPACE).is_none() {
            let body = json!({
                "metadata": {"annotations": {SERVICE_CA[0]: "true"}},
                "data": {SERVICE_CA_KEY: service_ca},
            });
            writes.push(Write::create(by, Kind::ConfigMap, &name, IN_EVERY_NAMESPACE, body));
        }
    }
    writes
}

/// Fills labelled ConfigMaps with the trusted bundle.
pub(super) fn plan_trusted(cache: &Cache, bundle: &str) -> Vec<Write> {
    let asks = |map: &&DynamicObject| label(map, TRUSTED) == Some("true");
    let fill = |map| fill(StandIn::TrustedCaBundle, map, TRUSTED_KEY, bundle);
    cache.all(Kind::ConfigMap).filter(asks).filter_map(fill).collect()
}

fn fill(by: StandIn, map: &DynamicObject, key: &str, value: &str) -> Option<Write> {
    let settled = terminating(map) || map.data["data"][key] == value;
    (!settled).then(|| Write::merge(by, Kind::ConfigMap, map, json!({"data": {key: value}})))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::cache::fixture::cache;
    use super::super::write::Verb;
    use super::*;

    fn map(metadata: &Value, data: &Value) -> (Kind, Value) {
        let mut metadata = metadata.clone();
        metadata["name"] = json!("quux");
        metadata["namespace"] = json!("zone-q");
        (Kind::ConfigMap, json!({"metadata": metadata, "data": data}))
    }

    #[test]
    fn only_the_asked_for_key_is_written_and_only_when_it_differs() {
        let annotated = json!({"annotations": {SERVICE_CA[0]: "true"}});
        for data in [json!(null), json!({SERVICE_CA_KEY: "old", "mine": "x"})] {
            let [write] = plan_service_ca(&cache([map(&annotated, &data)]), "CA")
                .try_into()
                .unwrap();
            let Verb::Merge(body) = &write.verb else {
                panic!("a merge expected")
            };
            assert_eq!(body["data"], json!({SERVICE_CA_KEY: "CA"}));
            assert_eq!(body["metadata"]["resourceVersion"], "1");
        }
        let settled = json!({SERVICE_CA_KEY: "CA", "mine": "x"});
        assert!(plan_service_ca(&cache([map(&annotated, &settled)]), "CA").is_empty());
        assert!(plan_service_ca(&cache([map(&json!({}), &json!(null))]), "CA").is_empty());
    }

    #[test]
    fn the_trusted_bundle_goes_by_label() {
        let labelled = json!({"labels": {TRUSTED: "true"}});
        assert_eq!(plan_trusted(&cache([map(&labelled, &json!(null))]), "BUNDLE").len(), 1);
        assert!(plan_trusted(&cache([map(&labelled, &json!({TRUSTED_KEY: "BUNDLE"}))]), "BUNDLE").is_empty());
        assert!(
            plan_trusted(
                &cache([map(&json!({"annotations": {TRUSTED: "true"}}), &json!(null))]),
                "B"
            )
            .is_empty()
        );
    }

    #[test]
    fn each_living_namespace_gets_the_service_ca() {
        let living = (Kind::Namespace, json!({"metadata": {"name": "zone-q"}}));
        let dying = json!({"metadata": {"name": "zone-p", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let [write] = plan_service_ca(&cache([living, (Kind::Namespace, dying)]), "CA")
            .try_into()
            .unwrap();
        assert_eq!(
            (write.namespace.as_str(), write.name.as_str()),
            ("zone-q", IN_EVERY_NAMESPACE)
        );
    }
}
