//! HTTPRoutes, and how the Gateway is told to speak TLS.

use super::*;

#[test]
fn an_http_route_leads_through_the_gateway_with_the_registrys_ca() {
    let spec =
        json!({"defaultRoute": true, "routes": [{"name": "blue", "hostname": "blue.test", "secretName": "unused"}]});
    for (absent, version) in [(None, "v1"), (Some(Kind::BackendTlsPolicy), "v1alpha3")] {
        let mut given = exposure(Way::Gateway);
        given.gateway.as_mut().unwrap().section = Some("https".to_owned());
        given.annotations = [("harbour.test/pilot".to_owned(), "yes".to_owned())].into();
        let mut cluster = cluster(given, &spec, []);
        if let Some(kind) = absent {
            cluster.snapshot.objects.set_absent_kind(kind);
        }
        let plan = cluster.plan();
        assert!(plan.failures.is_empty(), "{:?}", plan.failures);
        assert_eq!(plan.events[0].reason, "RouteCertificateNotUsed");
        let route = plan.desired(Kind::HttpRoute, "blue").unwrap();
        assert_eq!(annotations(&route.body), ["harbour.test/pilot: yes"]);
        let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge", "name": "outer",
            "sectionName": "https"});
        let backend = json!({"group": "", "kind": "Service", "name": "image-registry", "port": 5000, "weight": 1});
        let expected = json!({"parentRefs": [parent], "hostnames": ["blue.test"],
            "rules": [{"backendRefs": [backend], "timeouts": {"request": "0s"},
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]});
        assert_eq!(drift::stripped(&route.body)["spec"], expected);
        let kind = if absent.is_some() {
            Kind::BackendTlsPolicyAlpha
        } else {
            Kind::BackendTlsPolicy
        };
        let policy = plan.desired(kind, "image-registry").unwrap();
        assert_eq!(
            policy.body["apiVersion"],
            format!("gateway.networking.k8s.io/{version}")
        );
        let expected = json!({
            "targetRefs": [{"group": "", "kind": "Service", "name": "image-registry"}],
            "validation": {"hostname": HOST, "caCertificateRefs": [
                {"group": "", "kind": "ConfigMap", "name": "image-registry-backend-ca"},
            ]},
        });
        assert_eq!(drift::stripped(&policy.body)["spec"], expected);
        let ca = plan.desired(Kind::ConfigMap, names::BACKEND_CA).unwrap();
        assert_eq!(ca.body["data"], json!({"ca.crt": CA}));
    }
}

// Without it the Gateway would send logins to the registry in clear.
#[test]
fn no_route_is_new_while_the_gateway_cannot_be_told_to_speak_tls() {
    let gateway = "gateway.networking.k8s.io/v1";
    let foreign = operand(gateway, "BackendTLSPolicy", "image-registry", &json!({}));
    let live = owned(gateway, "HTTPRoute", DEFAULT);
    let has_route = |cluster: &Cluster| cluster.plan().desired(Kind::HttpRoute, DEFAULT).is_some();
    let with = |objects: Vec<Value>| cluster(exposure(Way::Gateway), &wants_default(), objects);
    assert!(has_route(&with(vec![])));
    assert!(!has_route(&with(vec![foreign.clone()])));
    assert!(has_route(&with(vec![foreign, live])), "what is there stays");
    let mut unserved = with(vec![]);
    for kind in [Kind::BackendTlsPolicy, Kind::BackendTlsPolicyAlpha] {
        unserved.snapshot.objects.set_absent_kind(kind);
    }
    assert!(!has_route(&unserved));
    let mut without_ca = with(vec![]);
    without_ca.remove(Kind::ConfigMap, names::NAMESPACE, "serviceca");
    assert!(!has_route(&without_ca));
}

// A Gateway that ignores the policy sends logins in clear: no client may be led there.
#[test]
fn the_service_tells_a_host_of_the_gateway_once_its_controller_applies_the_policy() {
    let mut cluster = cluster(exposure(Way::Gateway), &wants_default(), []);
    let plan = cluster.plan();
    let mut route = drift::merged(plan.desired(Kind::HttpRoute, DEFAULT).unwrap(), &Value::Null, None);
    let parent = json!({"controllerName": "harbour.test/c", "conditions": [{"type": "Accepted", "status": "True"}]});
    route["status"] = json!({"parents": [parent]});
    cluster.put(&route);
    let policy = plan.desired(Kind::BackendTlsPolicy, names::BACKEND_TLS).unwrap();
    let mut policy = drift::merged(policy, &Value::Null, None);
    let hosts = |cluster: &Cluster| {
        let plan = cluster.plan();
        let service = plan.desired(Kind::Service, "image-registry").unwrap();
        service.body["metadata"]["annotations"][names::HOSTNAMES_ANNOTATION].clone()
    };
    assert_eq!(hosts(&cluster), Value::Null, "there is no policy");
    cluster.put(&policy);
    assert_eq!(hosts(&cluster), Value::Null, "it is not applied");
    policy["status"] = json!({"ancestors": [parent]});
    cluster.put(&policy);
    assert_eq!(
        hosts(&cluster),
        "default-route-openshift-image-registry.apps.harbour.test"
    );
    let names = [DEFAULT.to_owned()];
    let found = super::super::exposing(&cluster.snapshot.objects, &names);
    assert_eq!(found.len(), 2, "the conditions see the policy, too");
}
