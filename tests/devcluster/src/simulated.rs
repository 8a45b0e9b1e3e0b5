//! Simulated nodes: kwok sets the status of nodes and pods, nothing runs.

use crate::{Options, control_plane::Start, files, slot};
use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

const STAGES: [&str; 2] = [include_str!("../stages/node.yaml"), include_str!("../stages/pod.yaml")];
/// Marks the nodes that kwok keeps; also the key of the taint where real nodes are beside them.
const ANNOTATION: &str = "kwok.x-k8s.io/node";

/// Starts kwok.
pub(crate) fn start(start: &Start<'_>) -> Result<()> {
    let stages = start.layout.root().join("stages.yaml");
    files::write(&stages, STAGES.join("\n---\n"))?;
    let port = start.ports.kwok;
    start.spawn(
        "kwok",
        [
            format!("--kubeconfig={}", start.layout.kubeconfig("kwok").display()),
            format!("--config={}", stages.display()),
            "--manage-all-nodes=false".into(),
            format!("--manage-nodes-with-annotation-selector={ANNOTATION}=fake"),
            "--node-lease-duration-seconds=40".into(),
            "--node-ip=127.0.0.1".into(),
            format!("--node-port={port}"),
            format!("--server-address=127.0.0.1:{port}"),
            format!("--cidr={}", start.record.slot.pods_of(slot::MAX_REAL_NODES)),
        ],
    )
}

/// Names of the simulated nodes.
pub(crate) fn names(options: &Options) -> Vec<String> {
    (1..=options.simulated_nodes)
        .map(|number| format!("simulated{number}"))
        .collect()
}

/// Creates the Node objects; kwok then makes them Ready.
pub(crate) async fn create(client: &Client, options: &Options) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let nodes = names(options).into_iter().map(|name| {
        // With real nodes, pods must not land on a simulated one by accident.
        let taints = if options.real_nodes > 0 {
            json!([{ "key": ANNOTATION, "value": "fake", "effect": "NoSchedule" }])
        } else {
            json!([])
        };
        serde_json::from_value::<Node>(json!({
            "metadata": {
                "name": name,
                "annotations": { ANNOTATION: "fake" },
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "node-role.kubernetes.io/master": "",
                    "node-role.kubernetes.io/control-plane": "",
                    "node-role.kubernetes.io/worker": "",
                },
            },
            "spec": { "taints": taints },
        }))
    });
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    let parameters = PostParams::default();
    try_join_all(nodes.iter().map(|node| api.create(&parameters, node))).await?;
    Ok(())
}
