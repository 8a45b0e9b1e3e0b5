//! A leader that dies without a word: its successor gets in by itself. That takes minutes, so it has a cluster of its own
//! and runs beside the other tests.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devcluster::Options;
use image_registry_operator::names;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::json;

use super::removed;
use super::support::Lab;
use super::support::course::cluster_operator;
use super::support::operator::ACCOUNT;

/// 137 s that the dead one promised, and 26 s within which everybody looks.
const LIMIT: Duration = Duration::from_secs(163);

static TAKEOVER: OnceLock<Mutex<Option<JoinHandle<Duration>>>> = OnceLock::new();

/// Begins, if that has not happened yet.
pub fn begin() {
    TAKEOVER.get_or_init(|| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(takeover())
        };
        Mutex::new(Some(std::thread::spawn(work)))
    });
}

// issue 3: one kill without clearing the Lease; lifecycle 10
#[test]
fn without_a_word_from_the_dead_leader_a_successor_gets_in_by_itself_and_with_a_rotated_token() {
    begin();
    let thread = TAKEOVER
        .get()
        .unwrap()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let took = thread
        .unwrap()
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("the successor acted after {took:?}");
    assert!(took <= LIMIT, "{took:?}");
}

async fn takeover() -> Duration {
    let options = Options {
        name: format!("takeover-{}", std::process::id()),
        simulated_nodes: 1,
        security_api: true,
        ..Options::default()
    };
    let lab = Lab::aside(options).await;
    let operator = lab.operator().await;
    removed(&lab).await;
    let dead = lab.holder().await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = by_token_file(&lab, directory.path()).await;
    token(&lab, "first", directory.path()).await;
    operator.kill().await;
    let killed = Instant::now();
    // What nobody puts right until somebody leads.
    lab.delete(&cluster_operator()).await;
    let operator = lab.operator_at(&kubeconfig, &[]);
    // The successor's token is rotated while it waits; it reads the file again within a minute.
    tokio::time::sleep(Duration::from_secs(10)).await;
    token(&lab, "second", directory.path()).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    secrets.delete("first", &DeleteParams::default()).await.unwrap();
    let limit = LIMIT.saturating_sub(killed.elapsed());
    let acts = async {
        while lab.get(&cluster_operator()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let acted = tokio::time::timeout(limit, acts).await;
    assert!(
        acted.is_ok(),
        "nobody acts; the lease is {:?}; the log says\n{}",
        lab.lease().await,
        operator.log()
    );
    let took = killed.elapsed();
    assert_ne!(lab.holder().await, dead);
    removed(&lab).await;
    operator.kill().await;
    took
}

/// The operator's kubeconfig with its token in a file, as in a pod.
async fn by_token_file(lab: &Lab, directory: &Path) -> std::path::PathBuf {
    let mut file = Kubeconfig::read_from(lab.account().await).unwrap();
    let user = file.auth_infos[0].auth_info.as_mut().unwrap();
    user.token = None;
    user.token_file = Some(directory.join("token").display().to_string());
    let path = directory.join("kubeconfig");
    std::fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    path
}

/// Writes a token into the file that is good as long as a Secret of this name exists.
async fn token(lab: &Lab, name: &str, directory: &Path) {
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
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
    let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .unwrap();
    let (new, path) = (directory.join("new"), directory.join("token"));
    std::fs::write(&new, answer.status.unwrap().token).unwrap();
    std::fs::rename(new, path).unwrap();
}
