//! Killed at each write of a bring-up.

use std::time::{Duration, Instant};

use image_registry_operator::api::Kind;
use serde_json::{Value, json};

use super::support::Lab;
use super::support::ending::{Ending, difference};
use super::support::proxy::{Fault, Proxy};
use super::{claims, cluster, up};

/// How long a settled operator is given to show that it has nothing more to write.
const QUIET: Duration = Duration::from_millis(500);

/// How a bring-up begins.
#[derive(Clone, Copy)]
enum Start {
    /// The operator makes the Config, and on this platform first a claim for it.
    Bootstrap,
    /// The user's Config asks for a claim that the operator makes.
    UsersClaim,
}

// storage-core 22 for claims
#[tokio::test]
async fn killed_at_any_write_of_a_bring_up_it_ends_in_the_same_state_and_doubles_nothing() {
    let lab = cluster().await;
    let expected = undisturbed(&lab, Start::UsersClaim).await;
    let mut writes = 0;
    while killed_at(&lab, Start::UsersClaim, writes + 1, &expected).await {
        writes += 1;
    }
    println!("killed at each of {writes} writes");
    assert!(writes >= 18, "only {writes} writes");
}

// lifecycle 27, 30
#[tokio::test]
async fn killed_at_any_write_of_a_bootstrap_it_makes_one_config_and_one_claim() {
    let lab = cluster().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "ovirt-csi-sc"},
                       "provisioner": "kubernetes.io/no-provisioner"});
    let _ = lab.try_create(class).await;
    let expected = undisturbed(&lab, Start::Bootstrap).await;
    let config = &expected["Config cluster"]["spec"];
    assert_eq!(config["rolloutStrategy"], "Recreate");
    assert_eq!(config["storage"]["pvc"]["claim"], "image-registry-storage");
    // The lease, the claim, the Config, and what other loops write meanwhile.
    for n in 1..=5 {
        assert!(killed_at(&lab, Start::Bootstrap, n, &expected).await);
    }
}

async fn begin(lab: &Lab, start: Start) {
    lab.reset().await;
    match start {
        Start::UsersClaim => {
            let config = claims(lab).await;
            lab.create(config).await;
        }
        Start::Bootstrap => {
            let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "ovirt-csi-sc"});
            lab.volume("volume", spec).await;
            lab.platform("oVirt").await;
        }
    }
}

/// What a bring-up ends in that nothing disturbs.
async fn undisturbed(lab: &Lab, start: Start) -> Ending {
    begin(lab, start).await;
    let operator = lab.operator().await;
    up(lab).await;
    tokio::time::sleep(QUIET).await;
    let ending = lab.ending().await;
    assert_eq!(ending["ReplicaSets"], 1);
    operator.kill().await;
    ending
}

/// Kills the operator right after its n-th write was carried out, before it learns of that. False when there is no n-th.
async fn killed_at(lab: &Lab, start: Start, n: usize, expected: &Ending) -> bool {
    begin(lab, start).await;
    let proxy = lab.proxy().await;
    let mut writes = 0;
    proxy.rule(move |asked| {
        writes += usize::from(asked.is_write() && !asked.is_event());
        match writes.cmp(&n) {
            std::cmp::Ordering::Less => Fault::Pass,
            std::cmp::Ordering::Equal if asked.is_write() && !asked.is_event() => Fault::LoseAnswer,
            _ => Fault::Hang,
        }
    });
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    let settled = async {
        up(lab).await;
        tokio::time::sleep(QUIET).await;
    };
    let reached = tokio::select! {
        () = proxy.until("such write", |asked| asked.iter().any(|asked| asked.lost)) => true,
        () = settled => false,
    };
    operator.kill().await;
    if reached {
        recovers(lab, n, &proxy, expected).await;
    }
    reached
}

async fn recovers(lab: &Lab, n: usize, proxy: &Proxy, expected: &Ending) {
    let at = proxy.asked().into_iter().find(|asked| asked.lost).unwrap();
    let context = format!("killed at write {n}, {at}");
    let stored = lab.list(Kind::Config, "").await;
    let secret = |config: &Value| {
        config
            .pointer("/spec/httpSecret")
            .cloned()
            .filter(|s| s.is_string() && s != "")
    };
    let before = stored.first().and_then(secret);
    lab.clear_lease().await;
    let operator = lab.operator().await;
    let config = up(lab).await;
    assert!(
        before.is_none() || before == secret(&config),
        "{context}: the upload secret was made anew"
    );
    let began = Instant::now();
    while let Some(difference) = difference(&lab.ending().await, expected) {
        assert!(began.elapsed() < Duration::from_secs(10), "{context}: {difference}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.kill().await;
}
