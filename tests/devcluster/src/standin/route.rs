//! Plays the part of the platform's router that writes: Routes get a host, and a status that says whether they are
//! admitted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::StandIn;
use super::cache::{Cache, Key, Kind, items, key, terminating, text};
use super::certificate::certified_key;
use super::control::Control;
use super::write::Write;

/// The router's name in a Route's status.
const ROUTER: &str = "default";

/// Whether the router takes a Route, as reason and message of its condition; admitted has neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionUpdate {
    Admitted,
    Refused(&'static str, String),
}

/// Gives Routes their host, and their status. The time is that of a condition that changes now.
pub(super) fn plan(cache: &Cache, control: &Control, domain: &str, now: Timestamp) -> Vec<Write> {
    let condition_updates = condition_updates(cache, control);
    let mut writes = Vec::new();
    for route in cache.all(Kind::Route).filter(|route| !terminating(route)) {
        let (namespace, name) = key(route);
        if let Some(spec) = without_empty_texts(route.data.get("spec").unwrap_or(&Value::Null)) {
            let body = json!({"spec": spec});
            writes.push(Write::merge(StandIn::Router, Kind::Route, route, body));
            continue;
        }
        let Some(host) = text(route, "/spec/host") else {
            let host = match text(route, "/spec/subdomain") {
                Some(subdomain) => format!("{subdomain}.{domain}"),
                None => format!("{name}-{namespace}.{domain}"),
            };
            writes.push(Write::merge(
                StandIn::Router,
                Kind::Route,
                route,
                json!({"spec": {"host": host}}),
            ));
            continue;
        };
        if let Some(condition_update) = condition_updates.get(&(namespace, name))
            && let Some(status) = status(route, host, domain, condition_update, now)
        {
            writes.push(Write::merge_status(StandIn::Router, Kind::Route, route, &status));
        }
    }
    writes
}

/// A merge patch that takes the empty texts out of an object; `None` if it has none. The real API of Routes does not store
/// them: their fields are optional in Go (`omitempty`). The custom resource of this cluster would keep them.
fn without_empty_texts(object: &Value) -> Option<Value> {
    let members = object.as_object()?.iter().filter_map(|(member, value)| {
        let patch = if value == "" {
            Some(Value::Null)
        } else {
            without_empty_texts(value)
        };
        Some((member.clone(), patch?))
    });
    let patch: serde_json::Map<_, _> = members.collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What the router says to each Route that has a host. Of several with one host, the oldest has it.
pub(super) fn condition_updates(cache: &Cache, control: &Control) -> BTreeMap<Key, ConditionUpdate> {
    let mut routes: Vec<_> = cache.all(Kind::Route).filter(|route| !terminating(route)).collect();
    routes.sort_by_key(|route| {
        (
            route.metadata.creation_timestamp.as_ref().map(|time| time.0),
            key(route),
        )
    });
    let mut owners: BTreeMap<&str, Key> = BTreeMap::new();
    let mut condition_updates = BTreeMap::new();
    for route in routes {
        let (namespace, name) = key(route);
        let Some(host) = text(route, "/spec/host") else {
            continue;
        };
        let owner = owners.entry(host).or_insert_with(|| (namespace.clone(), name.clone()));
        let condition_update = if control.refuse_routes.contains(&format!("{namespace}/{name}")) {
            ConditionUpdate::Refused("RouteNotAdmitted", "refused at the wish of a test".to_owned())
        } else if *owner != (namespace.clone(), name.clone()) {
            ConditionUpdate::Refused(
                "HostAlreadyClaimed",
                format!("route {} already exposes {host}", owner.1),
            )
        } else if let Err(error) = certified_key(route) {
            ConditionUpdate::Refused("ExtendedValidationFailed", format!("spec.tls.certificate: {error:#}"))
        } else {
            ConditionUpdate::Admitted
        };
        condition_updates.insert((namespace, name), condition_update);
    }
    condition_updates
}

/// The status that a Route is to have, if it has another.
fn status(
    route: &DynamicObject,
    host: &str,
    domain: &str,
    condition_update: &ConditionUpdate,
    now: Timestamp,
) -> Option<Value> {
    let admitted = if *condition_update == ConditionUpdate::Admitted {
        "True"
    } else {
        "False"
    };
    let mut condition = json!({"type": "Admitted", "status": admitted});
    if let ConditionUpdate::Refused(reason, message) = condition_update {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    let ours = |ingress: &&Value| ingress["routerName"] == ROUTER;
    let known = items(&route.data, "/status/ingress").iter().find(ours);
    let before = known.and_then(|ingress| items(ingress, "/conditions").iter().find(|c| c["type"] == "Admitted"));
    let since = before
        .filter(|before| before["status"] == admitted)
        .map(|before| &before["lastTransitionTime"]);
    condition["lastTransitionTime"] = since.filter(|time| time.is_string()).cloned().unwrap_or_else(|| {
        // The API's time has no fraction of a second.
        json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    });
    let wanted = json!({
        "host": host,
        "routerName": ROUTER,
        "routerCanonicalHostname": format!("router-{ROUTER}.{domain}"),
        "wildcardPolicy": "None",
        "conditions": [condition],
    });
    if known == Some(&wanted) {
        return None;
    }
    // A merge replaces a list: the words of other routers are carried along.
    let others = items(&route.data, "/status/ingress")
        .iter()
        .filter(|ingress| !ours(ingress));
    Some(json!({"ingress": others.chain([&wanted]).collect::<Vec<_>>()}))
}

#[cfg(test)]
mod tests {
    use super::super::cache::fixture::cache;
    use super::super::write::Verb;
    use super::*;

    fn route(name: &str, made: &str, spec: &Value) -> (Kind, Value) {
        let metadata = json!({"name": name, "namespace": "zone-q", "creationTimestamp": made});
        (Kind::Route, json!({"metadata": metadata, "spec": spec}))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The only write that these objects call for.
    fn planned(objects: &[(Kind, Value)]) -> Verb {
        let writes = plan(&cache(objects.to_vec()), &Control::default(), "apps.quux", at(0));
        let [write]: [Write; 1] = writes.try_into().unwrap();
        write.verb
    }

    const MADE: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_route_gets_its_host_then_its_status_then_rest() {
        let Verb::Merge(body) = planned(&[route("blue", MADE, &json!({}))]) else {
            panic!("a merge expected")
        };
        assert_eq!(body["spec"]["host"], "blue-zone-q.apps.quux");
        let (kind, mut hosted) = route("blue", MADE, &body["spec"]);
        let Verb::MergeStatus(body) = planned(&[(kind, hosted.clone())]) else {
            panic!("a status expected")
        };
        let ingress = &body["status"]["ingress"][0];
        assert_eq!(ingress["host"], "blue-zone-q.apps.quux");
        assert_eq!(ingress["routerCanonicalHostname"], "router-default.apps.quux");
        assert_eq!(
            ingress["conditions"],
            json!([{"type": "Admitted", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}])
        );
        hosted["status"] = body["status"].clone();
        let settled = cache([(kind, hosted)]);
        assert!(
            plan(&settled, &Control::default(), "apps.quux", at(77)).is_empty(),
            "time alone changes nothing"
        );
    }

    #[test]
    fn empty_texts_are_dropped_as_the_real_api_drops_them() {
        let spec = json!({"host": "b.example.com", "path": "", "tls": {"termination": "edge", "caCertificate": "", "key": ""}});
        let Verb::Merge(body) = planned(&[route("blue", MADE, &spec)]) else {
            panic!("a merge expected")
        };
        assert_eq!(
            body["spec"],
            json!({"path": null, "tls": {"caCertificate": null, "key": null}})
        );
        for kept in [
            json!({}),
            json!({"a": "x"}),
            json!({"a": {"b": null}}),
            json!(["", ""]),
            json!("x"),
        ] {
            assert_eq!(without_empty_texts(&kept), None, "{kept}");
        }
    }

    #[test]
    fn another_routers_word_is_kept() {
        let (kind, mut object) = route("blue", MADE, &json!({"host": "b.example.com"}));
        object["status"] = json!({"ingress": [{"host": "b.example.com", "routerName": "shard-x"}]});
        let Verb::MergeStatus(body) = planned(&[(kind, object)]) else {
            panic!("a status expected")
        };
        assert_eq!(body["status"]["ingress"][0]["routerName"], "shard-x");
        assert_eq!(body["status"]["ingress"][1]["routerName"], "default");
    }

    #[test]
    fn the_second_route_of_a_host_a_bad_certificate_and_a_tests_wish_are_refused() {
        let host = json!({"host": "b.example.com"});
        let bad = json!({"host": "c.example.com", "tls": {"certificate": "no PEM", "key": "no PEM"}});
        let objects = cache([
            route("early", MADE, &host),
            route("alate", "2026-01-02T00:00:00Z", &host),
            route("bad", MADE, &bad),
            route("wish", MADE, &json!({"host": "d.example.com"})),
        ]);
        let control = Control {
            refuse_routes: ["zone-q/wish".to_owned()].into(),
            ..Control::default()
        };
        let condition_updates = condition_updates(&objects, &control);
        let reason = |name: &str| match &condition_updates[&("zone-q".to_owned(), name.to_owned())] {
            ConditionUpdate::Admitted => "",
            ConditionUpdate::Refused(reason, _) => reason,
        };
        assert_eq!(reason("early"), "");
        assert_eq!(reason("alate"), "HostAlreadyClaimed");
        assert_eq!(reason("bad"), "ExtendedValidationFailed");
        assert_eq!(reason("wish"), "RouteNotAdmitted");
    }
}
