//! Many objects. `S3_MANY_OBJECTS=100000` makes it the number that a real registry has; the usual run takes fewer.

use std::time::Instant;

use devcluster::stores::{Fault, When};
use futures::StreamExt;
use serde_json::json;

use super::lab::seaweed;
use super::world::{Killed, Store, World};

const USUAL: usize = 3000;
const DEATHS: usize = 10;

/// Memory of this process now, in KiB, as the kernel counts it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// storage-s3 47: in bounded memory, by processes that die ten times
#[tokio::test]
async fn a_large_bucket_goes_though_the_process_is_killed_ten_times() {
    let asked = std::env::var("S3_MANY_OBJECTS").ok();
    let count: usize = asked.and_then(|n| n.parse().ok()).unwrap_or(USUAL);
    // Of the stores at hand the one that can list a large bucket in time.
    let seaweed = seaweed().await;
    let store = Store {
        target: seaweed.target(),
        keys: seaweed.admin(),
    };
    let mut world = World::new(store.target, store.keys, "many-k1", json!({"s3": {}}));
    world.converge().await;
    let name = world.generated();
    let filled = Instant::now();
    futures::stream::iter(0..count)
        .for_each_concurrent(32, |n| {
            let key = format!("docker/registry/v2/blobs/sha256/{:02x}/{n:08}/data", n % 256);
            let (store, name) = (&store, &name);
            async move { store.put(name, &key).await }
        })
        .await;
    println!("{count} objects in {:?}", filled.elapsed());
    world.edit(json!({"managementState": "Removed"}));
    let before = resident();
    let mut most = 0;
    let began = Instant::now();
    let pages = count.div_ceil(1000);
    let apart = (pages / DEATHS).max(1);
    let mut deaths = 0;
    let mut passes = 0;
    loop {
        let killed = Killed::new();
        if deaths < DEATHS && passes % apart == 0 {
            let kill = killed.clone();
            let what = if deaths % 2 == 0 {
                "DeleteObjects"
            } else {
                "ListObjectVersions"
            };
            let fault = if deaths % 4 < 2 {
                Fault::after(move |_| kill.kill())
            } else {
                Fault::before(move |_| kill.kill())
            };
            world.gate.plan(When::operation(what).nth(1), fault);
        }
        passes += 1;
        if world.pass_until(&killed).await {
            deaths += 1;
        }
        world.gate.pass();
        world.gate.forget();
        most = most.max(resident());
        if world.status() == &json!({}) {
            break;
        }
        assert!(passes < 3 * pages + 40, "{passes} passes for {pages} pages");
    }
    println!(
        "{passes} passes, {deaths} deaths, {:?}, {before} KiB before, {most} KiB at most",
        began.elapsed()
    );
    assert!(!store.exists(&name).await);
    assert!(deaths >= DEATHS.min(2 * pages), "{deaths}");
    assert!(most < before + 64 * 1024, "{before} KiB before, {most} KiB at most");
}
