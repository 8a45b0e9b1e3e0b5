//! DaemonSet `node-ca`, in every managementState: nodes must be able to pull also while the registry is not ours to run.

use std::time::Duration;

use super::secondary::{self, Failure, Telling};
use super::{Context, RESYNC};
use crate::api::{Kind, ObjectRef};
use crate::apply::{self, Recorded};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, Plan};
use crate::status::config_status::recorded_generation;
use crate::status::node_ca;

const CONDITION: &str = "NodeCADaemonControllerDegraded";

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    secondary::run(context, Controller::NodeCa, "nodeca", Telling::Lasting(CONDITION), pass).await;
}

async fn pass(context: &Context) -> Result<Duration, Failure> {
    let snapshot = context.world.snapshot();
    let desired = plan::node_ca(&snapshot.environment);
    let reference = desired.reference.clone();
    let plan = Plan {
        present: vec![desired],
        ..Plan::default()
    };
    let report = apply::apply(
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
        context.board.record(object.clone(), *generation);
    }
    context.tell(report.notices);
    let objects = context.world.snapshot().objects;
    context.post(node_ca::judge(Ok(objects.find(&reference).map(AsRef::as_ref))));
    if report.failures.is_empty() {
        Ok(RESYNC)
    } else {
        Err(Failure::Failed(report.failures.join("; ")))
    }
}

/// The generation of our last write: of this process, else the one in the Config's status.
struct Generations<'a> {
    context: &'a Context,
    snapshot: &'a Snapshot,
}

impl Recorded for Generations<'_> {
    fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let own = self.context.board.generations().get(object).copied();
        own.or_else(|| {
            let config = self.snapshot.objects.cluster(Kind::Config, names::CLUSTER)?;
            let stored = serde_json::from_value::<Vec<_>>(config.pointer("/status/generations")?.clone()).ok()?;
            Some(recorded_generation(&stored, object)).filter(|generation| *generation >= 0)
        })
    }
}
