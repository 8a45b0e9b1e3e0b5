//! The stores, started once for all tests of this program.

use devcluster::stores::{Moto, OTHER_ACCOUNT, Seaweed, SeaweedOptions};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::cluster::{S3Cluster, Store};

static SEAWEED: OnceCell<Seaweed> = OnceCell::const_new();

/// moto, with authorisation on.
pub async fn moto() -> &'static Moto {
    Moto::shared().await.unwrap()
}

/// SeaweedFS without a key to encrypt with.
pub async fn seaweed() -> &'static Seaweed {
    let start = || async { Seaweed::start(SeaweedOptions::default()).await.unwrap() };
    SEAWEED.get_or_init(start).await
}

/// A cluster before moto, as the account's administrator.
pub async fn cluster(infrastructure: &str, storage: Value) -> S3Cluster {
    let moto = moto().await;
    S3Cluster::new(moto.target(), moto.admin(), infrastructure, storage)
}

/// moto, as the account's administrator reaches it without a gate.
pub async fn store() -> Store<'static> {
    let moto = moto().await;
    Store {
        target: moto.target(),
        keys: moto.admin(),
    }
}

/// moto, as the administrator of another account.
pub async fn foreign_store() -> Store<'static> {
    let moto = moto().await;
    Store {
        target: moto.target(),
        keys: moto.admin_of(OTHER_ACCOUNT),
    }
}
