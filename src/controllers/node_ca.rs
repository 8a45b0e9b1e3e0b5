//! DaemonSet `node-ca`, in every managementState: nodes must trust the registry also while it is Unmanaged or Removed.

use std::time::Duration;

use super::secondary::{self, DegradedCondition, Failure};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, Recorded};
use crate::config::snapshot::Snapshot;
use crate::names::{self, NodeCa};
use crate::observe::Controller;
use crate::plan;
use crate::status::conditions::Status;
use crate::status::config_status::{recorded_generation, stored_conditions};
use crate::status::node_ca::{self, Waiting};

const CONDITION: &str = "NodeCADaemonControllerDegraded";

/// Runs passes until the process stops leading.
pub(super) async fn run(context: Context) {
    secondary::run(
        context,
        Controller::NodeCa,
        "nodeca",
        DegradedCondition::Lasting(CONDITION),
        pass,
    )
    .await;
}

async fn pass(context: &Context) -> Result<Duration, Failure> {
    let snapshot = context.caches.snapshot();
    let plan = plan::node_ca(&snapshot);
    let mut report = apply::apply(
        &plan,
        &snapshot,
        &Generations {
            context,
            snapshot: &snapshot,
        },
        &context.writer,
    )
    .await;
    for (object, generation) in &report.generations {
        context.shared.record_generation(object.clone(), *generation);
    }
    let failures = report.failure_message();
    context.publish_report(&mut report);
    let again = conditions(context);
    if failures.is_empty() {
        Ok(again.map_or(RESYNC, |again| again.min(RESYNC)))
    } else {
        Err(Failure::failed(failures))
    }
}

/// Sets the conditions. Returns when to look at the pods again.
fn conditions(context: &Context) -> Option<Duration> {
    let snapshot = context.caches.snapshot();
    if snapshot.environment.node_ca == NodeCa::Off {
        context.set_conditions(node_ca::off());
        return None;
    }
    let daemon_set = snapshot.objects.operand(Kind::DaemonSet, names::NODE_CA);
    let waiting = Waiting::of(&snapshot.objects, snapshot.now);
    let progressing = is_progressing(context, &snapshot);
    context.set_conditions(node_ca::judge(Ok(daemon_set), progressing, &waiting));
    waiting.again.and_then(|again| again.try_into().ok())
}

/// Whether `NodeCADaemonProgressing` is True: as this process set it last, or else as the Config's status has it.
fn is_progressing(context: &Context, snapshot: &Snapshot) -> bool {
    let own = context.shared.condition_updates();
    if let Some(own) = own.iter().find(|update| update.type_ == node_ca::PROGRESSING) {
        return own.status == Status::True;
    }
    let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
    let stored = config.and_then(|config| config.get("status")).map(stored_conditions);
    let stored = stored.unwrap_or_default();
    stored
        .iter()
        .any(|c| c.type_ == node_ca::PROGRESSING && c.status == Status::True.text())
}

/// The generation after the operator's last write: recorded by this process, or else in the Config's status.
struct Generations<'a> {
    context: &'a Context,
    snapshot: &'a Snapshot,
}

impl Recorded for Generations<'_> {
    fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let own = self.context.shared.generations().get(object).copied();
        own.or_else(|| {
            let config = self.snapshot.objects.cluster(Kind::Config, names::CLUSTER)?;
            let stored = serde_json::from_value::<Vec<_>>(config.pointer("/status/generations")?.clone()).ok()?;
            Some(recorded_generation(&stored, object)).filter(|generation| *generation >= 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::tests::cluster::Cluster;
    use crate::plan::drift;

    const GENERATION: i64 = 4;

    /// A cluster with the DaemonSet as the operator wants it, and with these entries in `status.generations`.
    fn cluster(generations: &Value) -> Cluster {
        let desired = plan::node_ca(&Cluster::new([]).context.caches.snapshot())
            .present
            .remove(0);
        let mut set = drift::merged(&desired, &Value::Null, None);
        set["metadata"]["generation"] = json!(GENERATION);
        set["metadata"]["uid"] = json!("d");
        let config = json!({"apiVersion": Kind::Config.api_version(), "kind": "Config", "metadata": {"name": "cluster"},
            "status": {"generations": generations}});
        Cluster::new([config, set])
    }

    // workload 63: the DaemonSet
    #[tokio::test(start_paused = true)]
    async fn a_daemon_set_whose_generation_is_not_recorded_is_written_once() {
        let entry = |name, generation| {
            json!({"group": "apps", "resource": "daemonsets", "namespace": names::NAMESPACE, "name": name,
                "lastGeneration": generation})
        };
        for (generations, writes) in [
            (json!(null), 1),
            (json!([]), 1),
            (json!([entry("other", GENERATION)]), 1),
            (json!([entry(names::NODE_CA, -1)]), 1),
            (json!([entry(names::NODE_CA, GENERATION - 1)]), 1),
            (json!([entry("other", 9), entry(names::NODE_CA, GENERATION)]), 0),
        ] {
            let cluster = cluster(&generations);
            for expected in [writes, 0] {
                pass(&cluster.context).await.unwrap();
                let sent = cluster.writes("/daemonsets/");
                assert_eq!(sent.len(), expected, "{generations}: {sent:?}");
            }
            let set = ObjectRef::new(Kind::DaemonSet, names::NAMESPACE, names::NODE_CA);
            let recorded = cluster.context.shared.generations().remove(&set);
            assert_eq!(recorded, (writes == 1).then_some(GENERATION), "{generations}");
        }
    }
}
