//! The subcommand `move-blobs`.

use std::sync::Arc;

use devcluster::stores::{Fault, Gate};
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

    async fn run(&self) -> Result<Moved, String> {
        let [key, _] = self.cloud.azure.account_keys(&self.account).unwrap();
        let settings = [
            ("AZURE_STORAGE_ACCOUNT_NAME", self.account.clone()),
            ("AZURE_CONTAINER_NAME", CONTAINER.to_owned()),
            ("AZURE_ACCOUNTKEY", key),
        ];
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

    async fn names(&self) -> Vec<String> {
        let mut names = self.cloud.azure.blobs(&self.account, CONTAINER).await.unwrap();
        names.sort();
        names
    }
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
