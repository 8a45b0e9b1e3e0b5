//! Registries of the Go operator on object stores are taken over: no pod restarts, nothing changes in the cloud, and the operator knows
//! what it may delete. What the Go operator leaves behind stands in `tests/data/takeover/stores/`.

mod azure;
mod gcs;
mod ibm;
mod s3;
mod swift;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::go::{Go, Store, reference as reference_of};
use crate::observed;
use crate::support::operator::Operator;
use crate::support::{TestCluster, is};

/// The Go operator on a cluster of this name, whose platform and Secrets are those of the case.
async fn go<'a>(cluster: &'a TestCluster, infrastructure: &str, case: &str, values: &[(&str, &str)]) -> Go<'a> {
    let store = Store::read(case, values);
    let platform = &store.platform_status;
    let status = json!({"platform": platform["type"], "platformStatus": platform, "infrastructureName": infrastructure,
        "infrastructureTopology": "HighlyAvailable"});
    let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
    cluster.patch_status(&reference, json!({"status": status})).await;
    for object in &store.objects {
        cluster.delete(&reference_of(object)).await;
        cluster.create(object.clone()).await;
    }
    Go::with_store(cluster, store)
}

/// A name of this cluster's as the Go operator makes it: 62 characters, the last ones random.
fn generated(infrastructure: &str, region: &str) -> String {
    let mut name = [infrastructure, "image-registry", region]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    name.push('-');
    name.extend("kqxvbnaeirtoplmsdfghjcuwy".chars().cycle().take(62 - name.len()));
    name
}

/// How often a registry changes hands.
#[derive(Clone, Copy)]
enum Back {
    /// Taken over once.
    Once,
    /// Taken over, given back, and taken over again.
    AndForth,
}

impl Back {
    async fn take_over(self, go: &Go<'_>) -> Operator {
        match self {
            Self::Once => go.take_over_unchanged().await,
            Self::AndForth => go.take_over_and_back().await,
        }
    }
}

/// Removes the registry, and waits until its storage is forgotten.
async fn remove(cluster: &TestCluster) -> Value {
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("removed", |c| {
            observed(c) && is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed")
        })
        .await
}
