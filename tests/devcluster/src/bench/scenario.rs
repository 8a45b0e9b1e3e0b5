//! The steps of the benchmark, in order, and what each of them measures.

use super::Settings;
use super::figures::{Figures, Samples, Unit};
use super::follow::Follower;
use super::foreign;
use super::subject::{ACCOUNT, Memory, NAMESPACE, Recipe, Subject};
use crate::Cluster;
use crate::audit::{Log, Mark};
use anyhow::{Context as _, Result};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the registry's objects have to be left alone to count as at rest.
const REST: Duration = Duration::from_millis(700);
/// Between edits in quick succession.
const BETWEEN: Duration = Duration::from_millis(100);
/// What a start has until its memory is looked at; the goal is for a settled process.
const WARM: Duration = Duration::from_secs(15);
/// A value that no plan has.
const BROKEN: &str = "37%";

struct Bench<'a> {
    cluster: &'a Cluster,
    client: Client,
    recipe: Recipe,
    config: Follower,
    deployment: Follower,
    figures: Figures,
}

pub(super) async fn run(cluster: &Cluster, settings: &Settings) -> Result<Figures> {
    let client = cluster.client().await?;
    let mut bench = Bench {
        cluster,
        recipe: Recipe::prepare(cluster, settings.operator.clone()).await?,
        config: Follower::start(&client, &config_resource(), None, "cluster"),
        deployment: Follower::start(&client, &deployment_resource(), Some(NAMESPACE), "image-registry"),
        client,
        figures: Figures::default(),
    };
    let result = bench.course(settings).await;
    result.with_context(|| format!("the operator's log ends with\n{}", bench.recipe.log_tail()))?;
    Ok(bench.figures)
}

impl Bench<'_> {
    async fn course(&mut self, settings: &Settings) -> Result<()> {
        let binary = self.recipe.binary_megabytes()?;
        self.figures.bounded("binary", binary, 30.0, Unit::Megabytes, "150 MB");
        self.bring_up().await?;
        self.starts_and_stops(settings.rounds).await?;
        let subject = self.recipe.start()?;
        self.at_rest().await?;
        self.edits("at rest", settings.edits, true).await?;
        self.edits("in quick succession", settings.edits, false).await?;
        self.at_rest().await?;
        self.settled(&subject, settings.settled).await?;
        self.among_foreign_objects(subject, settings).await
    }

    /// The registry comes up for the first time; the figure is for information, it contains waits for others.
    async fn bring_up(&mut self) -> Result<()> {
        let subject = self.recipe.start()?;
        let (at, _) = self.config.until("up", is_up).await?;
        let took = at.duration_since(subject.begun).as_secs_f64();
        self.figures
            .told("first bring-up, with simulated pods", Unit::Seconds.show(took), "");
        self.at_rest().await?;
        subject.stop().await?;
        Ok(())
    }

    /// Starts on a settled cluster in which one thing has to be put right: when that is written, everything before the
    /// write was done. The pass is complete when its status is written.
    async fn starts_and_stops(&mut self, rounds: usize) -> Result<()> {
        let (mut repaired, mut complete, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            self.break_deployment().await?;
            let before = self.config.now();
            let subject = self.recipe.start()?;
            let (at, _) = self.deployment.until("repaired", |d| !is_broken(d)).await?;
            repaired.push(at.duration_since(subject.begun));
            let (at, _) = self.config.until("told", |c| version(c) != version(&before)).await?;
            complete.push(at.duration_since(subject.begun));
            self.at_rest().await?;
            stopped.push(subject.stop().await?);
            tracing::info!("round {round}: start {:?}, stop {:?}", complete[round], stopped[round]);
        }
        let (repaired, complete, stopped) = (Samples::new(repaired), Samples::new(complete), Samples::new(stopped));
        let figures = &mut self.figures;
        let ms = Unit::Milliseconds;
        figures.told(
            "start to repaired Deployment, median",
            ms.show(repaired.percentile(50)),
            "360 ms",
        );
        figures.bounded(
            "start to first complete pass, median",
            complete.percentile(50),
            120.0,
            ms,
            "",
        );
        figures.told("start to first complete pass, range", complete.range(), "");
        figures.bounded("SIGTERM to exit, median", stopped.percentile(50), 100.0, ms, "170 ms");
        figures.told("SIGTERM to exit, range", stopped.range(), "");
        Ok(())
    }

    async fn break_deployment(&self) -> Result<()> {
        let patch =
            json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": BROKEN } } } });
        self.patch(&deployment_resource(), Some(NAMESPACE), "image-registry", patch)
            .await?;
        self.deployment.until("broken", is_broken).await?;
        self.at_rest().await
    }

    /// From the answer to an edit of the Config to the watch's word of the Deployment's update.
    async fn edits(&mut self, how: &str, count: usize, rest: bool) -> Result<()> {
        let mark = self.cluster.mark()?;
        let mut took = Vec::new();
        for number in 0..count {
            let (level, expected) = [("Debug", "debug"), ("Normal", "info")][number % 2];
            let spec = json!({ "spec": { "logLevel": level } });
            self.patch(&config_resource(), None, "cluster", spec).await?;
            let answered = Instant::now();
            let is_there = |d: &Value| environment(d, "REGISTRY_LOG_LEVEL") == Some(expected);
            let (at, _) = self.deployment.until("updated", is_there).await?;
            took.push(at.saturating_duration_since(answered));
            if rest {
                self.at_rest().await?;
            } else {
                tokio::time::sleep(BETWEEN).await;
            }
        }
        let (took, log) = (Samples::new(took), self.requests(mark)?);
        let conflicts = log.filter(|event| matches!(event.code, 409 | 422));
        if !conflicts.is_empty() {
            tracing::info!("conflicts:\n{conflicts}");
        }
        let conflicts = conflicts.len();
        let figures = &mut self.figures;
        let (p50, p95) = (took.percentile(50), took.percentile(95));
        let (what50, what95) = (
            format!("edit to update, {how}, p50"),
            format!("edit to update, {how}, p95"),
        );
        if rest {
            figures.bounded(&what50, p50, 30.0, Unit::Milliseconds, "1600 ms");
            figures.bounded(&what95, p95, 80.0, Unit::Milliseconds, "2400 ms");
        } else {
            // Here the rollouts themselves keep the API server busy.
            figures.told(&what50, Unit::Milliseconds.show(p50), "");
            figures.told(&what95, Unit::Milliseconds.show(p95), "");
        }
        let most = if rest { 0 } else { log.len() / 100 };
        let value = format!("{conflicts} of {}", log.len());
        figures.counted(&format!("conflicts, edits {how}"), value, conflicts, most, "2 %");
        Ok(())
    }

    /// Nothing happens: what the operator does all the same.
    async fn settled(&mut self, subject: &Subject, how_long: Duration) -> Result<()> {
        let (mark, cpu) = (self.cluster.mark()?, subject.cpu()?);
        tracing::info!("settled: {} s", how_long.as_secs());
        tokio::time::sleep(how_long).await;
        let cpu = subject.cpu()?.saturating_sub(cpu).as_secs_f64();
        let log = self.requests(mark)?;
        let (requests, writes) = (log.len(), log.writes().len());
        let ten_minutes = how_long.as_secs_f64() / 600.0;
        let minutes = how_long.as_secs() / 60;
        let figures = &mut self.figures;
        let (value, what) = (requests.to_string(), format!("requests in {minutes} settled min"));
        figures.counted(&what, value, requests, 2, "15");
        figures.counted(
            &format!("writes in {minutes} settled min"),
            writes.to_string(),
            writes,
            0,
            "12",
        );
        let what = format!("CPU in {minutes} settled min");
        figures.bounded(&what, cpu, 0.1 * ten_minutes, Unit::Seconds, "0.94 s");
        let memory = subject.memory()?;
        figures.bounded("resident, settled", memory.resident, 20.0, Unit::Megabytes, "110 MB");
        figures.told("  of it anonymous", Unit::Megabytes.show(memory.anonymous), "37 MB");
        if !log.is_empty() {
            tracing::info!("requests while settled:\n{log}");
        }
        Ok(())
    }

    async fn among_foreign_objects(&mut self, subject: Subject, settings: &Settings) -> Result<()> {
        let before = subject.memory()?;
        foreign::create(&self.client, settings.foreign).await?;
        tokio::time::sleep(WARM).await;
        let running = subject.memory()?;
        subject.stop().await?;
        self.break_deployment().await?;
        let subject = self.recipe.start()?;
        let (at, _) = self.deployment.until("repaired", |d| !is_broken(d)).await?;
        let start = at.duration_since(subject.begun).as_secs_f64();
        self.at_rest().await?;
        tokio::time::sleep(WARM).await;
        let restarted = subject.memory()?;
        let objects = 3 * settings.foreign;
        self.memory("created meanwhile", before, running, objects);
        self.memory("present at the start", before, restarted, objects);
        self.figures.told(
            "start to repaired Deployment among them",
            Unit::Milliseconds.show(start * 1000.0),
            "",
        );
        subject.stop().await?;
        Ok(())
    }

    fn memory(&mut self, how: &str, before: Memory, after: Memory, objects: usize) {
        let more = (after.resident - before.resident).max(0.0);
        let what = format!("more with {objects} foreign objects {how}");
        self.figures.bounded(&what, more, 2.0, Unit::Megabytes, "35 MB");
        let text = format!(
            "{}, {} anonymous",
            Unit::Megabytes.show(after.resident),
            Unit::Megabytes.show(after.anonymous)
        );
        self.figures.told("  resident then", text, "");
    }

    async fn at_rest(&self) -> Result<()> {
        self.deployment.until("there", |d| !d.is_null()).await?;
        self.config.until("up", is_up).await?;
        self.deployment.quiet(REST).await?;
        self.config.quiet(REST).await
    }

    /// Requests of the operator since then, but watches and those about its lease and its events.
    fn requests(&self, since: Mark) -> Result<Log> {
        let log = Log::read_since(self.cluster.audit_log(), since)?;
        let own = log.by_service_account(NAMESPACE, ACCOUNT).counted();
        Ok(own.filter(|event| !matches!(event.resource.as_str(), "leases" | "events")))
    }

    async fn patch(&self, resource: &ApiResource, namespace: Option<&str>, name: &str, patch: Value) -> Result<()> {
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

fn config_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        "imageregistry.operator.openshift.io",
        "v1",
        "Config",
    ))
}

fn deployment_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"))
}

/// The registry runs as the Config asks for, and this was told of its newest version.
fn is_up(config: &Value) -> bool {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    let is = |type_: &str, status: &str| {
        let mut all = conditions.into_iter().flatten();
        all.any(|c| c["type"] == type_ && c["status"] == status && c["reason"] == "Ready")
    };
    let generation = |pointer: &str| config.pointer(pointer).and_then(Value::as_i64);
    generation("/metadata/generation") == generation("/status/observedGeneration")
        && is("Available", "True")
        && is("Progressing", "False")
}

fn is_broken(deployment: &Value) -> bool {
    let surge = deployment.pointer("/spec/strategy/rollingUpdate/maxSurge");
    surge.and_then(Value::as_str) == Some(BROKEN)
}

fn version(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion")?.as_str()
}

fn environment<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let variables = deployment.pointer("/spec/template/spec/containers/0/env")?.as_array()?;
    variables.iter().find(|v| v["name"] == name)?.get("value")?.as_str()
}
