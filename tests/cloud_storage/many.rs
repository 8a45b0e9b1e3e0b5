//! A bucket full of images, removed by processes that are killed. `S3_MANY_OBJECTS=100000` makes them as many as a real registry
//! has; the usual run takes fewer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use devcluster::stores::{Call, Fault, Gate, Seaweed, SeaweedOptions, When};
use http::Method;
use serde_json::{Value, json};

use crate::cloud::{REGION, World};
use crate::credentials::{both, set_user_secret};
use crate::is_settled;
use crate::support::operator::{Operator, signal};
use crate::support::{TestCluster, is};

const USUAL: usize = 6_000;
/// Operators that are killed in a removal.
const DEATHS: usize = 10;
/// What a step takes at most.
const PAGE: usize = 1000;
/// More than the process has at rest, in KiB: what a removal may need, whatever there is to remove.
const MORE: usize = 8 * 1024;

/// The most memory that a process ever had resident, in KiB.
pub fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// From now on, this process is killed right after the n-th call of this operation was carried out. Notes its peak before.
pub fn kill_at(gate: &Gate, operation: &str, n: usize, most: &Arc<AtomicUsize>) -> Arc<OnceLock<u32>> {
    let victim = Arc::new(OnceLock::new());
    let (pid, most) = (victim.clone(), most.clone());
    let kill = move |_: &_| {
        let pid = *pid.wait();
        most.fetch_max(peak(pid), Ordering::Relaxed);
        signal(pid, "KILL");
    };
    gate.pass();
    gate.plan(When::operation(operation).nth(n), Fault::after(kill));
    victim
}

/// A removal whose operators were killed, [`DEATHS`] in a row.
pub struct Killed {
    /// What they logged.
    pub logs: Vec<String>,
    /// Peak of the memory before the removal began, and of all that was seen, in KiB.
    before: usize,
    most: Arc<AtomicUsize>,
    began: Instant,
}

impl Killed {
    /// Sets the Config to `Removed`, and lets one operator after another die. `arm` plans the death with this number by
    /// [`kill_at`]; `start` starts the next operator.
    pub async fn removal(
        cluster: &TestCluster,
        mut operator: Operator,
        start: impl AsyncFn() -> Operator,
        arm: impl Fn(usize, &Arc<AtomicUsize>) -> Arc<OnceLock<u32>>,
    ) -> Self {
        let before = peak(operator.pid());
        let most = Arc::new(AtomicUsize::new(before));
        let (began, mut logs) = (Instant::now(), Vec::new());
        for death in 0..DEATHS {
            let victim = arm(death, &most);
            if death == 0 {
                cluster.edit(json!({"managementState": "Removed"})).await;
            } else {
                cluster.clear_lease().await;
                operator = start().await;
            }
            victim.set(operator.pid()).unwrap();
            operator.ended().await;
            logs.push(operator.log());
        }
        cluster.clear_lease().await;
        Self {
            logs,
            before,
            most,
            began,
        }
    }

    /// Waits until this operator has removed the rest, and asserts that none of them needed much memory. Returns the Config.
    pub async fn until_removed(&self, cluster: &TestCluster, operator: &Operator, count: usize) -> Value {
        let removed = |c: &Value| is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
        let config = cluster.until_config("removed", removed).await;
        assert_eq!(config["status"]["storage"], json!({}));
        let (before, most) = (self.before, self.most.load(Ordering::Relaxed).max(peak(operator.pid())));
        eprintln!(
            "{count} objects removed in {:?}, {DEATHS} deaths; {before} KiB before, {most} KiB at the most",
            self.began.elapsed()
        );
        assert!(most < before + MORE, "{before} KiB before, {most} KiB at the most");
        config
    }
}

// storage-s3 47, storage-core 40, 45
#[tokio::test]
async fn a_full_bucket_goes_in_bounded_memory_though_the_operator_is_killed_ten_times() {
    let asked = std::env::var("S3_MANY_OBJECTS").ok();
    let count: usize = asked.and_then(|n| n.parse().ok()).unwrap_or(USUAL);
    // Of the stores at hand the one that can list a large bucket in time.
    let seaweed = Seaweed::start(SeaweedOptions::default()).await.unwrap();
    let gate = Gate::start(seaweed.target(), None, &[]).unwrap();
    let mut world = World::new("kw-many1").await;
    world.secret(&seaweed.admin().secret);
    set_user_secret(&world, both(seaweed.admin())).await;
    let block = json!({"region": REGION, "regionEndpoint": gate.url()});
    world.cluster.create(TestCluster::managed(json!({"s3": block}))).await;
    let operator = world.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    assert_eq!(config["status"]["storageManaged"], true);
    let bucket = world.generated();
    let began = Instant::now();
    seaweed
        .target()
        .fill(seaweed.admin(), &bucket, "docker/registry/v2/blobs/", count)
        .await
        .unwrap();
    eprintln!("{count} objects in {:?}", began.elapsed());
    world.cluster.settle().await;

    let apart = (count / PAGE / DEATHS).max(1);
    let killed = Killed::removal(
        &world.cluster,
        operator,
        async || world.operator().await,
        |death, most| {
            let operation = if death % 2 == 0 {
                "DeleteObjects"
            } else {
                "ListObjectVersions"
            };
            kill_at(&gate, operation, apart, most)
        },
    )
    .await;
    killed.logs.iter().cloned().for_each(|log| world.keep_log(log));
    gate.pass();
    let operator = world.operator().await;
    killed.until_removed(&world.cluster, &operator, count).await;
    let path = format!("/{bucket}");
    let gone = Call::new(Method::HEAD, &path);
    let answer = seaweed
        .target()
        .call(gone.signed(seaweed.admin(), "s3", REGION))
        .await
        .unwrap();
    assert_eq!(answer.status, 404);
    world.judge(operator).await;
}
