//! Google Cloud for all tests of this program, started once, and the one service account that they share.

use devcluster::stores::{Authority, Gcs, GcsOptions, ServiceAccountKey};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the buckets of the clusters are.
pub const REGION: &str = "europe-west3";
/// Project of the service account.
const HOME: &str = "home-of-accounts";

static CLOUD: OnceCell<Cloud> = OnceCell::const_new();

/// Google Cloud.
pub struct Cloud {
    pub gcs: Gcs,
    pub key: ServiceAccountKey,
}

/// Google Cloud, with the service account.
pub async fn cloud() -> &'static Cloud {
    let start = || async {
        let options = GcsOptions {
            names: vec!["*.example-universe.goog".to_owned()],
            ..GcsOptions::new(Authority::new("google").unwrap())
        };
        let gcs = Gcs::start(options).await.unwrap();
        gcs.project(HOME);
        let key = gcs.service_account(HOME, "registry", &[]).unwrap();
        Cloud { gcs, key }
    };
    CLOUD.get_or_init(start).await
}

/// Google Cloud, as its administrator sees it.
pub async fn store() -> &'static Gcs {
    &cloud().await.gcs
}

/// The permissions that the operator asks the platform for, from the manifest that is shipped.
pub fn permissions() -> Vec<String> {
    let manifest = include_str!("../../deploy/01-registry-credentials-request-gcs.yaml");
    let lines = manifest.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let of_google = ["storage.", "resourcemanager."];
    let permissions = lines.filter(|line| of_google.iter().any(|service| line.starts_with(service)));
    permissions.map(str::to_owned).collect()
}

/// Allows the service account these things in a project, and nothing else.
pub async fn allow(project: &str, permissions: &[String]) {
    let Cloud { gcs, key } = cloud().await;
    gcs.project(project);
    let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
    gcs.allow(&key.email, project, &permissions);
}

/// The key file of the service account, for the public token service.
pub async fn key_file() -> Value {
    let mut file = cloud().await.key.json("https://oauth2.googleapis.com/token");
    file["project_id"] = json!("of-the-key");
    file
}
