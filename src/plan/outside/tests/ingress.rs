//! Ingresses: class, host, certificate, and what each controller is told.

use super::*;

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
        (
            "webapprouting.kubernetes.azure.com/nginx",
            Some(Controller::IngressNginx),
        ),
        (
            "webapprouting.kubernetes.azure.com/nginx/inner",
            Some(Controller::IngressNginx),
        ),
        ("webapprouting.kubernetes.azure.com/gateway", None),
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

#[test]
fn contour_has_no_certificate_of_its_own() {
    let plan = cluster(of_class("contour"), &wants_default(), []).plan();
    assert!(failure(&plan).contains("secretName"), "{}", failure(&plan));
    assert!(plan.desired(Kind::Ingress, DEFAULT).is_some());
}
