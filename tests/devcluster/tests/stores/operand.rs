//! The registry as a process, with the environment, the files and the volumes of a pod, against real stores.

use super::{Moto, status};
use anyhow::{Context as _, Result, ensure};
use devcluster::operand::{Files, Operand, OperandOptions};
use devcluster::stores::{
    ACCOUNT, Authority, ForwardProxy, Gate, Hosts, Keys, ProxyOptions, Seaweed, SeaweedOptions, Sts, StsOptions,
    Target, TokenIssuer,
};
use devcluster::{image, programs};
use hyper::Method;
use serde_json::{Value, json};
use std::path::Path;

const SUBJECT: &str = "system:serviceaccount:openshift-image-registry:registry";
const START: &str = "mkdir -p /etc/pki/ca-trust/extracted/edk2 /etc/pki/ca-trust/extracted/java \\
    /etc/pki/ca-trust/extracted/openssl /etc/pki/ca-trust/extracted/pem \\
    && update-ca-trust extract --output /etc/pki/ca-trust/extracted/ && exec /usr/bin/dockerregistry";

/// A pod as the operator renders it for S3, with additional environment variables.
fn pod(bucket: &str, more: &[(&str, &str)]) -> Value {
    let variables = [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", bucket),
        ("REGISTRY_STORAGE_S3_REGION", "us-east-1"),
        ("REGISTRY_STORAGE_S3_ENCRYPT", "true"),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "true"),
        (
            "REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH",
            "/var/run/secrets/cloud/credentials",
        ),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", "true"),
        ("REGISTRY_HTTP_ADDR", ":5000"),
        ("REGISTRY_HTTP_NET", "tcp"),
        ("REGISTRY_HTTP_SECRET", "labs-own"),
        (
            "REGISTRY_OPENSHIFT_SERVER_ADDR",
            "image-registry.openshift-image-registry.svc:5000",
        ),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        // moto does not support pre-signed requests while authorisation is on.
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
        ("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt"),
        ("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key"),
        ("REGISTRY_HTTP_TLS_MINVERSION", "VersionTLS12"),
    ];
    let variables = variables.iter().chain(more);
    let variables: Vec<Value> = variables
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let mounts = [
        ("registry-tls", "/etc/secrets"),
        ("ca-trust-extracted", "/etc/pki/ca-trust/extracted"),
        ("registry-certificates", "/etc/pki/ca-trust/source/anchors"),
        ("trusted-ca", "/usr/share/pki/ca-trust-source"),
        ("bound-sa-token", "/var/run/secrets/openshift/serviceaccount"),
        ("image-registry-private-configuration", "/var/run/secrets/cloud"),
    ];
    json!({
        "containers": [{
            "name": "registry",
            "command": ["/bin/sh", "-c", START],
            "env": variables,
            "volumeMounts": mounts.map(|(name, path)| json!({ "name": name, "mountPath": path })),
        }],
        "volumes": [
            { "name": "registry-tls", "projected": { "sources": [{ "secret": { "name": "image-registry-tls" } }] } },
            { "name": "ca-trust-extracted", "emptyDir": {} },
            { "name": "registry-certificates", "configMap": { "name": "image-registry-certificates" } },
            { "name": "trusted-ca", "configMap": { "name": "trusted-ca", "optional": true,
                "items": [{ "key": "ca-bundle.crt", "path": "anchors/ca-bundle.crt" }] } },
            { "name": "bound-sa-token", "projected": { "sources": [
                { "serviceAccountToken": { "audience": "openshift", "path": "token" } }] } },
            { "name": "image-registry-private-configuration",
              "secret": { "secretName": "image-registry-private-configuration" } },
        ],
    })
}

fn one(name: &str, text: &str) -> Files {
    Files::from([(name.to_owned(), text.as_bytes().to_vec())])
}

fn options(pod: Value, store: &Authority, credentials: &str, token: String) -> Result<OperandOptions> {
    let credentials = one("credentials", credentials);
    let anchors = one("storage-ca-bundle.pem", store.pem());
    Ok(OperandOptions {
        pod,
        secrets: [("image-registry-private-configuration".to_owned(), credentials)].into(),
        config_maps: [("image-registry-certificates".to_owned(), anchors)].into(),
        token,
        hosts: Vec::new(),
        authority: Authority::new("service-ca")?,
    })
}

/// Pushes and pulls an image, and checks the bucket.
async fn push_and_pull(registry: &Operand, store: &Target, keys: &Keys, bucket: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pause = programs::ensure(&["pause"]).await?;
    let sample = image::sample_image("localhost/sample:v1", pause.path("pause")?, b"lab".to_vec());
    let digest = sample.write_layout(directory.path())?;
    let name = format!("{}/lab/sample:v1", registry.host());
    let pushed = registry.crane(&["push", path(directory.path()), &name]).await;
    pushed.with_context(|| registry.log().unwrap_or_default())?;
    ensure!(registry.crane(&["digest", &name]).await? == digest.as_str());
    let pulled = directory.path().join("pulled.tar");
    registry.crane(&["pull", &name, path(&pulled)]).await?;
    ensure!(pulled.is_file());
    let link = format!("/{bucket}/docker/registry/v2/repositories/lab/sample/_manifests/tags/v1/current/link");
    ensure!(
        status(store, keys, Method::HEAD, &link).await? == 200,
        "{bucket} does not hold the image"
    );
    Ok(())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[tokio::test]
async fn a_registry_trusts_a_private_authority_and_uses_the_keys_of_its_file() -> Result<()> {
    let authority = Authority::new("store-ca")?;
    let moto = Moto::shared().await?;
    let gate = Gate::start(moto.target(), Some(&authority), &[])?;
    let bucket = "operand-static";
    ensure!(status(moto.target(), moto.admin(), Method::PUT, &format!("/{bucket}")).await? == 200);
    let all = json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
    let keys = moto.user("operand-static", &all).await?;
    let pod = pod(bucket, &[("REGISTRY_STORAGE_S3_REGIONENDPOINT", &gate.url())]);
    let registry = Operand::start(options(pod, &authority, &keys.profile(), String::new())?).await?;
    push_and_pull(&registry, moto.target(), moto.admin(), bucket).await?;
    let asked = gate.asked();
    ensure!(
        asked.iter().all(|asked| asked.key_id().as_ref() == Some(&keys.id)),
        "{asked:?}"
    );
    ensure!(!registry.log()?.contains(&keys.secret));
    Ok(())
}

#[tokio::test]
async fn a_registry_keeps_images_in_seaweedfs() -> Result<()> {
    let authority = Authority::new("store-ca")?;
    let seaweed = Seaweed::start(SeaweedOptions {
        authority: Some(authority.clone()),
        encryption_key: true,
        ..Default::default()
    })
    .await?;
    let (store, admin) = (seaweed.target(), seaweed.admin());
    ensure!(status(store, admin, Method::PUT, "/operand").await? == 200);
    let pod = pod("operand", &[("REGISTRY_STORAGE_S3_REGIONENDPOINT", &seaweed.url())]);
    let registry = Operand::start(options(pod, &authority, &admin.profile(), String::new())?).await?;
    push_and_pull(&registry, store, admin, "operand").await
}

#[tokio::test]
async fn a_registry_assumes_its_role_and_reaches_public_endpoints_through_a_proxy() -> Result<()> {
    let (authority, moto, issuer) = (Authority::new("store-ca")?, Moto::shared().await?, TokenIssuer::new()?);
    // With USEDUALSTACK the registry's SDK takes the dual-stack endpoint of STS too.
    let names = ["*.s3.dualstack.us-east-1.amazonaws.com", "sts.us-east-1.api.aws"].map(str::to_owned);
    let sts = Sts::start(
        moto,
        StsOptions {
            authority: authority.clone(),
            names: names.to_vec(),
            key: issuer.key()?,
            address: None,
        },
    )?;
    let counted = Gate::start(sts.target(), Some(&authority), &names)?;
    let gate = Gate::start(moto.target(), Some(&authority), &names)?;
    let hosts = Hosts::new()
        .with("sts.us-east-1.api.aws", counted.target().address)
        .with("*.s3.dualstack.us-east-1.amazonaws.com", gate.target().address);
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts,
        credentials: None,
    })?;
    let all = json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
    let role = moto.role(ACCOUNT, "operand-role", &all).await?;
    sts.trust(&role, SUBJECT);
    let bucket = "operand-role";
    ensure!(status(moto.target(), moto.admin(), Method::PUT, &format!("/{bucket}")).await? == 200);
    let credentials = format!(
        "[default]\nsts_regional_endpoints = regional\nrole_arn = {role}\n\
         web_identity_token_file = /var/run/secrets/openshift/serviceaccount/token\n"
    );
    let pod = pod(bucket, &[("HTTPS_PROXY", &proxy.url()), ("NO_PROXY", ".svc")]);
    let token = issuer.token(SUBJECT, "openshift", 600)?;
    let registry = Operand::start(options(pod, &authority, &credentials, token)?).await?;
    push_and_pull(&registry, moto.target(), moto.admin(), bucket).await?;
    ensure!(
        counted
            .operations()
            .iter()
            .all(|name| name == "AssumeRoleWithWebIdentity")
    );
    ensure!(!counted.asked().is_empty() && counted.asked().iter().all(|asked| !asked.is_signed()));
    ensure!(
        gate.asked()
            .iter()
            .all(|asked| asked.host.starts_with("operand-role.s3.dualstack."))
    );
    Ok(())
}
