//! A cloud for pods on real nodes, all on this machine: the registry assumes its role with a token of the cluster, and stores
//! images in a bucket at the public endpoint.

use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{ACCOUNT, Authority, Call, Cloud, Moto, MotoOptions, Sts, StsOptions};
use devcluster::{Cluster, Options, image, inside, programs};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const IMAGE: &str = "localhost/registry:dev";
const BUCKET: &str = "cloud-quarry";

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// The pod and everything that it needs. `$ROLE` and `$CA` are placeholders.
const OBJECTS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: registry, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: image-registry-certificates, namespace: default}
data:
  storage-ca-bundle.pem: $CA
---
apiVersion: v1
kind: Secret
metadata: {name: image-registry-private-configuration, namespace: default}
stringData:
  credentials: |
    [default]
    sts_regional_endpoints = regional
    role_arn = $ROLE
    web_identity_token_file = /var/run/secrets/openshift/serviceaccount/token
---
apiVersion: v1
kind: Pod
metadata: {name: registry, namespace: default}
spec:
  serviceAccountName: registry
  terminationGracePeriodSeconds: 0
  containers:
  - name: registry
    image: localhost/registry:dev
    command:
    - /bin/sh
    - -c
    - mkdir -p /etc/pki/ca-trust/extracted/pem && update-ca-trust extract --output /etc/pki/ca-trust/extracted/ && exec /usr/bin/dockerregistry
    env:
    - {name: REGISTRY_STORAGE, value: s3}
    - {name: REGISTRY_STORAGE_S3_BUCKET, value: cloud-quarry}
    - {name: REGISTRY_STORAGE_S3_REGION, value: us-east-1}
    - {name: REGISTRY_STORAGE_S3_FORCEPATHSTYLE, value: "true"}
    - {name: REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH, value: /var/run/secrets/cloud/credentials}
    - {name: REGISTRY_STORAGE_REDIRECT_DISABLE, value: "true"}
    - {name: REGISTRY_HTTP_ADDR, value: ":5000"}
    - {name: REGISTRY_HTTP_SECRET, value: labs-own}
    readinessProbe: {httpGet: {path: /healthz, port: 5000}, periodSeconds: 1}
    volumeMounts:
    - {name: extracted, mountPath: /etc/pki/ca-trust/extracted}
    - {name: anchors, mountPath: /etc/pki/ca-trust/source/anchors}
    - {name: token, mountPath: /var/run/secrets/openshift/serviceaccount}
    - {name: cloud, mountPath: /var/run/secrets/cloud}
  volumes:
  - {name: extracted, emptyDir: {}}
  - {name: anchors, configMap: {name: image-registry-certificates}}
  - {name: token, projected: {sources: [{serviceAccountToken: {audience: openshift, path: token}}]}}
  - {name: cloud, secret: {secretName: image-registry-private-configuration}}
"#;

async fn address_of_ready_pod(cluster: &Cluster) -> Result<String> {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().await?);
    let begin = Instant::now();
    loop {
        let status = pods.get("registry").await?.status.unwrap_or_default();
        let ready = status
            .container_statuses
            .iter()
            .flatten()
            .any(|container| container.ready);
        if let (true, Some(address)) = (ready, &status.pod_ip) {
            return Ok(address.clone());
        }
        ensure!(
            begin.elapsed() < Duration::from_mins(1),
            "the pod is not ready: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_pod_becomes_its_role_and_keeps_images_at_the_public_endpoint() -> Result<()> {
    if !is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: real nodes need root");
        return Ok(());
    }
    let options = Options {
        name: "test-cloud".into(),
        simulated_nodes: 0,
        real_nodes: 1,
        deploy: false,
        standins: false,
        ..Options::default()
    };
    let moto = Moto::start(MotoOptions {
        authorisation: true,
        ..Default::default()
    });
    let (cluster, moto) = futures::try_join!(Cluster::up(options), moto)?;
    let authority = Authority::new("cloud-ca")?;
    let sts = Sts::start(
        &moto,
        StsOptions {
            authority: authority.clone(),
            names: vec!["sts.us-east-1.amazonaws.com".into()],
            key: cluster.token_key()?,
            address: None,
        },
    )?;
    let all = json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
    let role = moto.role(ACCOUNT, "registry-role", &all).await?;
    sts.trust(&role, "system:serviceaccount:default:registry");
    let make = format!("/{BUCKET}");
    let make = Call::new(Method::PUT, &make).signed(moto.admin(), "s3", "us-east-1");
    moto.target().call(make).await?.good()?;
    let cloud = Cloud::start(
        &cluster,
        &authority,
        vec![
            ("sts.us-east-1.amazonaws.com".into(), sts.target().clone()),
            ("*.s3.amazonaws.com".into(), moto.target().clone()),
            ("*.s3.us-east-1.amazonaws.com".into(), moto.target().clone()),
        ],
        &[
            "sts.us-east-1.amazonaws.com",
            "*.s3.amazonaws.com",
            "*.s3.us-east-1.amazonaws.com",
        ]
        .map(str::to_owned),
    )?;

    let programs = programs::ensure(&[programs::REGISTRY, &["pause"]].concat()).await?;
    let tar = cluster.directory().join("registry.tar");
    image::registry_image(IMAGE, &programs.registry()?, Path::new("/bin/busybox")).write(&tar)?;
    cluster.load_image(&tar).await?;
    let objects = OBJECTS
        .replace("$ROLE", &role)
        .replace("$CA", &json!(authority.pem()).to_string());
    cluster.apply(&objects).await?;
    let address = address_of_ready_pod(&cluster).await?;

    let layout = cluster.directory().join("sample");
    let sample = image::sample_image("localhost/sample:v1", programs.path("pause")?, b"lab".to_vec());
    let digest = sample.write_layout(&layout)?;
    let name = format!("{address}:5000/lab/sample:v1");
    let crane = async |words: &[&str]| inside::crane(cluster.record(), "node1", words).await;
    let pushed = crane(&["push", "--insecure", layout.to_str().context("a path")?, &name]).await;
    pushed.with_context(|| format!("{:?}\n{:?}", cloud.gate().asked(), cloud.dns().asked()))?;
    ensure!(crane(&["digest", "--insecure", &name]).await? == digest.as_str());
    let operations = cloud.gate().operations();
    ensure!(
        operations
            .iter()
            .filter(|name| *name == "AssumeRoleWithWebIdentity")
            .count()
            == 1,
        "{operations:?}"
    );
    ensure!(operations.iter().any(|name| name == "PutObject"), "{operations:?}");
    drop(cloud);
    cluster.down().await
}
