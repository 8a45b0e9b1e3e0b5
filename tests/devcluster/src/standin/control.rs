//! Lets a test hold a stand-in back, or have the router refuse a Route: to delay an input of the operator and release it
//! later. The wish is a ConfigMap in the cluster, so it also reaches stand-ins that run in another process.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::StandIn;
use super::cache::{Cache, Kind, annotation, text};
use super::write::Write;

/// Where the wish lives.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "devcluster-standins";
const HOLD: &str = "hold";
const REFUSE: &str = "refuse-routes";
/// The stand-ins' answer: the wish that they act by.
const OBSERVED: &str = "devcluster/observed";
const PATIENCE: Duration = Duration::from_secs(20);

/// What stand-ins are to leave undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// These stand-ins write nothing.
    pub hold: BTreeSet<StandIn>,
    /// The router does not admit these Routes, given as `namespace/name`.
    pub refuse_routes: BTreeSet<String>,
}

impl Control {
    /// A wish that holds these stand-ins.
    pub fn hold(stand_ins: impl IntoIterator<Item = StandIn>) -> Self {
        Self {
            hold: stand_ins.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Makes this the wish, in place of an earlier one, and waits until the running stand-ins act by it: a held one has
    /// ended what it was doing, a released one has done what there was to do.
    pub async fn set(&self, client: &Client) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": {HOLD: self.hold_text(), REFUSE: self.refuse_text()},
        });
        api.patch(
            NAME,
            &PatchParams::apply("devcluster-control").force(),
            &Patch::Apply(body),
        )
        .await?;
        let wish = self.to_string();
        let heeded = |map: Option<&ConfigMap>| {
            let annotations = map.and_then(|map| map.metadata.annotations.as_ref());
            annotations.and_then(|annotations| annotations.get(OBSERVED)) == Some(&wish)
        };
        tokio::time::timeout(PATIENCE, await_condition(api, NAME, heeded))
            .await
            .context("no stand-ins heed their control ConfigMap: are they running?")??;
        Ok(())
    }

    /// The wish in force.
    pub(super) fn read(cache: &Cache) -> Self {
        let list = |key: &str| {
            let map = wish(cache);
            let words = map
                .and_then(|map| text(map, &format!("/data/{key}")))
                .unwrap_or_default();
            words
                .split(',')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        let held = list(HOLD);
        Self {
            hold: StandIn::ALL
                .into_iter()
                .filter(|stand_in| held.contains(stand_in.name()))
                .collect(),
            refuse_routes: list(REFUSE),
        }
    }

    /// Tells the test that its wish is heeded; for the end of a pass that acted by it.
    pub(super) fn acknowledge(&self, cache: &Cache) -> Option<Write> {
        let map = wish(cache)?;
        let answer = self.to_string();
        (annotation(map, OBSERVED) != Some(&answer)).then(|| {
            let body = json!({"metadata": {"annotations": {OBSERVED: answer}}});
            Write::merge(StandIn::Control, Kind::ConfigMap, map, body)
        })
    }

    pub(super) fn holds(&self, stand_in: StandIn) -> bool {
        self.hold.contains(&stand_in)
    }

    fn hold_text(&self) -> String {
        self.hold
            .iter()
            .map(|stand_in| stand_in.name())
            .collect::<Vec<_>>()
            .join(",")
    }

    fn refuse_text(&self) -> String {
        self.refuse_routes
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{HOLD}={};{REFUSE}={}", self.hold_text(), self.refuse_text())
    }
}

fn wish(cache: &Cache) -> Option<&DynamicObject> {
    cache.get(Kind::ConfigMap, NAMESPACE, NAME)
}

#[cfg(test)]
mod tests {
    use super::super::cache::fixture::cache;
    use super::*;

    #[test]
    fn a_wish_survives_its_way_through_the_cluster_and_is_acknowledged_once() {
        let mut control = Control::hold([StandIn::ServingCertificate, StandIn::TrustedCaBundle]);
        control.refuse_routes.insert("zone-q/quux".to_owned());
        let mut map = json!({
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {HOLD: control.hold_text(), REFUSE: control.refuse_text()},
        });
        let asked = cache([(Kind::ConfigMap, map.clone())]);
        assert_eq!(Control::read(&asked), control);
        assert!(control.acknowledge(&asked).is_some());
        map["metadata"]["annotations"] = json!({OBSERVED: control.to_string()});
        assert!(control.acknowledge(&cache([(Kind::ConfigMap, map)])).is_none());
    }

    #[test]
    fn without_a_wish_nothing_is_held() {
        assert_eq!(Control::read(&cache([])), Control::default());
        assert!(Control::default().acknowledge(&cache([])).is_none());
    }
}
