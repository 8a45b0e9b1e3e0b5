//! What becomes of the objects and of the Service when something changes.

use super::*;

#[test]
fn stored_objects_are_not_written_again() {
    for way in [Way::Ingress, Way::Gateway] {
        let spec = json!({"routes": [{"name": "blue", "hostname": "blue.test"}]});
        let mut cluster = cluster(
            Exposure {
                ingress_class: Some("traefik".to_owned()),
                ..exposure(way)
            },
            &spec,
            [],
        );
        let exposes = |desired: &&Desired| {
            let helpers = [
                Kind::Secret,
                Kind::ConfigMap,
                Kind::ServersTransport,
                Kind::BackendTlsPolicy,
            ];
            let Desired { reference, .. } = desired;
            let is_helper = helpers.contains(&reference.kind)
                && [names::BACKEND_CA, names::BACKEND_TLS].contains(&reference.name.as_str());
            super::super::kind_of(way) == Some(reference.kind) || is_helper
        };
        for desired in cluster.plan().present.iter().filter(exposes) {
            let live = cluster.snapshot.objects.find(&desired.reference).cloned();
            let live = live.as_deref().unwrap_or(&Value::Null);
            let mut stored = drift::merged(desired, live, Some("digest"));
            if let Some(rule) = stored.pointer_mut("/spec/rules/0").and_then(Value::as_object_mut) {
                rule.remove("timeouts");
                rule.insert(
                    "matches".to_owned(),
                    json!([{"path": {"type": "PathPrefix", "value": "/"}}]),
                );
            }
            cluster.put(&stored);
        }
        for desired in cluster.plan().present.iter().filter(exposes) {
            let live = cluster.snapshot.objects.find(&desired.reference).unwrap();
            assert!(!drift::differs(desired, live, None), "{way:?} {}", desired.reference);
        }
    }
}

#[test]
fn an_http_route_that_somebody_restricts_leads_all_requests_again() {
    let mut cluster = cluster(exposure(Way::Gateway), &wants_default(), []);
    let planned = |cluster: &Cluster| cluster.plan().desired(Kind::HttpRoute, DEFAULT).cloned().unwrap();
    let live = drift::merged(&planned(&cluster), &Value::Null, None);
    cluster.put(&live);
    assert!(!drift::differs(&planned(&cluster), &live, None));
    let all = json!({"path": {"type": "PathPrefix", "value": "/"}});
    let restricted = |member: &str, value: Value| {
        let mut restricted = all.clone();
        restricted[member] = value;
        json!([restricted])
    };
    for matches in [
        restricted("path", json!({"type": "PathPrefix", "value": "/v2"})),
        restricted("path", json!({"type": "Exact", "value": "/"})),
        restricted("method", json!("GET")),
        restricted("headers", json!([{"type": "Exact", "name": "a", "value": "b"}])),
        restricted("queryParams", json!([{"type": "Exact", "name": "a", "value": "b"}])),
        json!([all, {"path": {"type": "PathPrefix", "value": "/v1"}}]),
    ] {
        let mut edited = live.clone();
        edited["spec"]["rules"][0]["matches"] = matches.clone();
        cluster.put(&edited);
        let desired = planned(&cluster);
        assert!(drift::differs(&desired, &edited, None), "{matches}");
        let written = drift::merged(&desired, &edited, None);
        assert_eq!(written["spec"]["rules"][0]["matches"], json!([all]));
    }
}

#[test]
fn another_way_deletes_the_objects_of_the_earlier_one() {
    let route = "Route default-route";
    let [ingress, http_route] = ["Ingress default-route", "HTTPRoute default-route"];
    let for_ingress = ["Secret image-registry-backend-ca", "ServersTransport image-registry"];
    let for_gateway = ["BackendTLSPolicy image-registry", "ConfigMap image-registry-backend-ca"];
    let sorted = |lists: &[&[&str]]| {
        let mut all: Vec<String> = lists.concat().into_iter().map(str::to_owned).collect();
        all.sort();
        all
    };
    for (way, first, last) in [
        (
            Way::Route,
            sorted(&[&[ingress, http_route]]),
            sorted(&[&for_ingress, &for_gateway]),
        ),
        (Way::Ingress, sorted(&[&[route, http_route]]), sorted(&[&for_gateway])),
        (Way::Gateway, sorted(&[&[route, ingress]]), sorted(&[&for_ingress])),
        (
            Way::Nowhere,
            sorted(&[&[route, ingress, http_route]]),
            sorted(&[&for_ingress, &for_gateway]),
        ),
    ] {
        let mut switched = cluster(exposure(way), &wants_default(), everything());
        let plan = switched.plan();
        // How a controller speaks TLS to the registry outlives what it serves.
        assert_eq!(absent(&plan), first, "{way:?}");
        for gone in &plan.absent {
            switched.remove(gone.kind, "openshift-image-registry", DEFAULT);
        }
        assert_eq!(absent(&switched.plan()), last, "{way:?}");
        if way == Way::Nowhere {
            let message = failure(&plan);
            assert!(
                message.contains("NotExposed") && message.contains("EXPOSE"),
                "{message}"
            );
        }
        // Without a wish all go.
        let none = cluster(exposure(way), &json!({}), everything());
        let all = sorted(&[&[route, ingress, http_route]]);
        assert_eq!(absent(&none.plan()), all, "{way:?}");
        assert!(none.plan().failures.is_empty());
    }
}

// kubernetes 20: what exposes the registry
#[test]
fn a_removal_takes_all_that_exposes_the_registry_first() {
    let mut cluster = cluster(exposure(Way::Ingress), &wants_default(), everything());
    let service_goes = |cluster: &Cluster| {
        let removed = removal(&cluster.snapshot, None);
        removed.delete.iter().any(|reference| reference.kind == Kind::Service)
    };
    let removed = |cluster: &Cluster| {
        let removed = removal(&cluster.snapshot, None);
        assert!(!removed.objects_gone);
        // The Service remembers what may still lead to it.
        assert!(!service_goes(cluster));
        let all = removed.delete.iter();
        all.map(|reference| format!("{} {}", reference.kind.kind(), reference.name))
            .collect::<Vec<_>>()
    };
    let leads = [
        "Route default-route",
        "Ingress default-route",
        "HTTPRoute default-route",
    ];
    assert_eq!(removed(&cluster), leads);
    // Each helper outlives what needs it.
    let for_ingress = ["ServersTransport image-registry", "Secret image-registry-backend-ca"];
    let for_gateway = ["BackendTLSPolicy image-registry", "ConfigMap image-registry-backend-ca"];
    let remove = |cluster: &mut Cluster, kind| cluster.remove(kind, "openshift-image-registry", DEFAULT);
    remove(&mut cluster, Kind::Ingress);
    assert_eq!(removed(&cluster), [&[leads[0], leads[2]][..], &for_ingress].concat());
    remove(&mut cluster, Kind::HttpRoute);
    let [policy, map] = for_gateway;
    let [transport, secret] = for_ingress;
    assert_eq!(removed(&cluster), [leads[0], policy, transport, secret, map]);
    let name = "image-registry";
    cluster.remove(Kind::BackendTlsPolicy, "openshift-image-registry", name);
    cluster.remove(Kind::ServersTransport, "openshift-image-registry", name);
    for kind in [Kind::Secret, Kind::ConfigMap] {
        assert!(!service_goes(&cluster), "{kind:?}");
        cluster.remove(kind, "openshift-image-registry", names::BACKEND_CA);
    }
    assert!(service_goes(&cluster));
}

// An Ingress or HTTPRoute that the operator may not read any more may still be served.
#[test]
fn what_something_unread_may_need_stays() {
    for (way, kind, helper) in [
        (Way::Ingress, Kind::Ingress, owned("v1", "Secret", names::BACKEND_CA)),
        (
            Way::Gateway,
            Kind::HttpRoute,
            owned("v1", "ConfigMap", names::BACKEND_CA),
        ),
    ] {
        let mut cluster = cluster(exposure(Way::Nowhere), &json!({}), [helper]);
        cluster.snapshot.objects.set_absent_kind(kind);
        let deletes = |cluster: &Cluster| {
            let is_helper = |reference: &crate::api::ObjectRef| reference.name == names::BACKEND_CA;
            let removed = removal(&cluster.snapshot, None).delete;
            [cluster.plan().absent, removed].map(|all| all.iter().any(is_helper))
        };
        let mut service = live_service();
        service["metadata"]["annotations"][names::EXPOSURE_ANNOTATION] = json!(way.name());
        cluster.put(&service);
        assert_eq!(deletes(&cluster), [false; 2], "{way:?}");
        cluster.put(&live_service());
        assert_eq!(deletes(&cluster), [true; 2], "{way:?}");
    }
}

// A controller that still serves an Ingress would else send the logins to the registry in clear.
#[test]
fn the_service_says_that_the_registry_speaks_tls_until_the_last_ingress_is_gone() {
    let edge = class("edge", "traefik.io/ingress-controller", false);
    let mut cluster = cluster(of_class("edge"), &wants_default(), [edge]);
    let plan = cluster.plan();
    cluster.put(&drift::merged(&ingress(&plan, DEFAULT), &Value::Null, None));
    let with_scheme = |cluster: &Cluster| {
        let plan = cluster.plan();
        let live = cluster.snapshot.objects.operand(Kind::Service, "image-registry");
        let service = plan.desired(Kind::Service, "image-registry").unwrap();
        let service = drift::merged(service, live.unwrap(), None);
        let found = annotations(&service);
        (service, found.iter().any(|one| one.contains("serversscheme: https")))
    };
    let (service, told) = with_scheme(&cluster);
    assert!(told);
    cluster.put(&service);
    for (way, spec) in [
        (Way::Gateway, wants_default()),
        (Way::Nowhere, wants_default()),
        (Way::Ingress, json!({})),
    ] {
        let mut changed = self::cluster(exposure(way), &spec, [service.clone()]);
        let live = drift::merged(&ingress(&plan, DEFAULT), &Value::Null, None);
        changed.put(&live);
        assert_eq!(absent(&changed.plan()), ["Ingress default-route"]);
        assert!(with_scheme(&changed).1, "{way:?}");
        changed.remove(Kind::Ingress, "openshift-image-registry", DEFAULT);
        assert!(!with_scheme(&changed).1, "{way:?}");
    }
    // Another class: until the Ingress has it.
    let inner = class("inner", "k8s.io/ingress-nginx", false);
    let mut moved = self::cluster(of_class("inner"), &wants_default(), [inner, service.clone()]);
    moved.put(&drift::merged(&ingress(&plan, DEFAULT), &Value::Null, None));
    assert!(with_scheme(&moved).1);
    let live = moved.snapshot.objects.operand(Kind::Ingress, DEFAULT).unwrap().clone();
    let next = drift::merged(&ingress(&moved.plan(), DEFAULT), &live, None);
    moved.put(&next);
    assert!(!with_scheme(&moved).1);
}

#[test]
fn the_service_tells_the_hosts_that_are_admitted_and_remembers_the_way() {
    let of_service = |cluster: &Cluster| {
        let plan = cluster.plan();
        let service = plan.desired(Kind::Service, "image-registry").unwrap().clone();
        let live = cluster
            .snapshot
            .objects
            .operand(Kind::Service, "image-registry")
            .unwrap();
        let all = drift::merged(&service, live, None)["metadata"]["annotations"].clone();
        let text = |key: &str| all[key].as_str().map(str::to_owned);
        (text(names::EXPOSURE_ANNOTATION), text(names::HOSTNAMES_ANNOTATION))
    };
    let mut cluster = cluster(of_class("contour"), &wants_default(), []);
    assert_eq!(of_service(&cluster), (Some("ingress".to_owned()), None));
    let mut live = drift::merged(&ingress(&cluster.plan(), DEFAULT), &Value::Null, None);
    live["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    cluster.put(&live);
    let host = "default-route-openshift-image-registry.apps.harbour.test";
    let with_host = (Some("ingress".to_owned()), Some(host.to_owned()));
    assert_eq!(of_service(&cluster), with_host);
    let plan = cluster.plan();
    let service = plan.desired(Kind::Service, "image-registry").unwrap();
    let service = drift::merged(service, &live_service(), None);
    cluster.put(&service);
    assert!(super::super::may_expose(&cluster.snapshot));

    // A process without the variables finds what there is to delete, and forgets it then.
    cluster.snapshot.environment.exposure = Exposure::default();
    let mut cluster = resolved(cluster);
    assert!(super::super::may_expose(&cluster.snapshot));
    assert_eq!(absent(&cluster.plan()), ["Ingress default-route"]);
    assert!(of_service(&cluster).0.is_some());
    cluster.remove(Kind::Ingress, "openshift-image-registry", DEFAULT);
    assert_eq!(of_service(&cluster), (None, None));
    let plan = cluster.plan();
    let service = drift::merged(plan.desired(Kind::Service, "image-registry").unwrap(), &service, None);
    assert_eq!(
        annotations(&service),
        ["service.beta.openshift.io/serving-cert-signed-by: signer"]
    );
    cluster.put(&service);
    assert!(!super::super::may_expose(&cluster.snapshot));
}

// Both ways are remembered while something of both is there.
#[test]
fn a_change_of_the_way_remembers_both_until_nothing_of_the_first_is_left() {
    let mut changed = cluster(exposure(Way::Gateway), &wants_default(), []);
    let made = changed.plan().desired(Kind::HttpRoute, DEFAULT).cloned().unwrap();
    changed.put(&drift::merged(&made, &Value::Null, None));
    let mut service = live_service();
    service["metadata"]["annotations"][names::EXPOSURE_ANNOTATION] = json!("gateway");
    changed.put(&service);
    changed.snapshot.environment.exposure = exposure(Way::Ingress);
    let remembered = |cluster: &Cluster| {
        let plan = cluster.plan();
        let service = plan.desired(Kind::Service, "image-registry").unwrap();
        service.body["metadata"]["annotations"][names::EXPOSURE_ANNOTATION].clone()
    };
    assert_eq!(remembered(&changed), "ingress,gateway");
    // The right is gone before the HTTPRoute is.
    service["metadata"]["annotations"][names::EXPOSURE_ANNOTATION] = json!("ingress,gateway");
    changed.put(&service);
    let known = changed.snapshot.objects.clone();
    changed.snapshot.objects.set_absent_kind(Kind::HttpRoute);
    assert_eq!(remembered(&changed), "ingress,gateway");
    changed.snapshot.objects = known;
    changed.remove(Kind::HttpRoute, "openshift-image-registry", DEFAULT);
    assert_eq!(remembered(&changed), "ingress");
}
