//! Google Cloud Storage.

use anyhow::{Context as _, Result, ensure};
use devcluster::programs;
use devcluster::stores::{
    Answer, Authority, Call, Discovery, Fault, ForwardProxy, Gate, Gcs, GcsOptions, Hosts, Operation, ProxyOptions,
    ServiceAccountKey, TokenIssuer, When, gcs_error,
};
use hyper::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

const PROJECT: &str = "my-project";
const SUBJECT: &str = "system:serviceaccount:openshift-image-registry:registry";
const EVERYTHING: &[&str] = &["storage.*", "resourcemanager.*"];
const KEY: &str = "projects/my-project/locations/us-east1/keyRings/ring/cryptoKeys/key";

async fn start() -> Result<Gcs> {
    let gcs = Gcs::start(GcsOptions::new(Authority::new("cloud")?)).await?;
    gcs.project(PROJECT);
    Ok(gcs)
}

/// Runs a script of `tests/stores/gcs` with Google's clients; they reach the public names of the services, and nothing else,
/// by the proxy. The script's arguments are its file of credentials and the rest.
async fn script(gcs: &Gcs, directory: &Path, name: &str, arguments: &[&str]) -> Result<String> {
    let clients = programs::google_clients().await?;
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts: Hosts::new().with("*.googleapis.com", gcs.target().address),
        credentials: None,
    })?;
    let authority = directory.join("ca.pem");
    std::fs::write(&authority, gcs.authority().pem())?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/stores/gcs")
        .join(name);
    let ran = Command::new(clients.python)
        .arg("-I")
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("HOME", directory)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HTTPS_PROXY", proxy.url())
        .env("REQUESTS_CA_BUNDLE", &authority)
        .env("HTTPLIB2_CA_CERTS", &authority)
        .kill_on_drop(true)
        .output()
        .await?;
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    ensure!(ran.status.success(), "{name}: {}\n{out}\n{err}", ran.status);
    Ok(out.into_owned())
}

fn write(directory: &Path, name: &str, content: &Value) -> Result<String> {
    let path = directory.join(name);
    std::fs::write(&path, content.to_string())?;
    Ok(path.to_str().context("a path")?.to_owned())
}

#[tokio::test]
async fn google_client_does_everything_with_buckets_objects_and_tags() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "operator", EVERYTHING)?;
    gcs.kms_key(KEY, true);
    gcs.tag_value("my-project/team/registry");
    gcs.inherit_tag(PROJECT, "my-project/env/test");
    gcs.operations(Operation::After(2));
    let file = write(
        directory.path(),
        "key.json",
        &account.json("https://oauth2.googleapis.com/token"),
    )?;
    script(&gcs, directory.path(), "everything.py", &[&file, PROJECT, KEY]).await?;
    ensure!(gcs.buckets() == ["kept-by-the-script"], "{:?}", gcs.buckets());
    ensure!(gcs.labels("kept-by-the-script")["purpose"] == "test");
    ensure!(gcs.tags("kept-by-the-script") == ["my-project/team/registry"]);
    let bucket = gcs.bucket("kept-by-the-script").context("no bucket")?;
    ensure!(bucket["encryption"]["defaultKmsKeyName"] == KEY, "{bucket}");
    // Google's client sends the bucket's own parameters in its own words: what was accepted is what the documents have.
    let accepted = gcs.accepted();
    for method in [
        "storage.buckets.insert",
        "storage.buckets.patch",
        "storage.objects.insert",
        "storage.objects.rewrite",
        "storage.objects.compose",
        "cloudresourcemanager.tagBindings.create",
    ] {
        ensure!(accepted.iter().any(|one| one.method == method), "no {method}");
    }
    Discovery::load().await?.check(&accepted)
}

#[tokio::test]
async fn google_client_becomes_a_service_account_by_a_token_of_the_cluster() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "registry", &["storage.buckets.get"])?;
    let issuer = TokenIssuer::new()?;
    let federation = gcs.federation(PROJECT, "cluster", issuer.key()?, "openshift")?;
    let token = directory.path().join("token");
    let with = write(
        directory.path(),
        "with.json",
        &federation.public_file(&token, Some(&account.email)),
    )?;
    let without = write(directory.path(), "without.json", &federation.public_file(&token, None))?;
    gcs.make_bucket(PROJECT, "a-bucket", &json!({ "location": "us-east1" }))
        .await?;
    let run = async |token_text: &str, file: &str| {
        std::fs::write(&token, token_text)?;
        script(&gcs, directory.path(), "federation.py", &[file, "a-bucket"]).await
    };
    let good = issuer.token(SUBJECT, "openshift", 600)?;
    let told = |outcome: Result<String>| outcome.map(|text| text.trim().to_owned());
    ensure!(told(run(&good, &with).await)? == "RefreshError 403");
    gcs.let_impersonate(&federation.principal(SUBJECT), &account.email);
    ensure!(told(run(&good, &with).await)? == "US-EAST1");
    ensure!(told(run(&good, &without).await)? == "Forbidden 403");
    gcs.allow(&federation.principal(SUBJECT), PROJECT, &["storage.buckets.get"]);
    ensure!(told(run(&good, &without).await)? == "US-EAST1");
    for wrong in [
        issuer.token(SUBJECT, "sts.amazonaws.com", 600)?,
        issuer.token(SUBJECT, "openshift", -10)?,
        TokenIssuer::new()?.token(SUBJECT, "openshift", 600)?,
        "no token".to_owned(),
    ] {
        ensure!(told(run(&wrong, &with).await)? == "OAuthError invalid_grant", "{wrong}");
    }
    ensure!(
        told(run(&issuer.token("system:serviceaccount:x:y", "openshift", 600)?, &with).await)? == "RefreshError 403"
    );
    Discovery::load().await?.check(&gcs.accepted())
}

#[tokio::test]
async fn google_client_gets_a_reason_for_each_refusal() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    gcs.project("other-project");
    let account = gcs.service_account(PROJECT, "operator", &["storage.buckets.get", "storage.objects.list"])?;
    let stranger = gcs.service_account("other-project", "stranger", EVERYTHING)?;
    gcs.make_bucket(PROJECT, "a-bucket", &json!({ "location": "us-east1" }))
        .await?;
    gcs.put("a-bucket", "an/object", b"text").await?;
    gcs.kms_key(KEY, false);
    let uri = "https://oauth2.googleapis.com/token";
    let file = write(directory.path(), "key.json", &account.json(uri))?;
    let strange = write(directory.path(), "strange.json", &stranger.json(uri))?;
    script(
        &gcs,
        directory.path(),
        "refused.py",
        &[&file, &strange, PROJECT, "other-project", KEY],
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn google_client_signs_urls_and_tokens_itself() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "registry", &["storage.objects.get"])?;
    gcs.make_bucket(PROJECT, "a-bucket", &Value::Null).await?;
    gcs.put("a-bucket", "an/object name", b"text").await?;
    let uri = "https://oauth2.googleapis.com/token";
    let mut file = account.json(uri);
    let whole = write(directory.path(), "pkcs8.json", &file)?;
    file["private_key"] = account.pkcs1().into();
    let old = write(directory.path(), "pkcs1.json", &file)?;
    for file in [&whole, &old] {
        script(&gcs, directory.path(), "signed.py", &[file]).await?;
    }
    // Only its own JWTs were used.
    ensure!(gcs.tokens() == 0);
    gcs.allow(&account.email, PROJECT, &[]);
    let refused = script(&gcs, directory.path(), "signed.py", &[&whole]).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("does not have storage.objects.get access")));
    Ok(())
}

/// A token for a key, with Google's client nowhere near.
async fn bearer(gcs: &Gcs, directory: &Path, key: &ServiceAccountKey) -> Result<String> {
    let file = write(
        directory,
        "bearer.json",
        &key.json("https://oauth2.googleapis.com/token"),
    )?;
    Ok(script(gcs, directory, "token.py", &[&file]).await?.trim().to_owned())
}

async fn call(gcs: &Gcs, method: Method, path: &str, token: &str, body: &Value) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    gcs.target()
        .call(Call::new(method, path).headers(&headers).body(body.as_bytes()))
        .await
}

#[tokio::test]
async fn tokens_and_keys_end() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "operator", EVERYTHING)?;
    gcs.make_bucket(PROJECT, "a-bucket", &Value::Null).await?;
    let token = bearer(&gcs, directory.path(), &account).await?;
    let status = async |token: &str| -> Result<u16> {
        Ok(call(&gcs, Method::GET, "/storage/v1/b/a-bucket", token, &Value::Null)
            .await?
            .status)
    };
    ensure!(status(&token).await? == 200);
    ensure!(status("ya29.none").await? == 401);
    gcs.end_tokens();
    ensure!(status(&token).await? == 401);
    gcs.revoke_key(&account);
    let refused = bearer(&gcs, directory.path(), &account).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("Invalid JWT Signature")));
    let other = gcs.add_key(&account.email)?;
    ensure!(status(&bearer(&gcs, directory.path(), &other).await?).await? == 200);
    gcs.delete_service_account(&account.email);
    let gone = bearer(&gcs, directory.path(), &other).await;
    ensure!(gone.is_err_and(|error| error.to_string().contains("account not found")));
    Ok(())
}

#[tokio::test]
async fn versions_holds_and_uploads_that_nobody_completes() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "operator", EVERYTHING)?;
    let token = bearer(&gcs, directory.path(), &account).await?;
    gcs.make_bucket(PROJECT, "a-bucket", &json!({ "versioning": { "enabled": true } }))
        .await?;
    for _ in 0..3 {
        gcs.put("a-bucket", "v/object", b"x").await?;
    }
    ensure!(gcs.noncurrent("a-bucket") == 2);
    let path = "/storage/v1/b/a-bucket/o?versions=true&maxResults=2";
    let first: Value = serde_json::from_slice(&call(&gcs, Method::GET, path, &token, &Value::Null).await?.body)?;
    let next = first["nextPageToken"]
        .as_str()
        .context("no next page")?
        .replace('#', "%23")
        .replace('/', "%2F");
    let rest = call(
        &gcs,
        Method::GET,
        &format!("{path}&pageToken={next}"),
        &token,
        &Value::Null,
    )
    .await?;
    let rest: Value = serde_json::from_slice(&rest.body)?;
    let pages = [&first, &rest].map(|page| page["items"].as_array().cloned().unwrap_or_default());
    let mut all: Vec<Value> = pages.concat();
    ensure!((pages[0].len(), pages[1].len()) == (2, 1), "{first} {rest}");
    ensure!(rest.get("nextPageToken").is_none());
    all.dedup();
    ensure!(all.len() == 3);

    let delete =
        async |path: &str| -> Result<u16> { Ok(call(&gcs, Method::DELETE, path, &token, &Value::Null).await?.status) };
    let bucket = "/storage/v1/b/a-bucket";
    gcs.hold("a-bucket", "v/object", true);
    ensure!(delete(&format!("{bucket}/o/v%2Fobject")).await? == 403);
    gcs.hold("a-bucket", "v/object", false);
    // Without a generation, what was live stays as a noncurrent version.
    ensure!(delete(&format!("{bucket}/o/v%2Fobject")).await? == 204);
    ensure!((gcs.objects("a-bucket").len(), gcs.noncurrent("a-bucket")) == (0, 3));
    ensure!(delete(bucket).await? == 409);
    for object in &all {
        let generation = object["generation"].as_str().context("no generation")?;
        ensure!(delete(&format!("{bucket}/o/v%2Fobject?generation={generation}")).await? == 204);
    }
    ensure!(delete(&format!("{bucket}/o/v%2Fobject?generation=1")).await? == 404);
    // As the service has it by default.
    ensure!(gcs.soft_deleted("a-bucket") == 3);

    gcs.begin_upload("a-bucket", "half/done")?;
    let list = call(&gcs, Method::GET, "/a-bucket?uploads", &token, &Value::Null)
        .await?
        .good()?;
    ensure!(list.element("Key").as_deref() == Some("half/done"), "{}", list.text());
    let id = list.element("UploadId").context("no upload ID")?;
    ensure!(delete(&format!("/a-bucket/half/done?uploadId={id}")).await? == 204);
    ensure!(gcs.uploads("a-bucket").is_empty());
    // Neither what is soft-deleted nor an upload keeps a bucket.
    gcs.begin_upload("a-bucket", "half/done")?;
    ensure!(delete(bucket).await? == 204);
    ensure!(gcs.buckets().is_empty());

    let policy = json!({ "retentionPolicy": { "retentionPeriod": "3600" } });
    gcs.make_bucket(PROJECT, "kept", &policy).await?;
    gcs.put("kept", "object", b"x").await?;
    let refused = call(
        &gcs,
        Method::DELETE,
        "/storage/v1/b/kept/o/object",
        &token,
        &Value::Null,
    )
    .await?;
    ensure!(
        refused.status == 403 && refused.text().contains("retentionPolicyNotMet"),
        "{refused:?}"
    );
    gcs.fill("kept", "many/", 1500).await?;
    let page = call(
        &gcs,
        Method::GET,
        "/storage/v1/b/kept/o?prefix=many%2F",
        &token,
        &Value::Null,
    )
    .await?;
    let page: Value = serde_json::from_slice(&page.body)?;
    ensure!(page["items"].as_array().map(Vec::len) == Some(1000) && page["nextPageToken"].is_string());
    Ok(())
}

#[tokio::test]
async fn a_gate_before_it_injects_faults() -> Result<()> {
    let (gcs, directory) = (start().await?, TempDir::new()?);
    let account = gcs.service_account(PROJECT, "operator", EVERYTHING)?;
    let token = bearer(&gcs, directory.path(), &account).await?;
    let gate = Gate::start(gcs.target(), Some(gcs.authority()), &[])?;
    let insert = || When::operation("storage.buckets.insert");
    gate.plan(
        insert().nth(1),
        Fault::Answer(gcs_error(503, "backendError", "try again")),
    );
    // Counts those that the first did not take.
    gate.plan(insert().nth(1), Fault::LoseAnswer);
    let header = format!("Bearer {token}");
    let headers = [("authorization", header.as_str())];
    let body = json!({ "name": "lost-answer", "location": "us-east1" }).to_string();
    let path = format!("/storage/v1/b?project={PROJECT}");
    let call = || Call::new(Method::POST, &path).headers(&headers).body(body.as_bytes());
    ensure!(gate.target().call(call()).await?.status == 503);
    ensure!(gate.target().call(call()).await.is_err());
    ensure!(gcs.buckets() == ["lost-answer"]);
    let taken = gate.target().call(call()).await?;
    ensure!(
        taken.status == 409 && taken.text().contains("you already own it"),
        "{taken:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_documents_know_what_is_no_request() -> Result<()> {
    let documents = Discovery::load().await?;
    let check = |method: &str, parameter: Option<&str>, body: Option<Value>| {
        documents.check(&[devcluster::stores::Accepted {
            method: method.to_owned(),
            parameters: parameter.map(ToOwned::to_owned).into_iter().collect(),
            body,
        }])
    };
    let insert = "storage.buckets.insert";
    check(
        insert,
        Some("project"),
        Some(json!({ "name": "b", "labels": { "a": "b" } })),
    )?;
    for wrong in [
        json!({ "name": 1 }),
        json!({ "nam": "b" }),
        json!({ "labels": { "a": 1 } }),
        json!({ "iamConfiguration": { "uniformBucketLevelAccess": true } }),
        json!({ "softDeletePolicy": { "retentionDurationSeconds": "a week" } }),
    ] {
        ensure!(check(insert, None, Some(wrong.clone())).is_err(), "{wrong}");
    }
    ensure!(check(insert, Some("projekt"), None).is_err());
    ensure!(check("storage.buckets.get", None, Some(json!({}))).is_err());
    ensure!(check("storage.buckets.none", None, None).is_err());
    Ok(())
}
