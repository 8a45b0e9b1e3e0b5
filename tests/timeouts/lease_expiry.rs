//! A leader that crashes without releasing its Lease.

use std::path::Path;
use std::time::{Duration, Instant};

use devcluster::Options;
use image_registry_operator::names;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::json;

use crate::support::operator::ACCOUNT;
use crate::support::{TestCluster, cluster_operator};

/// The crashed leader's Lease lasts 137 s, and every candidate looks at it at least every 26 s.
const LIMIT: Duration = Duration::from_secs(163);

// issue 3: one kill without clearing the Lease; lifecycle 10
#[tokio::test]
async fn after_a_crash_of_the_leader_a_successor_takes_over_by_itself_with_a_rotated_token() {
    let options = Options {
        name: format!("expiry-{}", std::process::id()),
        simulated_nodes: 1,
        security_api: true,
        ..Options::default()
    };
    let cluster = TestCluster::exclusive(options).await;
    let operator = cluster.operator().await;
    cluster.until_removed().await;
    let crashed = cluster.holder().await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig_with_token_file(&cluster, directory.path()).await;
    write_token(&cluster, "first", directory.path()).await;
    operator.kill().await;
    let killed = Instant::now();
    // Nobody restores the ClusterOperator until somebody leads.
    cluster.delete(&cluster_operator()).await;
    let operator = cluster.operator_at(&kubeconfig, &[]);
    // The successor's token is rotated while the successor waits; it reads the file again within a minute.
    tokio::time::sleep(Duration::from_secs(10)).await;
    write_token(&cluster, "second", directory.path()).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    secrets.delete("first", &DeleteParams::default()).await.unwrap();
    let limit = LIMIT.saturating_sub(killed.elapsed());
    let restored = async {
        while cluster.get(&cluster_operator()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = tokio::time::timeout(limit, restored).await;
    assert!(
        in_time.is_ok(),
        "no successor; the Lease is {:?}; the log says\n{}",
        cluster.lease().await,
        operator.log()
    );
    println!("the successor took over after {:?}", killed.elapsed());
    assert_ne!(cluster.holder().await, crashed);
    cluster.until_removed().await;
    operator.kill().await;
}

/// The operator's kubeconfig with its token in a file, as in a pod.
async fn kubeconfig_with_token_file(cluster: &TestCluster, directory: &Path) -> std::path::PathBuf {
    let mut file = Kubeconfig::read_from(cluster.account().await).unwrap();
    let user = file.auth_infos[0].auth_info.as_mut().unwrap();
    user.token = None;
    user.token_file = Some(directory.join("token").display().to_string());
    let path = directory.join("kubeconfig");
    std::fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    path
}

/// Writes a token into the file `token`. The token is valid as long as a Secret of this name exists.
async fn write_token(cluster: &TestCluster, name: &str, directory: &Path) {
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    let secret = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let secret = secrets.create(&PostParams::default(), &secret).await.unwrap();
    let spec = TokenRequestSpec {
        bound_object_ref: Some(BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: secret.metadata.name,
            uid: secret.metadata.uid,
        }),
        ..Default::default()
    };
    let request = TokenRequest {
        spec,
        ..Default::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .unwrap();
    let (new, path) = (directory.join("new"), directory.join("token"));
    std::fs::write(&new, answer.status.unwrap().token).unwrap();
    std::fs::rename(new, path).unwrap();
}
