//! PURE: what routers, Ingress controllers and Gateways say about the objects that expose the registry.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::content::text;
use super::elapsed;
use crate::api::Kind;
use crate::names;

/// How long a Gateway's controller that accepts an HTTPRoute may say nothing about the BackendTLSPolicy.
const SILENCE: Duration = Duration::from_mins(1);

/// The hosts of Ingresses and HTTPRoutes that their controllers have admitted, without duplicates: that of the default route first.
/// `policy`: the BackendTLSPolicy of the registry.
pub fn hostnames<'a>(objects: impl Iterator<Item = &'a Value>, policy: Option<&Value>) -> Vec<String> {
    let mut found: Vec<(bool, String)> = Vec::new();
    for object in objects.filter(|object| is_admitted(object, policy)) {
        let is_other = text(object.pointer("/metadata/name")) != Some(names::DEFAULT_ROUTE);
        found.extend(hosts(object).into_iter().map(|host| (is_other, host.to_owned())));
    }
    found.sort();
    let mut hosts: Vec<String> = Vec::new();
    for (_, host) in found {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Hosts of a Route, an Ingress or an HTTPRoute.
pub fn hosts(object: &Value) -> Vec<&str> {
    let route = object.pointer("/spec/host");
    let rules = list(object, "/spec/rules").map(|rule| rule.get("host"));
    let hostnames = list(object, "/spec/hostnames").map(Some);
    std::iter::once(route)
        .chain(rules)
        .chain(hostnames)
        .filter_map(text)
        .collect()
}

/// Why objects are not admitted, sorted: the order of routers and controllers must not change a message. An object about which nobody
/// said anything is not reported.
pub fn refusals(objects: &[&Value]) -> Vec<String> {
    let mut all: Vec<String> = objects.iter().flat_map(|object| refusals_of(object)).collect();
    all.sort();
    all
}

/// Controllers that lead clients to the registry and do not apply the BackendTLSPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Silent {
    /// For each controller that has said nothing for too long: what that means, and the remedy. Sorted.
    pub messages: Vec<String>,
    /// Time until another one has said nothing for too long.
    pub due: Option<Duration>,
}

/// Which controllers accept an HTTPRoute and say nothing about the BackendTLSPolicy. One that supports the policy reports it in
/// `status.ancestors`, together with the route or soon after; one that does not know it ignores it, and sends requests in clear.
pub fn silent(objects: &[&Value], now: Timestamp) -> Silent {
    let mut silent = Silent::default();
    // A policy that is missing is reported as such.
    let Some(policy) = objects.iter().find(|object| is_policy(object)) else {
        return silent;
    };
    for route in objects.iter().filter(|object| is_http_route(object)) {
        for parent in accepting(route).filter(|parent| entries_of(policy, parent).next().is_none()) {
            let accepted = condition(route, parent, "Accepted").and_then(|c| c.get("lastTransitionTime"));
            let times = [accepted, policy.pointer("/metadata/creationTimestamp")];
            let since = times.into_iter().filter_map(time).max();
            match since.and_then(|since| elapsed::left(since, now, SILENCE)) {
                Some(left) => silent.due = Some(silent.due.map_or(left, |due| due.min(left))),
                None => silent.messages.push(ignores(policy, parent)),
            }
        }
    }
    silent.messages.sort();
    silent.messages.dedup();
    silent
}

fn ignores(policy: &Value, parent: &Value) -> String {
    let gateway = parent.get("parentRef").unwrap_or(&Value::Null);
    format!(
        "Gateway {}/{}: its controller {} does not apply {} {} ({}): logins would reach the registry in clear text. Name a Gateway \
         whose controller supports this version of BackendTLSPolicy in variable EXPOSE_GATEWAY of the operator, or set EXPOSE to \
         another value",
        member(gateway, "namespace"),
        member(gateway, "name"),
        member(parent, "controllerName"),
        member(policy, "kind"),
        name(policy),
        member(policy, "apiVersion"),
    )
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    text(value)?.parse().ok()
}

fn refusals_of(object: &Value) -> Vec<String> {
    let kind = text(object.get("kind")).unwrap_or_default();
    match kind {
        _ if kind == Kind::Ingress.kind() => of_ingress(object),
        _ if kind == Kind::HttpRoute.kind() => of_gateway(object, "/status/parents", "parentRef"),
        _ if kind == Kind::BackendTlsPolicy.kind() => of_gateway(object, "/status/ancestors", "ancestorRef"),
        _ => of_route(object),
    }
}

/// Whether a controller serves the object: an Ingress has an address, an HTTPRoute a Gateway that accepts it and speaks TLS to the
/// registry.
fn is_admitted(object: &Value, policy: Option<&Value>) -> bool {
    if is_http_route(object) {
        return accepting(object)
            .any(|parent| policy.is_some_and(|policy| entries_of(policy, parent).any(|entry| applies(policy, entry))));
    }
    let has_address = |entry: &Value| !member(entry, "ip").is_empty() || !member(entry, "hostname").is_empty();
    list(object, "/status/loadBalancer/ingress").any(has_address)
}

fn is_http_route(object: &Value) -> bool {
    text(object.get("kind")) == Some(Kind::HttpRoute.kind())
}

fn is_policy(object: &Value) -> bool {
    text(object.get("kind")) == Some(Kind::BackendTlsPolicy.kind())
}

/// What the Gateways say that accept the HTTPRoute.
fn accepting(route: &Value) -> impl Iterator<Item = &Value> {
    list(route, "/status/parents").filter(move |parent| {
        let accepted = condition(route, parent, "Accepted").is_some_and(|c| member(c, "status") == "True");
        let unresolved = condition(route, parent, "ResolvedRefs").is_some_and(|c| member(c, "status") == "False");
        accepted && !unresolved
    })
}

/// What the controller of a Gateway says about the policy: some name the Gateway as the ancestor, others the Service. A controller may refuse
/// the policy for one ancestor and accept it for another.
fn entries_of<'a>(policy: &'a Value, parent: &'a Value) -> impl Iterator<Item = &'a Value> {
    list(policy, "/status/ancestors")
        .filter(|entry| member(entry, "controllerName") == member(parent, "controllerName"))
}

/// Whether the controller has accepted the policy, in this or an earlier generation, and does not refuse the present one.
fn applies(policy: &Value, entry: &Value) -> bool {
    let accepted = list(entry, "/conditions").any(|c| member(c, "type") == "Accepted" && member(c, "status") == "True");
    accepted && !is_refused(policy, entry)
}

fn is_refused(policy: &Value, entry: &Value) -> bool {
    let is_false = |type_| condition(policy, entry, type_).is_some_and(|c| member(c, "status") == "False");
    is_false("Accepted") || is_false("ResolvedRefs")
}

/// An entry without condition `Admitted` is no refusal: the router writes each condition with an update of its own, so for a moment an
/// entry may have only `UnservableInFutureVersions`.
fn of_route(route: &Value) -> Vec<String> {
    let refused = list(route, "/status/ingress").filter_map(|ingress| {
        let mut conditions = list(ingress, "/conditions");
        let admitted = conditions.find(|c| member(c, "type") == "Admitted")?;
        (member(admitted, "status") != "True").then(|| {
            format!(
                "route {} (host {}, router {}) is not admitted: {}",
                name(route),
                member(ingress, "host"),
                member(ingress, "routerName"),
                said(admitted, "the router gave no cause")
            )
        })
    });
    refused.collect()
}

/// An Ingress has no condition; a controller may report an error for each port of its address.
fn of_ingress(ingress: &Value) -> Vec<String> {
    let ports = list(ingress, "/status/loadBalancer/ingress").flat_map(|entry| list(entry, "/ports"));
    let faulty = ports.filter(|port| !member(port, "error").is_empty()).map(|port| {
        format!(
            "Ingress {} (host {}) is not admitted: port {}: {}",
            name(ingress),
            hosts(ingress).join(", "),
            port.get("port").unwrap_or(&Value::Null),
            member(port, "error")
        )
    });
    let mut all: Vec<String> = faulty.collect();
    all.dedup();
    all
}

/// `entries`: what each Gateway says about the object. `reference`: the member that names the Gateway.
fn of_gateway(object: &Value, entries: &str, reference: &str) -> Vec<String> {
    let refused = list(object, entries).flat_map(|entry| {
        let gateway = entry.get(reference).unwrap_or(&Value::Null);
        let bad = ["Accepted", "ResolvedRefs"]
            .into_iter()
            .filter_map(|type_| condition(object, entry, type_))
            .filter(|c| member(c, "status") == "False");
        bad.map(|condition| {
            format!(
                "{} {} (Gateway {}/{}, controller {}) has {}=False: {}",
                member(object, "kind"),
                name(object),
                member(gateway, "namespace"),
                member(gateway, "name"),
                member(entry, "controllerName"),
                member(condition, "type"),
                said(condition, "the controller gave no cause")
            )
        })
        .collect::<Vec<_>>()
    });
    refused.collect()
}

/// A condition of the current generation: what a controller said about an earlier one does not count.
fn condition<'a>(object: &Value, entry: &'a Value, type_: &str) -> Option<&'a Value> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let is_current = |c: &&Value| {
        let observed = c.get("observedGeneration").and_then(Value::as_i64);
        observed.is_none() || observed == generation
    };
    list(entry, "/conditions")
        .filter(is_current)
        .find(|c| member(c, "type") == type_)
}

fn said<'a>(condition: &'a Value, nothing: &'a str) -> &'a str {
    let all = [member(condition, "message"), member(condition, "reason"), nothing];
    all.into_iter().find(|said| !said.is_empty()).unwrap_or_default()
}

fn name(object: &Value) -> &str {
    text(object.pointer("/metadata/name")).unwrap_or_default()
}

fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    text(value.get(name)).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(name: &str, host: &str, status: &Value) -> Value {
        json!({"kind": "Ingress", "metadata": {"name": name}, "spec": {"rules": [{"host": host}]}, "status": status})
    }

    fn http_route(name: &str, conditions: &Value) -> Value {
        json!({"kind": "HTTPRoute", "metadata": {"name": name, "generation": 3}, "spec": {"hostnames": [format!("{name}.test")]},
        "status": {"parents": [{
            "controllerName": "harbour.test/controller", "parentRef": {"namespace": "edge", "name": "outer"},
            "conditions": conditions,
        }]}})
    }

    fn policy(ancestors: &Value) -> Value {
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy", "status": {"ancestors": ancestors},
            "metadata": {"name": "image-registry", "generation": 5, "creationTimestamp": "2026-03-01T12:00:00Z"}})
    }

    fn ancestor(controller: &str, conditions: &Value) -> Value {
        json!({"controllerName": controller, "ancestorRef": {"kind": "Service", "name": "image-registry"}, "conditions": conditions})
    }

    #[test]
    fn hosts_count_once_a_controller_has_admitted_them_and_the_default_route_comes_first() {
        let address = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        let accepted = json!([{"type": "Accepted", "status": "True", "observedGeneration": 3}]);
        let unresolved = json!([{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "False"}]);
        let outdated = json!([{"type": "Accepted", "status": "True", "observedGeneration": 2}]);
        let all = [
            ingress("alpha", "alpha.test", &address),
            ingress("default-route", "zeta.test", &address),
            ingress("again", "alpha.test", &address),
            ingress("fresh", "fresh.test", &json!({"loadBalancer": {}})),
            ingress("new", "new.test", &Value::Null),
            ingress("empty", "empty.test", &json!({"loadBalancer": {"ingress": [{}]}})),
            http_route("beta", &accepted),
            http_route("unresolved", &unresolved),
            http_route("outdated", &outdated),
        ];
        let accepted = json!([{"type": "Accepted", "status": "True"}]);
        let policy = policy(&json!([ancestor("harbour.test/controller", &accepted)]));
        assert_eq!(
            hostnames(all.iter(), Some(&policy)),
            ["zeta.test", "alpha.test", "beta.test"]
        );
        assert_eq!(hostnames(all.iter(), None), ["zeta.test", "alpha.test"]);
    }

    // Else clients are told to log in at a host whose Gateway sends the login on in clear.
    #[test]
    fn a_host_counts_only_once_the_controller_that_accepts_it_applies_the_policy() {
        let accepted = json!([{"type": "Accepted", "status": "True", "observedGeneration": 3}]);
        let route = http_route("beta", &accepted);
        let own = "harbour.test/controller";
        let accepted = |status: &str| json!([{"type": "Accepted", "status": status, "observedGeneration": 5}]);
        let earlier = |status: &str| json!([{"type": "Accepted", "status": status, "observedGeneration": 4}]);
        let unresolved = json!([{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "False"}]);
        for (ancestors, admitted, spoke) in [
            (json!([]), false, false),
            (
                json!([ancestor("other.test/controller", &accepted("True"))]),
                false,
                false,
            ),
            (json!([ancestor(own, &accepted("True"))]), true, true),
            (json!([ancestor(own, &Value::Null)]), false, true),
            (json!([ancestor(own, &accepted("Unknown"))]), false, true),
            (json!([ancestor(own, &earlier("False"))]), false, true),
            (
                json!([ancestor(own, &accepted("True")), ancestor(own, &accepted("Unknown"))]),
                true,
                true,
            ),
            (
                json!([ancestor(own, &Value::Null), ancestor(own, &accepted("True"))]),
                true,
                true,
            ),
            // An edit of the policy does not take the host away for a moment.
            (json!([ancestor(own, &earlier("True"))]), true, true),
            (json!([ancestor(own, &accepted("False"))]), false, true),
            (json!([ancestor(own, &unresolved)]), false, true),
            (
                json!([ancestor(own, &accepted("False")), ancestor(own, &accepted("True"))]),
                true,
                true,
            ),
            (
                json!([ancestor(own, &accepted("True")), ancestor(own, &accepted("False"))]),
                true,
                true,
            ),
            (
                json!([
                    ancestor(own, &accepted("False")),
                    ancestor("other.test/controller", &accepted("True"))
                ]),
                false,
                true,
            ),
        ] {
            let policy = policy(&ancestors);
            let expected: &[&str] = if admitted { &["beta.test"] } else { &[] };
            assert_eq!(hostnames([&route].into_iter(), Some(&policy)), expected, "{ancestors}");
            let later = "2026-03-01T12:01:00Z".parse().unwrap();
            let silent = silent(&[&route, &policy], later);
            assert_eq!(silent.messages.is_empty(), spoke, "{ancestors}");
        }
    }

    #[test]
    fn a_controller_that_says_nothing_about_the_policy_is_reported_after_a_minute() {
        let at = |time: &str| json!([{"type": "Accepted", "status": "True", "lastTransitionTime": time}]);
        let first = http_route("beta", &at("2026-03-01T11:59:30Z"));
        let second = http_route("gamma", &at("2026-03-01T12:00:20Z"));
        let refused = http_route("delta", &json!([{"type": "Accepted", "status": "False"}]));
        let policy = policy(&json!([]));
        let silent = |objects: &[&Value], time: &str| silent(objects, time.parse().unwrap());
        let all = [&first, &second, &refused, &policy];
        let nothing = silent(&all, "2026-03-01T12:00:30Z");
        // Since the policy is there, which is later than the route.
        let expected = Silent {
            messages: Vec::new(),
            due: Some(Duration::from_secs(30)),
        };
        assert_eq!(nothing, expected);
        let one = silent(&all, "2026-03-01T12:01:00Z");
        assert_eq!(one.due, Some(Duration::from_secs(20)));
        let [message] = &one.messages[..] else {
            panic!("{one:?}")
        };
        for part in [
            "Gateway edge/outer: its controller harbour.test/controller",
            "does not apply BackendTLSPolicy image-registry (gateway.networking.k8s.io/v1)",
            "in clear text",
            "EXPOSE_GATEWAY",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let both = silent(&all, "2026-03-01T12:05:00Z");
        assert_eq!(
            both,
            Silent {
                messages: one.messages,
                due: None
            }
        );
        // No route leads through it; or there is no policy, which is reported as such.
        assert_eq!(silent(&[&refused, &policy], "2026-03-01T12:05:00Z"), Silent::default());
        assert_eq!(silent(&[&first], "2026-03-01T12:05:00Z"), Silent::default());
    }

    // lifecycle, section 7.1: Degraded, row 6; api, section 8.5
    #[test]
    fn an_entry_of_a_route_without_the_condition_admitted_is_no_refusal() {
        let condition = |type_, status| json!({"type": type_, "status": status});
        let future = condition("UnservableInFutureVersions", "True");
        for (conditions, refused) in [
            (json!(null), 0),
            (json!([]), 0),
            (json!([future]), 0),
            (json!([future, condition("Admitted", "True")]), 0),
            (json!([future, condition("Admitted", "False")]), 1),
            (json!([condition("Admitted", "Unknown")]), 1),
        ] {
            let entry = json!({"host": "zeta.test", "routerName": "outer", "conditions": conditions});
            let route = json!({"kind": "Route", "metadata": {"name": "default-route"}, "status": {"ingress": [entry]}});
            assert_eq!(refusals(&[&route]).len(), refused, "{conditions}");
        }
    }

    #[test]
    fn refusals_name_the_object_who_refuses_it_and_why() {
        let faulty = json!({"loadBalancer": {"ingress": [
            {"ip": "192.0.2.1", "ports": [{"port": 443, "protocol": "TCP", "error": "CertificateInvalid"}, {"port": 80}]},
        ]}});
        let refused = json!([
            {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no listener"},
            {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"},
        ]);
        let outdated = json!([{"type": "Accepted", "status": "False", "observedGeneration": 2}]);
        let policy = json!({"kind": "BackendTLSPolicy", "metadata": {"name": "image-registry"}, "status": {"ancestors": [{
            "controllerName": "c", "ancestorRef": {"namespace": "edge", "name": "outer"},
            "conditions": [{"type": "Accepted", "status": "False"}, {"type": "ResolvedRefs", "status": "True"}],
        }]}});
        let all = [
            ingress("alpha", "alpha.test", &faulty),
            ingress("fresh", "fresh.test", &Value::Null),
            http_route("beta", &refused),
            http_route("outdated", &outdated),
            policy,
        ];
        let all: Vec<&Value> = all.iter().collect();
        let expected = [
            "BackendTLSPolicy image-registry (Gateway edge/outer, controller c) has Accepted=False: the controller gave no cause",
            "HTTPRoute beta (Gateway edge/outer, controller harbour.test/controller) has Accepted=False: no listener",
            "HTTPRoute beta (Gateway edge/outer, controller harbour.test/controller) has ResolvedRefs=False: BackendNotFound",
            "Ingress alpha (host alpha.test) is not admitted: port 443: CertificateInvalid",
        ];
        assert_eq!(refusals(&all), expected);
    }
}
