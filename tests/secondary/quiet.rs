//! The operator's load on the API server: no request when it is settled, and hardly a conflict under many edits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devcluster::audit::Log;
use futures::future;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::json;

use crate::support::{
    STATES, TestCluster, config_ref, cron_job, deployment, image, image_pruner, is_up, observed, operand, pull_secret,
};
use crate::{certificates, registry};

/// Requests that the API server refused because the object had changed: 409, or 422 for a JSON patch with a test operation.
fn conflicts(log: &Log) -> Log {
    log.filter(|event| matches!(event.code, 409 | 422))
}

/// Asserts that for this long the operator writes nothing and sends at most two requests.
async fn quiet(cluster: &TestCluster, how_long: Duration) {
    cluster.settle().await;
    let mark = cluster.mark();
    tokio::time::sleep(how_long).await;
    let log = cluster.requests(mark).counted();
    assert!(log.writes().is_empty(), "the operator is not idle:\n{log}");
    assert!(log.len() <= 2, "the operator is not idle:\n{log}");
}

// lifecycle 55, 67, workload 2, 102, api 42, deploy 11
// In part: 11 (what these edits take).
#[tokio::test]
async fn ordinary_edits_cause_no_conflict_and_a_settled_operator_sends_no_request() {
    let (cluster, operator) = registry(json!({"defaultRoute": true})).await;
    let before = cluster.config().await;
    quiet(&cluster, Duration::from_secs(15)).await;
    assert_eq!(
        before["metadata"]["resourceVersion"],
        cluster.config().await["metadata"]["resourceVersion"]
    );

    let mark = cluster.mark();
    let began = Instant::now();
    for edit in [
        json!({"replicas": 2}),
        json!({"logLevel": "Debug"}),
        json!({"routes": [{"name": "one", "hostname": "one.example.com"}]}),
        json!({"disableRedirect": true, "readOnly": true}),
        json!({"unsupportedConfigOverrides": {"deployment": {"annotations": {"example.com/x": "y"}}}}),
        json!({"unsupportedConfigOverrides": null, "routes": null, "replicas": 1, "readOnly": false}),
        json!({"replicas": -1}),
        json!({"replicas": 1}),
    ] {
        cluster.edit(edit).await;
        cluster.until_config("observing the edit", observed).await;
    }
    cluster
        .patch(&image_pruner(), json!({"spec": {"keepTagRevisions": 7}}))
        .await;
    cluster
        .until(&cron_job(), "changed accordingly", |o| {
            o.is_some_and(|o| o.to_string().contains("--keep-tag-revisions=7"))
        })
        .await;
    cluster.delete(&certificates::users_map()).await;
    certificates::create_users_map(&cluster).await;
    cluster
        .patch(
            &image(),
            json!({"spec": {"additionalTrustedCA": {"name": certificates::users_map().name}}}),
        )
        .await;
    certificates::until_whole(&cluster, "Managed").await;
    let pull = pull_secret();
    cluster
        .patch(
            &pull,
            json!({"stringData": {".dockerconfigjson": "{\"auths\":{\"a.example.com\":{}}}"}}),
        )
        .await;
    for state in STATES {
        cluster.enter_state(state).await;
    }
    cluster.settle().await;
    let log = cluster.requests(mark).counted();
    eprintln!(
        "ordinary edits: {} requests of the operator in {:?}",
        log.len(),
        began.elapsed()
    );
    assert!(conflicts(&log).is_empty(), "{}", conflicts(&log));
    assert!(log.denied().is_empty(), "{}", log.denied());
    let crds = log.filter(|event| event.resource == "customresourcedefinitions");
    assert!(crds.is_empty(), "{crds}");
    cluster.delete(&certificates::users_map()).await;
    cluster
        .patch(&image(), json!({"spec": {"additionalTrustedCA": null}}))
        .await;
    storm(&cluster).await;
    quiet(&cluster, Duration::from_secs(6)).await;
    assert!(operator.stop().await.success());
    cluster.delete(&pull).await;
}

/// Makes 300 edits in 20 seconds, of the objects that people and other operators edit.
async fn storm(cluster: &TestCluster) {
    const EDITS: u32 = 300;
    const TIME: Duration = Duration::from_secs(20);
    let mark = cluster.mark();
    let began = Instant::now();
    let pull = pull_secret();
    cluster
        .edit(json!({"routes": [{"name": "stormy", "hostname": "stormy.example.com"}]}))
        .await;
    let route = operand(Kind::Route, "stormy");
    cluster.until_present(&route).await;
    let one =
        async |number: u32| {
            tokio::time::sleep((TIME / EDITS * number).saturating_sub(began.elapsed())).await;
            match number % 5 {
                0 => cluster.edit(json!({"replicas": 1 + number / 5 % 2})).await,
                1 => {
                    cluster
                        .patch(&image_pruner(), json!({"spec": {"keepTagRevisions": 1 + number}}))
                        .await
                }
                // The operator reverts edits of its own fields at once, and a next edit of the same fields may conflict with
                // that. Such edits are rare, so only every sixth is one.
                2 if number % 30 == 2 => {
                    cluster
                        .patch(
                            &route,
                            json!({"spec": {"host": format!("h{number}.example.com"), "path": format!("/{number}")}}),
                        )
                        .await
                }
                2 => {
                    cluster
                        .patch(
                            &route,
                            json!({"metadata": {"annotations": {"example.com/own": number.to_string()}}}),
                        )
                        .await
                }
                3 => cluster
                    .patch(
                        &pull,
                        json!({"stringData": {".dockerconfigjson": format!("{{\"auths\":{{\"h{number}\":{{}}}}}}")}}),
                    )
                    .await,
                _ => {
                    cluster
                        .edit(
                            json!({"logLevel": if number.is_multiple_of(2) { "Debug" } else { "Normal" }, "routes": [
                    {"name": "stormy", "hostname": "stormy.example.com"},
                    {"name": format!("route-{}", number % 3), "hostname": format!("{}.example.com", number % 3)}]}),
                        )
                        .await
                }
            };
        };
    future::join_all((0..EDITS).map(one)).await;
    let took = began.elapsed();
    cluster.settle().await;
    let log = cluster.requests(mark).counted();
    let conflicts = conflicts(&log);
    let mut by_resource: BTreeMap<&str, u32> = BTreeMap::new();
    conflicts
        .events()
        .iter()
        .for_each(|e| *by_resource.entry(&e.resource).or_default() += 1);
    eprintln!(
        "storm: {EDITS} edits in {took:?}, {} requests of the operator, {} conflicts {by_resource:?}",
        log.len(),
        conflicts.len()
    );
    // On a busy machine one pass answers many edits, so that the operator sends fewer requests than there are edits.
    let most = log.len().max(usize::try_from(EDITS).unwrap()) / 100;
    assert!(
        conflicts.len() <= most,
        "{} of {} requests ended in a conflict:\n{conflicts}",
        conflicts.len(),
        log.len()
    );
    // The last edit takes effect.
    cluster.edit(json!({"replicas": 1, "routes": null})).await;
    cluster
        .until(&deployment(), "with one replica", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 1)
        })
        .await;
    cluster.until_absent(&route).await;
    let last = cluster.get(&image_pruner()).await.unwrap();
    let revisions = format!("--keep-tag-revisions={}", last["spec"]["keepTagRevisions"]);
    cluster
        .until(&cron_job(), "changed by the last edit", |o| {
            o.is_some_and(|o| o.to_string().contains(&revisions))
        })
        .await;
    let copy = operand(Kind::Secret, names::PULL_SECRET_COPY);
    let source = cluster.get(&pull).await.unwrap();
    cluster
        .until(&copy, "as its source", |o| {
            o.is_some_and(|o| o["data"] == source["data"])
        })
        .await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    assert!(cluster.get(&config_ref()).await.is_some());
}
