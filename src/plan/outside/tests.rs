use serde_json::{Value, json};

use super::controllers::Controller;
use crate::api::Kind;
use crate::config::resolve::resolve;
use crate::names::{self, Exposure, GatewayRef, Program, Way};
use crate::plan::fixture::{Cluster, USERS, live_service, map, operand, secret};
use crate::plan::removal::removal;
use crate::plan::stock::users_secret;
use crate::plan::{Desired, Plan, conflicts, drift};

const CA: &str = "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n";
const HOST: &str = "image-registry.openshift-image-registry.svc";

fn exposure(way: Way) -> Exposure {
    Exposure {
        given: Some(way),
        domain: Some("apps.harbour.test".to_owned()),
        gateway: Some(GatewayRef {
            namespace: "edge".to_owned(),
            name: "outer".to_owned(),
            section: None,
        }),
        ..Exposure::default()
    }
}

fn of_class(name: &str) -> Exposure {
    Exposure {
        ingress_class: Some(name.to_owned()),
        ..exposure(Way::Ingress)
    }
}

/// A cluster with a Service and a published CA.
fn cluster(exposure: Exposure, spec: &Value, objects: impl IntoIterator<Item = Value>) -> Cluster {
    let usual = [map("serviceca", &json!({"service-ca.crt": CA})), live_service()];
    let mut cluster = Cluster::new(spec, usual.into_iter().chain(objects));
    cluster.snapshot.environment.exposure = exposure;
    resolved(cluster)
}

fn resolved(mut cluster: Cluster) -> Cluster {
    cluster.resolved = resolve(&cluster.snapshot.config().unwrap().unwrap(), &cluster.snapshot).unwrap();
    cluster
}

fn class(name: &str, controller: &str, default: bool) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "spec": {"controller": controller}, "metadata": {
        "name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default.to_string()},
    }})
}

fn owned(api_version: &str, kind: &str, name: &str) -> Value {
    operand(
        api_version,
        kind,
        name,
        &json!({"metadata": {"annotations": {"imageregistry.openshift.io": "true"}}}),
    )
}

/// One object of each kind that this operator makes to expose the registry.
fn everything() -> Vec<Value> {
    let gateway = "gateway.networking.k8s.io/v1";
    vec![
        owned("route.openshift.io/v1", "Route", "default-route"),
        owned("networking.k8s.io/v1", "Ingress", "default-route"),
        owned(gateway, "HTTPRoute", "default-route"),
        owned(gateway, "BackendTLSPolicy", "image-registry"),
        owned("traefik.io/v1alpha1", "ServersTransport", "image-registry"),
        owned("v1", "Secret", "image-registry-backend-ca"),
        owned("v1", "ConfigMap", "image-registry-backend-ca"),
    ]
}

fn absent(plan: &Plan) -> Vec<String> {
    let mut all: Vec<_> = plan
        .absent
        .iter()
        .map(|reference| format!("{} {}", reference.kind.kind(), reference.name))
        .collect();
    all.sort();
    all
}

fn failure(plan: &Plan) -> &str {
    let [failure] = plan.failures.as_slice() else {
        panic!("{:?}", plan.failures)
    };
    &failure.message
}

fn ingress(plan: &Plan, name: &str) -> Desired {
    plan.desired(Kind::Ingress, name)
        .cloned()
        .unwrap_or_else(|| panic!("no Ingress {name}: {:?}", plan.failures))
}

/// Annotations without those that every object has.
fn annotations(object: &Value) -> Vec<String> {
    let own = [
        names::OWNED_ANNOTATION,
        names::EXPOSURE_KEYS_ANNOTATION,
        names::EXPOSURE_ANNOTATION,
        names::SERVING_CERT_ANNOTATION,
    ];
    let all = object["metadata"]["annotations"].as_object().unwrap();
    all.iter()
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap()))
        .collect()
}

const DEFAULT: &str = "default-route";

fn wants_default() -> Value {
    json!({"defaultRoute": true})
}

/// `spec.controller`, the controller, its annotations on the Ingress and on the Service, and whether it reads the CA.
type Row = (&'static str, Controller, Vec<String>, Vec<String>, bool);

// kubernetes 13, in part: what each controller is told
#[test]
fn each_controller_gets_the_annotations_that_it_reads() {
    let ca = "openshift-image-registry/image-registry-backend-ca";
    let transport = "openshift-image-registry-image-registry@kubernetescrd";
    let rows: [Row; 6] = [
        (
            "traefik.io/ingress-controller",
            Controller::Traefik,
            vec!["traefik.ingress.kubernetes.io/router.tls: true".to_owned()],
            vec![
                "traefik.ingress.kubernetes.io/service.serversscheme: https".to_owned(),
                format!("traefik.ingress.kubernetes.io/service.serverstransport: {transport}"),
            ],
            true,
        ),
        (
            "k8s.io/ingress-nginx",
            Controller::IngressNginx,
            vec![
                "nginx.ingress.kubernetes.io/backend-protocol: HTTPS".to_owned(),
                "nginx.ingress.kubernetes.io/proxy-body-size: 0".to_owned(),
                "nginx.ingress.kubernetes.io/proxy-read-timeout: 900".to_owned(),
                "nginx.ingress.kubernetes.io/proxy-request-buffering: off".to_owned(),
                "nginx.ingress.kubernetes.io/proxy-send-timeout: 900".to_owned(),
                format!("nginx.ingress.kubernetes.io/proxy-ssl-name: {HOST}"),
                format!("nginx.ingress.kubernetes.io/proxy-ssl-secret: {ca}"),
                "nginx.ingress.kubernetes.io/proxy-ssl-server-name: on".to_owned(),
                "nginx.ingress.kubernetes.io/proxy-ssl-verify: on".to_owned(),
            ],
            vec![],
            true,
        ),
        (
            "nginx.org/ingress-controller",
            Controller::NginxF5,
            vec![
                "nginx.org/client-max-body-size: 0".to_owned(),
                "nginx.org/proxy-read-timeout: 900s".to_owned(),
                "nginx.org/proxy-send-timeout: 900s".to_owned(),
                "nginx.org/ssl-services: image-registry".to_owned(),
            ],
            vec![],
            false,
        ),
        (
            "haproxy.org/ingress-controller",
            Controller::Haproxy,
            vec![
                format!("haproxy.org/server-ca: {ca}"),
                "haproxy.org/server-ssl: true".to_owned(),
                "haproxy.org/ssl-redirect: true".to_owned(),
                "haproxy.org/ssl-redirect-port: 443".to_owned(),
                "haproxy.org/timeout-server: 900s".to_owned(),
            ],
            vec![],
            true,
        ),
        (
            "haproxy-ingress.github.io/controller",
            Controller::HaproxyIngress,
            vec![
                "haproxy-ingress.github.io/backend-protocol: h1-ssl".to_owned(),
                "haproxy-ingress.github.io/proxy-body-size: unlimited".to_owned(),
                format!("haproxy-ingress.github.io/secure-sni: {HOST}"),
                "haproxy-ingress.github.io/secure-verify-ca-secret: image-registry-backend-ca".to_owned(),
                format!("haproxy-ingress.github.io/secure-verify-hostname: {HOST}"),
                "haproxy-ingress.github.io/timeout-server: 900s".to_owned(),
            ],
            vec![],
            true,
        ),
        (
            "projectcontour.io/ingress-controller",
            Controller::Contour,
            vec![
                "ingress.kubernetes.io/force-ssl-redirect: true".to_owned(),
                "projectcontour.io/response-timeout: infinity".to_owned(),
            ],
            vec!["projectcontour.io/upstream-protocol.tls: 5000".to_owned()],
            false,
        ),
    ];
    for (controller, known, on_ingress, on_service, reads_ca) in rows {
        assert_eq!(Controller::of_class(controller), Some(known));
        let plan = cluster(of_class("edge"), &wants_default(), [class("edge", controller, false)]).plan();
        let lacking = usize::from(known == Controller::Contour); // a certificate of its own
        assert!(plan.failures.len() == lacking && plan.events.is_empty(), "{controller}");
        assert_eq!(annotations(&ingress(&plan, DEFAULT).body), on_ingress);
        let service = plan.desired(Kind::Service, "image-registry").unwrap();
        assert_eq!(annotations(&service.body), on_service, "{controller}");
        let ca = plan.desired(Kind::Secret, names::BACKEND_CA);
        assert_eq!(ca.is_some(), reads_ca, "{controller}");
        let transport = plan.desired(Kind::ServersTransport, "image-registry");
        assert_eq!(transport.is_some(), known == Controller::Traefik);
    }
    // Other names that installations give to the same controllers.
    for (controller, known) in [
        ("k8s.io/internal-ingress-nginx", Some(Controller::IngressNginx)),
        ("haproxy.org/ingress-controller/inner", Some(Controller::Haproxy)),
        ("k8s.io/other", None),
        ("harbour.test/controller", None),
    ] {
        assert_eq!(Controller::of_class(controller), known, "{controller}");
    }
}

#[test]
fn the_class_is_the_given_one_or_the_only_default_one() {
    let traefik = || class("edge", "traefik.io/ingress-controller", true);
    let found = |exposure: Exposure, classes: Vec<Value>| {
        let plan = cluster(exposure, &wants_default(), classes).plan();
        let ingress = ingress(&plan, DEFAULT);
        let events: Vec<_> = plan.events.iter().map(|event| event.reason).collect();
        let class = ingress.body["spec"]["ingressClassName"].as_str().map(str::to_owned);
        (class, annotations(&ingress.body).join(","), events)
    };
    let tls = "traefik.ingress.kubernetes.io/router.tls: true".to_owned();
    let none = || exposure(Way::Ingress);
    let unknown = vec!["IngressControllerUnknown"];
    let edge = Some("edge".to_owned());
    assert_eq!(found(none(), vec![traefik()]), (edge, tls.clone(), vec![]));
    assert_eq!(found(none(), vec![]), (None, String::new(), unknown.clone()));
    let two = vec![traefik(), class("other", "k8s.io/ingress-nginx", true)];
    assert_eq!(found(none(), two), (None, String::new(), unknown.clone()));
    // A class that cannot be read, or does not exist, is known by its usual name.
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(found(of_class("traefik"), vec![]), (named("traefik"), tls, vec![]));
    assert_eq!(
        found(of_class("mine"), vec![traefik()]),
        (named("mine"), String::new(), unknown.clone())
    );
    let (_, contour, _) = found(of_class("contour"), vec![]);
    assert!(contour.contains("projectcontour.io"), "{contour}");
    // Its controller counts more than its name.
    let misnamed = class("traefik", "harbour.test/controller", false);
    assert_eq!(
        found(of_class("traefik"), vec![misnamed]),
        (named("traefik"), String::new(), unknown)
    );
}

// kubernetes 13 and 15, in part: hosts and certificates
#[test]
fn an_ingress_has_its_host_and_refers_to_its_certificate() {
    let spec = json!({"defaultRoute": true, "routes": [
        {"name": "blue", "hostname": "blue.test", "secretName": "blue-tls"}, {"name": "green"},
    ]});
    let tls = secret(
        "blue-tls",
        "kubernetes.io/tls",
        &json!({"tls.crt": "QQ==", "tls.key": "QQ=="}),
    );
    let plan = cluster(of_class("traefik"), &spec, [tls]).plan();
    assert!(plan.failures.is_empty(), "{:?}", plan.failures);
    for (name, host, secret) in [
        (
            DEFAULT,
            "default-route-openshift-image-registry.apps.harbour.test",
            None,
        ),
        ("blue", "blue.test", Some("blue-tls")),
        ("green", "green-openshift-image-registry.apps.harbour.test", None),
    ] {
        let spec = drift::stripped(&ingress(&plan, name).body)["spec"].clone();
        let mut tls = json!({"hosts": [host]});
        if let Some(secret) = secret {
            tls["secretName"] = json!(secret);
        }
        assert_eq!(spec["tls"], json!([tls]), "{name}");
        let backend = json!({"service": {"name": "image-registry", "port": {"number": 5000}}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        assert_eq!(
            spec["rules"],
            json!([{"host": host, "http": {"paths": paths}}]),
            "{name}"
        );
        assert_eq!(spec.get("defaultBackend"), None);
    }
    let ca = plan.desired(Kind::Secret, names::BACKEND_CA).unwrap();
    assert_eq!(ca.body["data"]["ca.crt"], crate::plan::secret::encoded(CA));
}

#[test]
fn a_certificate_that_cannot_be_used_is_reported_and_the_ingress_is_made() {
    let spec = json!({"routes": [{"name": "blue", "hostname": "blue.test", "secretName": "blue-tls"}]});
    for (secrets, told) in [
        (vec![], "does not exist"),
        (
            vec![secret("blue-tls", "Opaque", &json!({"tls.crt": "QQ=="}))],
            "has no key tls.key",
        ),
    ] {
        let plan = cluster(of_class("traefik"), &spec, secrets).plan();
        let message = failure(&plan);
        assert!(
            message.contains("openshift-image-registry/blue-tls") && message.contains(told),
            "{message}"
        );
        ingress(&plan, "blue");
    }
}

#[test]
fn annotations_of_the_variable_win_and_are_removed_with_it() {
    let mut given = of_class("edge");
    let pairs = [
        ("nginx.ingress.kubernetes.io/proxy-body-size", "9g"),
        ("harbour.test/pilot", "yes"),
        ("traefik.ingress.kubernetes.io/service.sticky.cookie", "true"),
    ];
    given.annotations = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let nginx = class("edge", "k8s.io/ingress-nginx", false);
    let first = cluster(given, &wants_default(), [nginx.clone()]).plan();
    let (desired, service) = (
        ingress(&first, DEFAULT),
        first.desired(Kind::Service, "image-registry").unwrap(),
    );
    let all = annotations(&desired.body);
    assert!(
        all.contains(&"nginx.ingress.kubernetes.io/proxy-body-size: 9g".to_owned()),
        "{all:?}"
    );
    assert!(all.contains(&"harbour.test/pilot: yes".to_owned()));
    assert!(all.contains(&"nginx.ingress.kubernetes.io/backend-protocol: HTTPS".to_owned()));
    assert_eq!(
        annotations(&service.body),
        ["traefik.ingress.kubernetes.io/service.sticky.cookie: true"]
    );

    // Another controller, and no variable any more; an annotation of somebody else stays.
    let mut live = drift::merged(&desired, &Value::Null, None);
    live["metadata"]["annotations"]["theirs"] = json!("1");
    let live_service = drift::merged(service, &live_service(), None);
    let plan = cluster(
        of_class("traefik"),
        &wants_default(),
        [live.clone(), live_service.clone()],
    )
    .plan();
    let after = drift::merged(&ingress(&plan, DEFAULT), &live, None);
    assert_eq!(
        annotations(&after),
        ["theirs: 1", "traefik.ingress.kubernetes.io/router.tls: true"]
    );
    let service = plan.desired(Kind::Service, "image-registry").unwrap();
    let after = annotations(&drift::merged(service, &live_service, None));
    assert!(
        !after.iter().any(|annotation| annotation.contains("sticky")),
        "{after:?}"
    );
    assert!(
        after.iter().any(|annotation| annotation.contains("serversscheme")),
        "{after:?}"
    );
}

// kubernetes 15
#[test]
fn a_route_without_a_host_is_reported_with_the_variable_that_gives_it_one() {
    for way in [Way::Ingress, Way::Gateway] {
        let without = Exposure {
            domain: None,
            ..exposure(way)
        };
        let plan = cluster(without.clone(), &wants_default(), []).plan();
        let message = failure(&plan);
        assert!(
            message.contains("EXPOSE_DOMAIN") && message.contains("spec.defaultRoute"),
            "{message}"
        );
        for kind in [Kind::Ingress, Kind::HttpRoute] {
            assert!(plan.desired(kind, DEFAULT).is_none());
        }
        let plan = cluster(without, &json!({"routes": [{"name": "blue"}]}), []).plan();
        let message = failure(&plan);
        assert!(
            message.contains("EXPOSE_DOMAIN") && message.contains("spec.routes[0].hostname"),
            "{message}"
        );
    }
}

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
            "rules": [{"backendRefs": [backend], "timeouts": {"request": "0s"}}]});
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

/// What an API server without timeouts stores.
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
            super::kind_of(way) == Some(reference.kind) || is_helper
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

// kubernetes 14
#[test]
fn objects_of_others_are_conflicts_and_stay() {
    let spec = json!({"routes": [{"name": "blue", "hostname": "blue.test"}]});
    let gateway = "gateway.networking.k8s.io/v1";
    for (way, foreign) in [
        (
            Way::Ingress,
            operand("networking.k8s.io/v1", "Ingress", "blue", &json!({})),
        ),
        (Way::Ingress, operand("v1", "Secret", names::BACKEND_CA, &json!({}))),
        (
            Way::Ingress,
            operand("traefik.io/v1alpha1", "ServersTransport", "image-registry", &json!({})),
        ),
        (Way::Gateway, operand(gateway, "HTTPRoute", "blue", &json!({}))),
        (
            Way::Gateway,
            operand(gateway, "BackendTLSPolicy", "image-registry", &json!({})),
        ),
        (Way::Gateway, operand("v1", "ConfigMap", names::BACKEND_CA, &json!({}))),
    ] {
        let given = || Exposure {
            ingress_class: Some("traefik".to_owned()),
            ..exposure(way)
        };
        let plan = cluster(given(), &spec, [foreign.clone()]).plan();
        let found = conflicts(&plan);
        let name = foreign["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(&name) && found[0].contains(names::OWNED_ANNOTATION),
            "{found:?}"
        );
        // Nor does a switch or a removal touch it.
        let kind = Kind::find(
            foreign["apiVersion"].as_str().unwrap(),
            foreign["kind"].as_str().unwrap(),
        )
        .unwrap();
        let reference = crate::api::ObjectRef::new(kind, names::NAMESPACE, &name);
        // What comes after the plan is not written either.
        let before = cluster(given(), &spec, []).plan();
        let own = before.present.iter().find(|desired| desired.reference == reference);
        assert!(
            own.unwrap().mark.is_some_and(|mark| !mark.is_on(&foreign)),
            "{reference}"
        );
        let elsewhere = cluster(exposure(Way::Nowhere), &json!({}), [foreign]);
        assert!(elsewhere.plan().absent.is_empty());
        let removed = removal(&elsewhere.snapshot, None).delete;
        assert!(!removed.contains(&reference), "{removed:?}");
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

// An upgrade of the controller may make its class anew, and a right may be lost: the controller goes on.
#[test]
fn a_class_that_cannot_be_read_takes_no_annotation_away() {
    for (controller, key) in [
        (
            "traefik.io/ingress-controller",
            "traefik.ingress.kubernetes.io/service.serversscheme",
        ),
        ("k8s.io/ingress-nginx", "nginx.ingress.kubernetes.io/backend-protocol"),
    ] {
        let mut cluster = cluster(of_class("edge"), &wants_default(), [class("edge", controller, false)]);
        let has_key = |cluster: &mut Cluster| {
            let plan = cluster.plan();
            let mut all = Vec::new();
            for (kind, name) in [(Kind::Service, "image-registry"), (Kind::Ingress, DEFAULT)] {
                let live = cluster
                    .snapshot
                    .objects
                    .operand(kind, name)
                    .cloned()
                    .unwrap_or_default();
                let next = drift::merged(plan.desired(kind, name).unwrap(), &live, None);
                all.extend(next["metadata"]["annotations"].get(key).cloned());
                cluster.put(&next);
            }
            !all.is_empty()
        };
        assert!(has_key(&mut cluster));
        cluster
            .snapshot
            .objects
            .remove(&crate::api::ObjectRef::new(Kind::IngressClass, "", "edge"));
        assert!(has_key(&mut cluster), "{controller}");
        cluster.snapshot.objects.set_absent_kind(Kind::IngressClass);
        assert!(has_key(&mut cluster), "{controller}");
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
    assert!(super::may_expose(&cluster.snapshot));

    // A process without the variables finds what there is to delete, and forgets it then.
    cluster.snapshot.environment.exposure = Exposure::default();
    let mut cluster = resolved(cluster);
    assert!(super::may_expose(&cluster.snapshot));
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
    assert!(!super::may_expose(&cluster.snapshot));
}

// kubernetes 19, for Ingresses and HTTPRoutes
#[test]
fn a_registry_without_logins_is_not_exposed_by_any_way() {
    for (way, kind) in [(Way::Ingress, Kind::Ingress), (Way::Gateway, Kind::HttpRoute)] {
        let mut stock = cluster(exposure(way), &wants_default(), [users_secret(USERS)]);
        stock.snapshot.environment.program = Program::Distribution;
        let made = stock.plan().desired(kind, DEFAULT).cloned().unwrap();
        let reference = made.reference.clone();
        stock.put(&drift::merged(&made, &Value::Null, None));
        stock.allow_anonymous(Some("true"));
        let mut stock = resolved(stock);
        let plan = stock.plan();
        assert!(plan.desired(kind, DEFAULT).is_none());
        assert!(plan.absent.contains(&reference));
        assert!(
            stock.env("REGISTRY_AUTH").is_some(),
            "{way:?}: it asks until nothing leads to it"
        );
        stock.snapshot.objects.remove(&reference);
        assert!(stock.env("REGISTRY_AUTH").is_none());
        // What may not be read any more may still be there.
        let mut unknown = stock.snapshot.objects.clone();
        unknown.set_absent_kind(kind);
        let known = std::mem::replace(&mut stock.snapshot.objects, unknown);
        let mut service = live_service();
        service["metadata"]["annotations"][names::EXPOSURE_ANNOTATION] = json!(way.name());
        stock.put(&service);
        assert!(stock.env("REGISTRY_AUTH").is_some());
        let kept = drift::merged(
            stock.plan().desired(Kind::Service, "image-registry").unwrap(),
            &service,
            None,
        );
        assert_eq!(kept["metadata"]["annotations"][names::EXPOSURE_ANNOTATION], way.name());
        // Neither another way nor a removal forgets it, nor loses the only memory of it.
        let (other, of_other) = match way {
            Way::Ingress => (Way::Gateway, exposure(Way::Gateway)),
            _ => (Way::Ingress, exposure(Way::Ingress)),
        };
        let own = std::mem::replace(&mut stock.snapshot.environment.exposure, of_other);
        assert!(stock.env("REGISTRY_AUTH").is_some(), "{way:?}, then {other:?}");
        let told = stock
            .plan()
            .failures
            .iter()
            .any(|failure| failure.message.contains("02-rbac-exposure.yaml"));
        assert!(told);
        stock.snapshot.environment.exposure = own;
        let removal = crate::plan::removal::removal(&stock.snapshot, None);
        assert!(!removal.objects_gone && !removal.storage_may_go());
        assert!(!removal.delete.iter().any(|reference| reference.kind == Kind::Service));
        assert!(removal.waiting.unwrap().contains("02-rbac-exposure.yaml"));
        stock.snapshot.objects = known;
        assert!(crate::plan::exposure::refused(&stock.resolved).is_some());
        // Back: only once no pod is left that asks nobody.
        let open = stock.deployment();
        let mut live = drift::merged(&open, &Value::Null, None);
        live["metadata"]["uid"] = json!("u");
        stock.put(&live);
        stock.allow_anonymous(None);
        let stock = resolved(stock);
        assert!(stock.plan().desired(kind, DEFAULT).is_none());
        // With the administrator's word it is exposed.
        let mut exposed = cluster(exposure(way), &wants_default(), [users_secret(USERS)]);
        exposed.snapshot.environment.program = Program::Distribution;
        exposed.allow_anonymous(Some("exposed"));
        let exposed = resolved(exposed);
        assert!(exposed.plan().desired(kind, DEFAULT).is_some());
        assert!(
            exposed
                .plan()
                .events
                .iter()
                .any(|event| event.reason == "ExposedWithoutLogin")
        );
    }
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

#[test]
fn contour_has_no_certificate_of_its_own() {
    let plan = cluster(of_class("contour"), &wants_default(), []).plan();
    assert!(failure(&plan).contains("secretName"), "{}", failure(&plan));
    assert!(plan.desired(Kind::Ingress, DEFAULT).is_some());
}

#[test]
fn an_api_that_is_not_served_is_reported() {
    for (way, kinds, told) in [
        (Way::Ingress, vec![Kind::Ingress], "IngressesUnsupported"),
        (Way::Gateway, vec![Kind::HttpRoute], "HTTPRoutesUnsupported"),
        (
            Way::Gateway,
            vec![Kind::BackendTlsPolicy, Kind::BackendTlsPolicyAlpha],
            "BackendTLSPolicy",
        ),
        (Way::Route, vec![Kind::Route], "RoutesUnsupported"),
    ] {
        let mut cluster = cluster(exposure(way), &wants_default(), []);
        for kind in kinds {
            cluster.snapshot.objects.set_absent_kind(kind);
        }
        let plan = cluster.plan();
        assert!(failure(&plan).contains(told), "{}", failure(&plan));
    }
    // Without Traefik's CRDs the CA has to come from elsewhere.
    let mut cluster = cluster(of_class("traefik"), &wants_default(), []);
    cluster.snapshot.objects.set_absent_kind(Kind::ServersTransport);
    let plan = cluster.plan();
    assert_eq!(plan.events[0].reason, "ServersTransportUnsupported");
    let service = plan.desired(Kind::Service, "image-registry").unwrap();
    assert_eq!(
        annotations(&service.body),
        ["traefik.ingress.kubernetes.io/service.serversscheme: https"]
    );
}

// api 40, for Ingresses and HTTPRoutes: the message names what has to be edited
#[test]
fn a_refused_field_is_explained_by_the_config_or_by_a_variable() {
    let spec = json!({"defaultRoute": true, "routes": [{"name": "blue", "hostname": "blue.test"}]});
    let of_ingress = cluster(of_class("traefik"), &spec, []).plan();
    let of_gateway = cluster(exposure(Way::Gateway), &spec, []).plan();
    let deployment = "of Deployment openshift-image-registry/cluster-image-registry-operator";
    for (plan, kind, name, field, expected) in [
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "metadata.name",
            "spec.routes[0].name of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.rules[0].host",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.tls[0].hosts",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.tls[0].secretName",
            "spec.routes[0].secretName of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            DEFAULT,
            "spec.rules[0].host",
            format!("variable EXPOSE_DOMAIN {deployment}"),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            DEFAULT,
            "spec.ingressClassName",
            format!("variable EXPOSE_INGRESS_CLASS {deployment}"),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "spec.hostnames[0]",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "spec.parentRefs[0].name",
            format!("variable EXPOSE_GATEWAY {deployment}"),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "metadata.annotations",
            format!("variable EXPOSE_ANNOTATIONS {deployment}"),
        ),
    ] {
        let desired = plan.desired(kind, name).unwrap();
        assert_eq!(desired.explain(&[field.to_owned()]), [expected], "{field}");
    }
}
