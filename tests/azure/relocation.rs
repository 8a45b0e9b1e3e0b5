//! The subcommand `move-blobs`.

use std::sync::Arc;

use devcluster::stores::{Asked, Azure, Fault, ForwardProxy, Gate, ProxyOptions};
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::backend::azure::relocation::{Moved, Relocation};
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::network::{Network, Settings};
use serde_json::Value;

use super::cluster::{blob_error, call};
use super::stores::{Cloud, REGION, cloud};

/// An account with blobs under their old names, and a gate before it.
struct Site {
    cloud: &'static Cloud,
    gate: Gate,
    account: String,
}

const CONTAINER: &str = "images";

impl Site {
    async fn new(account: &str, blobs: &[&str]) -> Self {
        let cloud = cloud().await;
        let group = cloud
            .azure
            .resource_group(&cloud.subscription, &format!("rg-{account}"), REGION);
        cloud.azure.make_account(&group, account, &Value::Null).unwrap();
        cloud.azure.make_container(account, CONTAINER, &[]).await.unwrap();
        for blob in blobs {
            cloud
                .azure
                .put_blob(account, CONTAINER, blob, blob.as_bytes())
                .await
                .unwrap();
        }
        Self {
            cloud,
            gate: cloud.azure.gate().unwrap(),
            account: account.to_owned(),
        }
    }

    /// The variables of a login with the account's key.
    fn with_key(&self) -> Vec<(&'static str, String)> {
        let [key, _] = self.cloud.azure.account_keys(&self.account).unwrap();
        self.with(vec![("AZURE_ACCOUNTKEY", key)])
    }

    fn with(&self, login: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let place = [
            ("AZURE_STORAGE_ACCOUNT_NAME", self.account.clone()),
            ("AZURE_CONTAINER_NAME", CONTAINER.to_owned()),
        ];
        place.into_iter().chain(login).collect()
    }

    /// Runs the program with these variables, and returns its exit status and what it says.
    async fn process(&self, variables: Vec<(&'static str, String)>) -> (Option<i32>, String) {
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Azure::hosts(self.gate.target().address),
            ..ProxyOptions::default()
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, self.cloud.azure.authority().pem()).unwrap();
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_cluster-image-registry-operator"))
            .arg("move-blobs")
            .env_clear()
            .env("HTTPS_PROXY", proxy.url())
            .env("SSL_CERT_FILE", &roots)
            .envs(variables)
            .output()
            .await
            .unwrap();
        let said = [output.stdout, output.stderr]
            .map(|text| String::from_utf8(text).unwrap())
            .concat();
        (output.status.code(), said)
    }

    async fn run(&self) -> Result<Moved, String> {
        self.run_with(self.with_key()).await
    }

    async fn run_with(&self, settings: Vec<(&'static str, String)>) -> Result<Moved, String> {
        let relocation = Relocation::of(|name| {
            let found = settings.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        });
        let address = self.gate.target().address;
        let bundle = self.cloud.azure.authority().pem();
        let network = Network::new(Settings {
            version: "test".to_owned(),
            proxies: Arc::new(Proxies::default),
            leading: Arc::new(|| true),
            fips: false,
            root: std::path::PathBuf::new(),
        })
        .with_http(|http| http.with_names(Arc::new(move |_| Some(address))))
        .with_clock(Clock {
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 200))),
            ..Clock::default()
        });
        relocation?.trusting(bundle).run(&network).await
    }

    async fn put(&self, blob: &str, content: &str) {
        put(self.cloud, &self.account, blob, content).await;
    }

    async fn content(&self, blob: &str) -> Option<String> {
        let found = self.cloud.azure.blob(&self.account, CONTAINER, blob).await.unwrap();
        found.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn count(&self, operation: &str) -> usize {
        self.gate
            .asked()
            .iter()
            .filter(|asked| call(asked) == operation)
            .count()
    }

    async fn names(&self) -> Vec<String> {
        let mut names = self.cloud.azure.blobs(&self.account, CONTAINER).await.unwrap();
        names.sort();
        names
    }
}

async fn put(cloud: &Cloud, account: &str, blob: &str, content: &str) {
    let written = cloud.azure.put_blob(account, CONTAINER, blob, content.as_bytes());
    written.await.unwrap();
}

/// Writes a blob at once, from the thread of the gate.
fn put_now(cloud: &'static Cloud, account: String, blob: &'static str, content: &'static str) {
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(put(cloud, &account, blob, content));
    });
    writer.join().unwrap();
}

/// Whether the request is about the blob with this name.
fn is_of(asked: &Asked, blob: &str) -> bool {
    asked.path.ends_with(&format!("/{}", blob.replace('/', "%2F")))
}

// storage-azure 55, 56, 57: exit status, and nothing secret in the output
#[tokio::test]
async fn the_program_ends_with_the_status_of_what_it_moved() {
    let site = Site::new("relocatedexit", &["docker/x", "docker/y"]).await;
    let (status, said) = site.process(Vec::new()).await;
    assert!(
        status == Some(1) && said.contains("AZURE_STORAGE_ACCOUNT_NAME"),
        "{status:?} {said}"
    );
    site.gate.rule(|asked| match call(asked).as_str() {
        "Blob_StartCopyFromURL" if asked.path.contains('x') => {
            Fault::Answer(devcluster::stores::Reply::new(202, "").header("x-ms-copy-status", "failed"))
        }
        _ => Fault::Pass,
    });
    let [key, _] = site.cloud.azure.account_keys(&site.account).unwrap();
    let (status, said) = site.process(site.with_key()).await;
    assert!(status == Some(1) && said.contains("docker/x"), "{status:?} {said}");
    assert!(!said.contains(&key), "{said}");
    assert_eq!(site.names().await, ["/docker/y", "docker/x"]);
    site.gate.pass();
    let (status, said) = site.process(site.with_key()).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains(&key), "{said}");
    assert_eq!(site.names().await, ["/docker/x", "/docker/y"]);
}

// storage-azure section 12.3: the logins with a client secret, and with a token
#[tokio::test]
async fn a_client_that_may_write_blobs_can_move_them() {
    let site = Site::new("relocatedlogin", &["docker/x"]).await;
    let (cloud, azure) = (site.cloud, &site.cloud.azure);
    let client = azure.application(&cloud.tenant);
    let data = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let rights = ["read", "write", "delete"].map(|right| format!("{data}/{right}"));
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    let group = format!("/subscriptions/{}/resourceGroups/rg-relocatedlogin", cloud.subscription);
    azure.allow(&client, &group, devcluster::stores::Role::new(&[], &rights));
    let base = [
        ("AZURE_CLIENT_ID", client.client_id.clone()),
        ("AZURE_TENANT_ID", cloud.tenant.clone()),
    ];
    let secret = azure.add_secret(&client).unwrap();
    let login = base.iter().cloned().chain([("AZURE_CLIENT_SECRET", secret)]).collect();
    let moved = site.run_with(site.with(login)).await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 0), "{moved}");
    let issuer = devcluster::stores::TokenIssuer::new().unwrap();
    let subject = "system:serviceaccount:openshift-image-registry:registry";
    azure
        .federate(&client, issuer.key().unwrap(), subject, "openshift")
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, issuer.token(subject, "openshift", 3600).unwrap()).unwrap();
    site.put("docker/y", "y").await;
    let token = ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap().to_owned());
    let login = base.iter().cloned().chain([token]).collect();
    let moved = site.run_with(site.with(login)).await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 0), "{moved}");
    assert_eq!(site.names().await, ["/docker/x", "/docker/y"]);
}

// storage-azure section 12.3: the registry went on under the new names since
#[tokio::test]
async fn a_blob_that_was_written_later_under_the_new_name_is_not_replaced() {
    let site = Site::new("relocatedlater", &["docker/y"]).await;
    site.put("docker/link", "sha256:old").await;
    site.put("/docker/link", "sha256:new").await;
    site.put("docker/longer", "sha256:old").await;
    site.put("/docker/longer", "sha256:longer").await;
    for _ in 0..2 {
        let moved = site.run().await.unwrap();
        assert_eq!(moved.failed, 2, "{moved}");
        let told = moved.to_string();
        assert!(told.contains("docker/link") && told.contains("compare both"), "{told}");
        assert_eq!(site.content("docker/link").await.as_deref(), Some("sha256:old"));
        assert_eq!(site.content("/docker/link").await.as_deref(), Some("sha256:new"));
        assert_eq!(site.content("/docker/longer").await.as_deref(), Some("sha256:longer"));
    }
    assert_eq!(site.content("/docker/y").await.as_deref(), Some("docker/y"));
    // Without checksums, as append blobs are, the bytes count.
    let site = Site::new("relocatedbytes", &[]).await;
    site.gate.rule(|asked| match call(asked).as_str() {
        "Blob_GetProperties" => Fault::change(|_, answer| drop(answer.headers_mut().remove("content-md5"))),
        _ => Fault::Pass,
    });
    site.put("docker/link", "sha256:old").await;
    site.put("/docker/link", "sha256:new").await;
    site.put("docker/same", "layer").await;
    site.put("/docker/same", "layer").await;
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 1), "{moved}");
    assert_eq!(site.content("/docker/link").await.as_deref(), Some("sha256:new"));
    assert_eq!(site.names().await, ["/docker/link", "/docker/same", "docker/link"]);
}

// storage-azure section 12.3: nor one that appears between the look and the copy
#[tokio::test]
async fn a_blob_that_appears_before_the_copy_is_not_replaced() {
    let site = Site::new("relocatedrace", &[]).await;
    site.put("docker/link", "sha256:old").await;
    let (cloud, account) = (site.cloud, site.account.clone());
    site.gate.rule(move |asked| {
        if call(asked) == "Blob_GetProperties" && asked.path.contains("%2Fdocker") {
            let account = account.clone();
            return Fault::change(move |_, answer| {
                if answer.status() == 404 {
                    put_now(cloud, account.clone(), "/docker/link", "sha256:new");
                }
            });
        }
        Fault::Pass
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
    assert_eq!(site.count("Blob_StartCopyFromURL"), 1);
    assert_eq!(site.content("/docker/link").await.as_deref(), Some("sha256:new"));
    assert_eq!(site.content("docker/link").await.as_deref(), Some("sha256:old"));
}

// storage-azure section 12.3: what is left of a copy that failed is no content of anybody
#[tokio::test]
async fn a_copy_that_failed_before_is_made_again_and_only_it_is_replaced() {
    for (account, is_changed) in [("relocatedagain", false), ("relocatedbusy", true)] {
        let site = Site::new(account, &["docker/x"]).await;
        site.put("/docker/x", "").await;
        let (cloud, own) = (site.cloud, site.account.clone());
        let mut copied = false;
        site.gate.rule(move |asked| {
            let name = call(asked);
            copied |= name == "Blob_StartCopyFromURL";
            if name != "Blob_GetProperties" || !asked.path.contains("%2Fdocker") || copied {
                return Fault::Pass;
            }
            let own = own.clone();
            Fault::change(move |_, answer| {
                answer
                    .headers_mut()
                    .insert("x-ms-copy-status", "failed".parse().unwrap());
                if is_changed {
                    put_now(cloud, own.clone(), "/docker/x", "of the registry");
                }
            })
        });
        let moved = site.run().await.unwrap();
        let expected = if is_changed { (0, 1) } else { (1, 0) };
        assert_eq!((moved.moved, moved.failed), expected, "{moved}");
        let content = if is_changed { "of the registry" } else { "docker/x" };
        assert_eq!(site.content("/docker/x").await.as_deref(), Some(content));
        assert_eq!(site.content("docker/x").await.is_some(), is_changed);
    }
}

// storage-azure section 12.3: it goes on where it stopped
#[tokio::test]
async fn a_process_that_died_between_copy_and_deletion_copies_nothing_again() {
    let site = Site::new("relocateddies", &["docker/x"]).await;
    site.gate.rule(|asked| match call(asked).as_str() {
        "Blob_Delete" => Fault::Reset,
        _ => Fault::Pass,
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
    assert_eq!(site.names().await, ["/docker/x", "docker/x"]);
    site.gate.pass();
    site.gate.forget();
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 0), "{moved}");
    assert_eq!(site.count("Blob_StartCopyFromURL"), 0);
    assert_eq!(site.names().await, ["/docker/x"]);
}

// storage-azure section 12.3: the answer to a copy is lost
#[tokio::test]
async fn a_copy_whose_answer_is_lost_is_found() {
    let site = Site::new("relocatedlost", &["docker/x"]).await;
    let mut seen = false;
    site.gate.rule(move |asked| {
        if call(asked) == "Blob_StartCopyFromURL" && !std::mem::replace(&mut seen, true) {
            return Fault::after(|_| ());
        }
        Fault::Pass
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 0), "{moved}");
    assert_eq!(site.content("/docker/x").await.as_deref(), Some("docker/x"));
}

// storage-azure section 12.3: nothing is deleted that was not copied
#[tokio::test]
async fn a_source_that_is_written_again_after_the_copy_stays() {
    let site = Site::new("relocatednewer", &["docker/x"]).await;
    let (cloud, account) = (site.cloud, site.account.clone());
    site.gate.rule(move |asked| {
        if call(asked) == "Blob_StartCopyFromURL" {
            let account = account.clone();
            return Fault::change(move |_, _| put_now(cloud, account.clone(), "docker/x", "written again"));
        }
        Fault::Pass
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
    assert_eq!(site.content("docker/x").await.as_deref(), Some("written again"));
    assert_eq!(site.content("/docker/x").await.as_deref(), Some("docker/x"));
    // Nor is another source copied than the one that was looked at.
    let site = Site::new("relocatedsource", &["docker/x"]).await;
    let (cloud, account) = (site.cloud, site.account.clone());
    let mut seen = false;
    site.gate.rule(move |asked| {
        if call(asked) == "Blob_GetProperties" && is_of(asked, "docker/x") && !std::mem::replace(&mut seen, true) {
            let account = account.clone();
            return Fault::change(move |_, _| put_now(cloud, account.clone(), "docker/x", "written again"));
        }
        Fault::Pass
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (1, 0), "{moved}");
    assert_eq!(site.content("/docker/x").await.as_deref(), Some("written again"));
    assert_eq!(site.count("Blob_StartCopyFromURL"), 2, "the first one was refused");
}

// storage-azure section 12.3: snapshots may be somebody's backup
#[tokio::test]
async fn a_blob_with_snapshots_stays() {
    let site = Site::new("relocatedsnap", &["docker/x"]).await;
    let path = format!("/{CONTAINER}/docker%2Fx");
    let made = site
        .cloud
        .azure
        .blob_call("relocatedsnap", http::Method::PUT, (&path, "comp=snapshot"), &[], b"")
        .await
        .unwrap();
    assert_eq!(made.status, 201);
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
    assert!(moved.to_string().contains("snapshots"), "{moved}");
    assert_eq!(site.names().await, ["/docker/x", "docker/x"]);
}

#[tokio::test]
async fn a_listing_that_repeats_itself_ends_with_an_error() {
    let site = Site::new("relocatedloop", &[]).await;
    let mut count = 0;
    site.gate.rule(move |asked| {
        if call(asked) != "Container_ListBlobFlatSegment" {
            return Fault::Pass;
        }
        count += 1;
        let marker = ["a", "b"][count % 2];
        let page = format!("<EnumerationResults><Blobs/><NextMarker>{marker}</NextMarker></EnumerationResults>");
        Fault::Answer(devcluster::stores::Reply::new(200, &page))
    });
    let error = site.run().await.unwrap_err();
    assert!(error.contains("repeats itself"), "{error}");
    assert_eq!(site.count("Container_ListBlobFlatSegment"), 3);
}

// storage-azure 55: nor is a source deleted whose copy differs
#[tokio::test]
async fn a_copy_of_another_length_or_checksum_keeps_its_source() {
    for (account, header, value) in [
        ("relocatedmd5", "content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("relocatedlength", "content-length", "7"),
    ] {
        let site = Site::new(account, &["docker/x"]).await;
        let mut copied = false;
        site.gate.rule(move |asked| {
            let name = call(asked);
            copied |= name == "Blob_StartCopyFromURL";
            if name == "Blob_GetProperties" && asked.path.contains("%2Fdocker") && copied {
                return Fault::change(move |_, answer| {
                    answer.headers_mut().insert(header, value.parse().unwrap());
                });
            }
            Fault::Pass
        });
        let moved = site.run().await.unwrap();
        assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
        assert!(site.names().await.contains(&"docker/x".to_owned()));
    }
}

// A proxy that joins slashes leads both names to one blob: its deletion would lose it.
#[tokio::test]
async fn a_blob_that_both_names_lead_to_stays() {
    let site = Site::new("relocatedtwice", &["docker/x"]).await;
    let content = site.content("docker/x").await.unwrap();
    site.put("/docker/x", &content).await;
    let etag = std::sync::Arc::new(std::sync::Mutex::new(None));
    site.gate.rule(move |asked| {
        if call(asked) != "Blob_GetProperties" {
            return Fault::Pass;
        }
        let (of_target, etag) = (asked.path.contains("%2Fdocker"), etag.clone());
        Fault::change(move |_, answer| {
            let mut etag = etag.lock().unwrap();
            if of_target {
                answer.headers_mut().insert("etag", etag.clone().unwrap());
            } else {
                *etag = answer.headers().get("etag").cloned();
            }
        })
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1), "{moved}");
    assert_eq!(site.content("docker/x").await, Some(content));
    assert_eq!(site.count("Blob_Delete"), 0);
}

// storage-azure section 12.3
#[tokio::test]
async fn blobs_are_moved_once_and_others_stay() {
    let odd = "docker/registry/v2/a b+c%d/ü";
    let site = Site::new("relocatedall", &["docker/x", odd, "dockerfoo/y", "/docker/z", "other"]).await;
    // One was copied before, and not deleted.
    site.cloud
        .azure
        .put_blob("relocatedall", CONTAINER, "/docker/x", b"docker/x")
        .await
        .unwrap();
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (2, 0));
    let mut expected = vec![
        "/docker/x".to_owned(),
        format!("/{odd}"),
        "/docker/z".into(),
        "dockerfoo/y".into(),
        "other".into(),
    ];
    expected.sort();
    assert_eq!(site.names().await, expected);
    let content = site
        .cloud
        .azure
        .blob("relocatedall", CONTAINER, &format!("/{odd}"))
        .await
        .unwrap();
    assert_eq!(content.as_deref(), Some(odd.as_bytes()));
    assert_eq!(site.run().await.unwrap(), Moved::default(), "it can be repeated");
}

// storage-azure 55
#[tokio::test]
async fn a_copy_that_fails_keeps_its_source() {
    for (account, last) in [
        ("relocatedpend", "failed"),
        ("relocatedabort", "aborted"),
        ("relocatedgone", ""),
    ] {
        let site = Site::new(account, &["docker/x", "docker/y"]).await;
        let status = |status: &'static str| {
            Fault::change(move |asked, answer| {
                if !asked.path.contains('x') {
                    return;
                }
                let headers = answer.headers_mut();
                headers.remove("x-ms-copy-status");
                if !status.is_empty() {
                    headers.insert("x-ms-copy-status", status.parse().unwrap());
                }
            })
        };
        site.gate.rule(move |asked| match call(asked).as_str() {
            "Blob_StartCopyFromURL" => status("pending"),
            "Blob_GetProperties" => status(last),
            _ => Fault::Pass,
        });
        let moved = site.run().await.unwrap();
        assert_eq!((moved.moved, moved.failed), (1, 1), "{account}");
        assert!(moved.to_string().contains("docker/x"), "{moved}");
        assert!(site.names().await.contains(&"docker/x".to_owned()), "{account}");
        // Healed, it goes on.
        site.gate.pass();
        let moved = site.run().await.unwrap();
        assert_eq!((moved.moved, moved.failed), (1, 0), "{account}");
    }
}

// storage-azure 55: nor is a source deleted whose copy has another length
#[tokio::test]
async fn a_copy_of_another_length_keeps_its_source() {
    let site = Site::new("relocatedcut", &["docker/x"]).await;
    site.gate.rule(|asked| {
        if call(asked) == "Blob_StartCopyFromURL" {
            // The copy is said to have succeeded, and there is none.
            return Fault::Answer(devcluster::stores::Reply::new(202, "").header("x-ms-copy-status", "success"));
        }
        Fault::Pass
    });
    let moved = site.run().await.unwrap();
    assert_eq!((moved.moved, moved.failed), (0, 1));
    assert_eq!(site.names().await, ["docker/x"]);
    site.gate
        .rule(|_| Fault::Answer(blob_error(403, "AuthorizationFailure")));
    let error = site.run().await.unwrap_err();
    assert!(error.contains("AuthorizationFailure"), "{error}");
}
