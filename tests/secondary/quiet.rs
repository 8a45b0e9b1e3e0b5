//! What the operator asks of the API server: nothing when settled, hardly a conflict when everybody edits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devcluster::audit::Log;
use futures::future;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, config_ref, is_up, operand};
use crate::{STATES, certificates, cron_job, deployment, enter, image, image_pruner, registry};

/// Requests that the server refused because the object was another one meanwhile: 409, or 422 where a patch says what it
/// counts on.
fn conflicts(log: &Log) -> Log {
    log.filter(|event| matches!(event.code, 409 | 422))
}

fn observed(config: &Value) -> bool {
    config["status"]["observedGeneration"] == config["metadata"]["generation"]
}

/// Nothing is written for this long, and hardly anything asked for.
async fn quiet(lab: &Lab, how_long: Duration) {
    lab.settle().await;
    let mark = lab.mark();
    tokio::time::sleep(how_long).await;
    let log = lab.requests(mark).counted();
    assert!(log.writes().is_empty(), "it does not rest:\n{log}");
    assert!(log.len() <= 2, "it does not rest:\n{log}");
}

// lifecycle 55, 67, workload 2, 102, api 42, deploy 11
// In part: 11 (what these edits take).
#[tokio::test]
async fn ordinary_edits_cost_no_conflict_and_nothing_is_asked_for_once_settled() {
    let (lab, operator) = registry(json!({"defaultRoute": true})).await;
    let before = lab.config().await;
    quiet(&lab, Duration::from_secs(15)).await;
    assert_eq!(
        before["metadata"]["resourceVersion"],
        lab.config().await["metadata"]["resourceVersion"]
    );

    let mark = lab.mark();
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
        lab.edit(edit).await;
        lab.until_config("observing the edit", observed).await;
    }
    lab.patch(&image_pruner(), json!({"spec": {"keepTagRevisions": 7}}))
        .await;
    lab.until(&cron_job(), "following", |o| {
        o.is_some_and(|o| o.to_string().contains("--keep-tag-revisions=7"))
    })
    .await;
    lab.delete(&certificates::users_map()).await;
    certificates::create_users_map(&lab).await;
    lab.patch(
        &image(),
        json!({"spec": {"additionalTrustedCA": {"name": certificates::users_map().name}}}),
    )
    .await;
    certificates::until_whole(&lab, "Managed").await;
    let pull = ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET);
    lab.patch(
        &pull,
        json!({"stringData": {".dockerconfigjson": "{\"auths\":{\"a.example.com\":{}}}"}}),
    )
    .await;
    for state in STATES {
        enter(&lab, state).await;
    }
    lab.settle().await;
    let log = lab.requests(mark).counted();
    eprintln!(
        "ordinary edits: {} requests of the operator in {:?}",
        log.len(),
        began.elapsed()
    );
    assert!(conflicts(&log).is_empty(), "{}", conflicts(&log));
    assert!(log.denied().is_empty(), "{}", log.denied());
    let crds = log.filter(|event| event.resource == "customresourcedefinitions");
    assert!(crds.is_empty(), "{crds}");
    lab.delete(&certificates::users_map()).await;
    lab.patch(&image(), json!({"spec": {"additionalTrustedCA": null}}))
        .await;
    storm(&lab).await;
    quiet(&lab, Duration::from_secs(6)).await;
    assert!(operator.stop().await.success());
    lab.delete(&pull).await;
}

/// 300 edits in 20 seconds, of everything that people and other operators edit.
async fn storm(lab: &Lab) {
    const EDITS: u32 = 300;
    const TIME: Duration = Duration::from_secs(20);
    let mark = lab.mark();
    let began = Instant::now();
    let pull = ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET);
    lab.edit(json!({"routes": [{"name": "stormy", "hostname": "stormy.example.com"}]}))
        .await;
    let route = operand(Kind::Route, "stormy");
    lab.until_present(&route).await;
    let one = async |number: u32| {
        tokio::time::sleep((TIME / EDITS * number).saturating_sub(began.elapsed())).await;
        match number % 5 {
            0 => lab.edit(json!({"replicas": 1 + number / 5 % 2})).await,
            1 => {
                lab.patch(&image_pruner(), json!({"spec": {"keepTagRevisions": 1 + number}}))
                    .await
            }
            // What is the operator's own is put right at once, and the next edit of the same fields may come in between: a
            // few people do that, not one three times a second.
            2 if number % 30 == 2 => {
                lab.patch(
                    &route,
                    json!({"spec": {"host": format!("h{number}.example.com"), "path": format!("/{number}")}}),
                )
                .await
            }
            2 => {
                lab.patch(
                    &route,
                    json!({"metadata": {"annotations": {"example.com/own": number.to_string()}}}),
                )
                .await
            }
            3 => {
                lab.patch(
                    &pull,
                    json!({"stringData": {".dockerconfigjson": format!("{{\"auths\":{{\"h{number}\":{{}}}}}}")}}),
                )
                .await
            }
            _ => {
                lab.edit(
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
    lab.settle().await;
    let log = lab.requests(mark).counted();
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
    assert!(
        conflicts.len() * 100 <= log.len(),
        "{} of {} requests ended in a conflict:\n{conflicts}",
        conflicts.len(),
        log.len()
    );
    // The last word counts.
    lab.edit(json!({"replicas": 1, "routes": null})).await;
    lab.until(&deployment(), "of one replica", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 1)
    })
    .await;
    lab.until_absent(&route).await;
    let last = lab.get(&image_pruner()).await.unwrap();
    let revisions = format!("--keep-tag-revisions={}", last["spec"]["keepTagRevisions"]);
    lab.until(&cron_job(), "following the last edit", |o| {
        o.is_some_and(|o| o.to_string().contains(&revisions))
    })
    .await;
    let copy = operand(Kind::Secret, names::PULL_SECRET_COPY);
    let source = lab.get(&pull).await.unwrap();
    lab.until(&copy, "as its source", |o| {
        o.is_some_and(|o| o["data"] == source["data"])
    })
    .await;
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
    assert!(lab.get(&config_ref()).await.is_some());
}
