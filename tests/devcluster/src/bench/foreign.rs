//! Objects that are not ours, in great number.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::subject::NAMESPACE;

/// Requests under way at the same time.
const PARALLEL: usize = 24;

/// Creates `count` Secrets, ConfigMaps and ImageStreams each: a third in the operator's own namespace, a third in one that
/// it reads, a third in one that it does not look at. They are as large as such objects are: Secrets and maps hold 2 kB,
/// ImageStreams five tags.
pub(super) async fn create(client: &Client, count: usize) -> Result<()> {
    let image_streams = GroupVersionKind::gvk("image.openshift.io", "v1", "ImageStream");
    let core = |kind: &str| ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
    let kinds = [
        (core("Secret"), json!({ "data": { "key": "QUFB".repeat(500) } })),
        (core("ConfigMap"), json!({ "data": { "key": "text".repeat(500) } })),
        (ApiResource::from_gvk(&image_streams), image_stream()),
    ];
    for (resource, content) in &kinds {
        let created = stream::iter(0..count).map(|number| {
            let namespace = [NAMESPACE, "openshift-config", "default"][number % 3];
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
            let name = format!("foreign-{number}");
            let object = object(resource, content, &name);
            let status = content
                .get("status")
                .map(|status| Patch::Merge(json!({ "status": status })));
            async move {
                api.create(&PostParams::default(), &serde_json::from_value(object)?)
                    .await?;
                if let Some(status) = status {
                    api.patch_status(&name, &PatchParams::default(), &status).await?;
                }
                anyhow::Ok(())
            }
        });
        created.buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
        tracing::info!("{count} foreign objects: {}", resource.kind);
    }
    Ok(())
}

fn object(resource: &ApiResource, content: &Value, name: &str) -> Value {
    let mut object = content.clone();
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind);
    object["metadata"] = json!({ "name": name });
    object
}

fn image_stream() -> Value {
    let names = ["latest", "v1", "v2", "v3", "v4"];
    let image = json!({
        "created": "2025-01-02T03:04:05Z",
        "dockerImageReference": format!("registry.example/team/app@sha256:{}", "0a".repeat(32)),
        "image": format!("sha256:{}", "0a".repeat(32)),
        "generation": 1,
    });
    let wanted: Vec<Value> = names[..2].iter().map(|name| json!({ "name": name })).collect();
    let there: Vec<Value> = names
        .iter()
        .map(|name| json!({ "tag": name, "items": [image] }))
        .collect();
    json!({ "spec": { "tags": wanted }, "status": { "dockerImageRepository": "", "tags": there } })
}
