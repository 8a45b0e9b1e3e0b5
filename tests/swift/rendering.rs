//! The registry program of the platform's line, as a process with exactly what is rendered, against the real servers.

use std::net::{IpAddr, Ipv4Addr};

use devcluster::operand::{Files, Operand, OperandOptions};
use devcluster::stores::{Authority, Call};
use devcluster::{image, programs};
use http::Method;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::config::yaml;
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::SwiftCluster;

const START: &str = "mkdir -p /etc/pki/ca-trust/extracted/pem && update-ca-trust extract --output /etc/pki/ca-trust/extracted/ \
    && exec /usr/bin/dockerregistry";

/// The pod with what this cluster's registry runs with.
fn pod(site: &SwiftCluster) -> Value {
    let facts = site.running.as_ref().unwrap();
    let mut env = vec![
        json!({"name": "REGISTRY_HTTP_SECRET", "value": "labs-own"}),
        json!({"name": "REGISTRY_STORAGE_DELETE_ENABLED", "value": "true"}),
        json!({"name": "REGISTRY_HTTP_TLS_CERTIFICATE", "value": "/etc/secrets/tls.crt"}),
        json!({"name": "REGISTRY_HTTP_TLS_KEY", "value": "/etc/secrets/tls.key"}),
    ];
    for variable in &facts.env {
        let value = match &variable.value {
            EnvValue::Text(text) => yaml::text(text),
            // The pod reads it from the Secret of the operator.
            EnvValue::Secret(secret) => yaml::text(secret.expose()),
            EnvValue::Flag(flag) => flag.to_string(),
            EnvValue::Number(number) => number.to_string(),
            EnvValue::Raw(text) => text.clone(),
        };
        env.push(json!({"name": variable.name, "value": value}));
    }
    json!({
        "containers": [{
            "name": "registry", "command": ["/bin/sh", "-c", START], "env": env,
            "volumeMounts": [
                {"name": "tls", "mountPath": "/etc/secrets"}, {"name": "cas", "mountPath": "/etc/pki/ca-trust/source/anchors"},
            ],
        }],
        "volumes": [
            {"name": "tls", "projected": {"sources": [{"secret": {"name": "image-registry-tls"}}]}},
            {"name": "cas", "configMap": {"name": names::CERTIFICATES_MAP}},
        ],
    })
}

/// Gets a layer as a client does, through the temporary URL to which the registry redirects. Its host is a name that only the pod knows.
async fn pull(site: &SwiftCluster, registry: &Operand, image: &str) {
    let manifest = registry.crane(&["manifest", image]).await.unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = &manifest["layers"][0];
    let path = format!("/v2/lab/sample/blobs/{}", layer["digest"].as_str().unwrap());
    let redirected = registry.target().call(Call::new(Method::GET, &path)).await.unwrap();
    assert_eq!(redirected.status, 307, "{}", redirected.text());
    let url = redirected.headers["location"].to_str().unwrap();
    assert!(url.contains("temp_url_sig="), "{url}");
    let (_, place) = url.split_once("://").unwrap();
    let (host, path) = place.split_once('/').unwrap();
    let path = format!("/{path}");
    let call = Call::new(Method::GET, &path).host(host);
    let answer = site.gate.target().call(call).await.unwrap();
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    assert_eq!(json!(answer.body.len()), layer["size"]);
}

/// Starts the registry as the cluster would, and pushes an image to it and pulls the image from it.
async fn push_and_pull(site: &SwiftCluster) {
    let mut maps = Files::new();
    if let Some(ca) = &site.running.as_ref().unwrap().ca_bundle {
        maps.insert(names::STORAGE_CA_KEY.to_owned(), ca.clone().into_bytes());
    }
    let host = |name: &str| (name.to_owned(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let registry = Operand::start(OperandOptions {
        pod: pod(site),
        secrets: std::collections::BTreeMap::new(),
        config_maps: [(names::CERTIFICATES_MAP.to_owned(), maps)].into(),
        token: String::new(),
        hosts: vec![host("keystone.test.example"), host("swift.test.example")],
        authority: Authority::new("service-ca").unwrap(),
    });
    let registry = registry.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pause = programs::ensure(&["pause"]).await.unwrap();
    let payload = site.infrastructure().repeat(50_000).into_bytes();
    let sample = image::sample_image("localhost/sample:v1", pause.path("pause").unwrap(), payload);
    let digest = sample.write_layout(directory.path()).unwrap().to_string();
    let name = format!("{}/lab/sample:v1", registry.host());
    let pushed = registry
        .crane(&["push", directory.path().to_str().unwrap(), &name])
        .await;
    pushed.unwrap_or_else(|error| {
        let asked: Vec<_> = site.gate.asked().iter().map(ToString::to_string).collect();
        panic!("{error:#}\n{}\n{asked:#?}", registry.log().unwrap())
    });
    assert_eq!(registry.crane(&["digest", &name]).await.unwrap(), digest);
    pull(site, &registry, &name).await;
    let stored = cloud().await.objects(&site.generated()).await;
    assert!(
        stored
            .iter()
            .any(|object| object.contains("/_manifests/tags/v1/current/link")),
        "{stored:?}"
    );
}

// issue 11: the platform's line of the registry pushes and pulls with exactly what is rendered
#[tokio::test]
async fn a_registry_pushes_with_a_password_and_with_an_application_credential() {
    let mut site = SwiftCluster::new("pushed-n1", json!({"swift": {}})).await;
    site.converge().await;
    push_and_pull(&site).await;
    let credential = &cloud().await.credentials[0];
    let auth = json!({"application_credential_id": credential.id, "application_credential_secret": credential.secret});
    site.set_cloud(auth, json!({"region_name": site.cloud.region}));
    site.converge().await;
    push_and_pull(&site).await;
}
