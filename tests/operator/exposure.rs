//! The registry exposed by Ingresses and by HTTPRoutes, on a real API server. The tests play the controllers: they set the statuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::operator::Operator;
use crate::support::{
    TestCluster, condition, default_route, eventually, is, is_up, observed, operand, resource_version, service,
};

/// The rights that a plain Kubernetes cluster grants on top.
const RIGHTS: &str = include_str!("../../deploy/kubernetes/02-rbac-exposure.yaml");
/// The kinds of the Gateway API and of Traefik.
const KINDS: &str = include_str!("../data/exposure-crds.yaml");
const DOMAIN: (&str, &str) = ("EXPOSE_DOMAIN", "apps.harbour.test");
const HOST: &str = "default-route-openshift-image-registry.apps.harbour.test";
const GATEWAY: (&str, &str) = ("EXPOSE_GATEWAY", "edge/outer/https");

/// A cluster that serves all kinds, with the rights for them, and a Config.
pub async fn cluster_with(spec: Value) -> TestCluster {
    let cluster = empty_cluster().await;
    cluster.devcluster.apply(RIGHTS).await.unwrap();
    cluster.devcluster.apply(KINDS).await.unwrap();
    for kind in [Kind::HttpRoute, Kind::BackendTlsPolicy, Kind::ServersTransport] {
        let api = cluster.api(&operand(kind, "x"));
        eventually("the kind is served", async || {
            api.list(&kube::api::ListParams::default()).await.is_ok()
        })
        .await;
    }
    for (name, controller) in [
        ("edge", "traefik.io/ingress-controller"),
        ("inner", "k8s.io/ingress-nginx"),
    ] {
        let class = ObjectRef::new(Kind::IngressClass, "", name);
        cluster.delete(&class).await;
        let spec = json!({"controller": controller});
        let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name}, "spec": spec});
        cluster.create(class).await;
    }
    // What a test that failed has left.
    for kind in [
        Kind::Ingress,
        Kind::HttpRoute,
        Kind::BackendTlsPolicy,
        Kind::ServersTransport,
    ] {
        for left in cluster.list(kind, names::NAMESPACE).await {
            cluster
                .delete(&operand(kind, left["metadata"]["name"].as_str().unwrap()))
                .await;
        }
    }
    cluster.create_config(spec).await;
    cluster
}

async fn up(cluster: &TestCluster, environment: &[(&str, &str)]) -> Operator {
    let operator = cluster.operator_with(environment).await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    cluster.settle().await;
    operator
}

pub fn ingress(name: &str) -> ObjectRef {
    operand(Kind::Ingress, name)
}

fn http_route(name: &str) -> ObjectRef {
    operand(Kind::HttpRoute, name)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// What the operator makes for Ingresses beside them, and for HTTPRoutes.
fn helpers() -> [[ObjectRef; 2]; 2] {
    [
        [
            operand(Kind::ServersTransport, names::BACKEND_TLS),
            operand(Kind::Secret, names::BACKEND_CA),
        ],
        [
            operand(Kind::BackendTlsPolicy, names::BACKEND_TLS),
            operand(Kind::ConfigMap, names::BACKEND_CA),
        ],
    ]
}

pub async fn until_hosts(cluster: &TestCluster, expected: Option<&str>) {
    cluster
        .until(&service(), "with the hosts", |o| {
            o.is_some_and(|o| annotation(o, names::HOSTNAMES_ANNOTATION) == expected)
        })
        .await;
}

// kubernetes 13, in part: all but the controller itself; kubernetes 14, 15 and 20 for Ingresses
#[tokio::test]
async fn ingresses_follow_the_config_and_the_controllers_status_is_reported() {
    let spec =
        json!({"defaultRoute": true, "routes": [{"name": "blue", "hostname": "blue.test", "secretName": "blue-tls"}]});
    let cluster = cluster_with(spec).await;
    let foreign = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "taken", "namespace": names::NAMESPACE},
        "spec": {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}}});
    let foreign = cluster.create(foreign).await;
    let environment = [
        ("EXPOSE", "ingress"),
        ("EXPOSE_INGRESS_CLASS", "edge"),
        ("EXPOSE_ANNOTATIONS", "harbour.test/pilot: \"yes\""),
    ];

    // Without a domain the default route has no host, and the certificate of the other one is missing.
    let operator = cluster.operator_with(&environment).await;
    let missing = |c: &Value| {
        let (_, _, message) = condition(c, "Progressing");
        is(c, "Progressing", "True", "Error") && message.contains("EXPOSE_DOMAIN") && message.contains("blue-tls")
    };
    cluster.until_config("told of the domain and the Secret", missing).await;
    let blue = cluster.until_present(&ingress("blue")).await;
    assert_eq!(
        blue["spec"]["tls"],
        json!([{"hosts": ["blue.test"], "secretName": "blue-tls"}])
    );
    assert_eq!(blue["spec"]["ingressClassName"], "edge");
    assert_eq!(annotation(&blue, "harbour.test/pilot"), Some("yes"));
    assert!(cluster.get(&ingress(names::DEFAULT_ROUTE)).await.is_none());
    let [of_ingress, of_gateway] = helpers();
    let ca = cluster.until_present(&of_ingress[1]).await;
    let ca = STANDARD.decode(ca["data"]["ca.crt"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(ca).unwrap().contains("BEGIN CERTIFICATE"));
    cluster.until_present(&of_ingress[0]).await;
    assert!(operator.stop().await.success());
    let tls = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "blue-tls", "namespace": names::NAMESPACE},
        "stringData": {"tls.crt": "certificate", "tls.key": "key"}});
    cluster.create(tls).await;

    let environment = [environment[0], environment[1], DOMAIN];
    let operator = up(&cluster, &environment).await;
    let default = cluster.until_present(&ingress(names::DEFAULT_ROUTE)).await;
    assert_eq!(default["spec"]["rules"][0]["host"], HOST);
    assert_eq!(
        annotation(&default, "traefik.ingress.kubernetes.io/router.tls"),
        Some("true")
    );
    let blue = cluster.get(&ingress("blue")).await.unwrap();
    assert_eq!(annotation(&blue, "harbour.test/pilot"), None, "the variable is gone");
    let reads = cluster.get(&service()).await.unwrap();
    let scheme = annotation(&reads, "traefik.ingress.kubernetes.io/service.serversscheme");
    assert_eq!(scheme, Some("https"));

    // An edit is reverted, and nothing is written once all is as wanted.
    let port = json!([{"host": "evil.test"}]);
    cluster.patch(&ingress("blue"), json!({"spec": {"rules": port}})).await;
    cluster
        .until(&ingress("blue"), "as before", |o| {
            o.is_some_and(|o| o["spec"]["rules"] == blue["spec"]["rules"])
        })
        .await;
    cluster.settle().await;
    let before = resource_version(&cluster.get(&ingress("blue")).await.unwrap()).to_owned();
    cluster.trigger_reconcile("1").await;
    cluster.settle().await;
    assert_eq!(resource_version(&cluster.get(&ingress("blue")).await.unwrap()), before);

    // The controller speaks.
    let address =
        |ports: Value| json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ports": ports}]}}});
    let broken = json!([{"port": 443, "protocol": "TCP", "error": "CertificateInvalid"}]);
    cluster
        .patch_status(&ingress(names::DEFAULT_ROUTE), address(Value::Null))
        .await;
    until_hosts(&cluster, Some(HOST)).await;
    cluster.patch_status(&ingress("blue"), address(broken)).await;
    let degraded = |c: &Value| {
        is(c, "Degraded", "True", "RouteDegraded") && condition(c, "Degraded").2.contains("CertificateInvalid")
    };
    cluster.until_config("degraded", |c| degraded(c) && is_up(c)).await;
    cluster.patch_status(&ingress("blue"), address(Value::Null)).await;
    cluster
        .until_config("not degraded", |c| is(c, "Degraded", "False", ""))
        .await;
    until_hosts(&cluster, Some(&format!("{HOST},blue.test"))).await;

    // An Ingress of somebody else stays as it is.
    cluster
        .edit(json!({"routes": [{"name": "taken", "hostname": "taken.test"}]}))
        .await;
    let conflict =
        |c: &Value| is(c, "Degraded", "True", "RouteConflict") && condition(c, "Degraded").2.contains("taken");
    cluster
        .until_config("in conflict", |c| conflict(c) && is_up(c) && observed(c))
        .await;
    cluster.until_absent(&ingress("blue")).await;
    until_hosts(&cluster, Some(HOST)).await;
    cluster.settle().await;
    let same = |found: &Value| resource_version(found) == resource_version(&foreign);
    assert!(same(&cluster.get(&ingress("taken")).await.unwrap()));

    cluster.edit(json!({"managementState": "Removed"})).await;
    for gone in [&ingress(names::DEFAULT_ROUTE)].into_iter().chain(&of_ingress) {
        cluster.until_absent(gone).await;
    }
    cluster
        .until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    assert!(same(&cluster.get(&ingress("taken")).await.unwrap()));
    for never in of_gateway {
        assert!(cluster.get(&never).await.is_none(), "{never}");
    }
    assert!(operator.stop().await.success());
    cluster.delete(&ingress("taken")).await;
}

// kubernetes 13, in part: all but the Gateway itself; kubernetes 20 for HTTPRoutes
#[tokio::test]
async fn http_routes_follow_the_config_and_another_way_replaces_them() {
    let cluster = cluster_with(json!({"defaultRoute": true})).await;
    let operator = up(&cluster, &[("EXPOSE", "gateway"), DOMAIN, GATEWAY]).await;
    let default = cluster.until_present(&http_route(names::DEFAULT_ROUTE)).await;
    let parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge", "name": "outer",
        "sectionName": "https"});
    assert_eq!(default["spec"]["parentRefs"], json!([parent]));
    assert_eq!(default["spec"]["hostnames"], json!([HOST]));
    let [of_ingress, of_gateway] = helpers();
    let policy = cluster.until_present(&of_gateway[0]).await;
    assert_eq!(
        policy["spec"]["validation"]["hostname"],
        "image-registry.openshift-image-registry.svc"
    );
    let map = cluster.until_present(&of_gateway[1]).await;
    assert!(map["data"]["ca.crt"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    cluster.settle().await;
    let versions = async || {
        let mut all = Vec::new();
        for reference in [&http_route(names::DEFAULT_ROUTE)].into_iter().chain(&of_gateway) {
            all.push(resource_version(&cluster.get(reference).await.unwrap()).to_owned());
        }
        all
    };
    let before = versions().await;
    cluster.trigger_reconcile("1").await;
    cluster.settle().await;
    assert_eq!(
        versions().await,
        before,
        "the API server drops timeouts and adds matches"
    );

    // The Gateway speaks.
    let generation = default["metadata"]["generation"].clone();
    let parents = |status: &str, reason: &str| {
        let condition =
            json!({"type": "Accepted", "status": status, "reason": reason, "observedGeneration": generation});
        json!({"status": {"parents": [{"controllerName": "harbour.test/c", "parentRef": parent, "conditions": [condition]}]}})
    };
    let route = http_route(names::DEFAULT_ROUTE);
    cluster
        .patch_status(&route, parents("False", "NotAllowedByListeners"))
        .await;
    let degraded = |c: &Value| {
        is(c, "Degraded", "True", "RouteDegraded") && condition(c, "Degraded").2.contains("NotAllowedByListeners")
    };
    cluster.until_config("degraded", |c| degraded(c) && is_up(c)).await;
    until_hosts(&cluster, None).await;
    cluster.patch_status(&route, parents("True", "Accepted")).await;
    // Its controller says nothing about the policy yet.
    cluster.settle().await;
    until_hosts(&cluster, None).await;
    let applied = json!({"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": policy["metadata"]["generation"]});
    let ancestor = json!({"controllerName": "harbour.test/c", "ancestorRef": parent, "conditions": [applied]});
    cluster
        .patch_status(&of_gateway[0], json!({"status": {"ancestors": [ancestor]}}))
        .await;
    cluster
        .until_config("not degraded", |c| is(c, "Degraded", "False", ""))
        .await;
    until_hosts(&cluster, Some(HOST)).await;
    assert!(operator.stop().await.success());

    // Another way, and back to Routes.
    let operator = up(
        &cluster,
        &[("EXPOSE", "ingress"), ("EXPOSE_INGRESS_CLASS", "inner"), DOMAIN],
    )
    .await;
    for gone in [&route].into_iter().chain(&of_gateway) {
        cluster.until_absent(gone).await;
    }
    let default = cluster.until_present(&ingress(names::DEFAULT_ROUTE)).await;
    assert_eq!(
        annotation(&default, "nginx.ingress.kubernetes.io/backend-protocol"),
        Some("HTTPS")
    );
    assert!(operator.stop().await.success());
    let operator = up(&cluster, &[]).await;
    cluster.until_absent(&ingress(names::DEFAULT_ROUTE)).await;
    cluster.until_absent(&of_ingress[1]).await;
    cluster.until_present(&default_route()).await;
    let forgotten = |o: Option<&Value>| o.is_some_and(|o| annotation(o, names::EXPOSURE_ANNOTATION).is_none());
    cluster.until(&service(), "as on OpenShift", forgotten).await;
    assert!(operator.stop().await.success());

    // None at all: a condition, and no Route.
    let operator = cluster.operator_with(&[("EXPOSE", "none")]).await;
    let told = |c: &Value| condition(c, "Progressing").2.contains("NotExposed");
    cluster.until_config("told", told).await;
    cluster.until_absent(&default_route()).await;
    assert!(operator.stop().await.success());
}
