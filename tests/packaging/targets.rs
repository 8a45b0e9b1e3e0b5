//! The targets of ServiceMonitors, as Prometheus Operator and the service discovery of Prometheus find them: ServiceMonitor to
//! Services by label, Service to its EndpointSlices, and of those the ready endpoints at the port of that name.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::support::TestCluster;

fn monitors(cluster: &TestCluster, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor");
    let resource = ApiResource::from_gvk_with_plural(&kind, "servicemonitors");
    Api::namespaced_with(cluster.client.clone(), namespace, &resource)
}

/// Address and port of each target of a ServiceMonitor.
pub async fn targets(cluster: &TestCluster, namespace: &str, name: &str) -> Vec<String> {
    let monitor = monitors(cluster, namespace).get(name).await.unwrap();
    let spec = &monitor.data["spec"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let namespaces = match spec["namespaceSelector"]["matchNames"].as_array() {
        Some(names) => names.iter().map(text).collect(),
        None => vec![namespace.to_owned()],
    };
    assert!(spec["selector"]["matchExpressions"].is_null());
    let labels = spec["selector"]["matchLabels"].as_object().unwrap();
    let selector: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        let services: Api<Service> = Api::namespaced(cluster.client.clone(), &namespace);
        let services = services
            .list(&ListParams::default().labels(&selector.join(",")))
            .await
            .unwrap();
        for service in services {
            let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), &namespace);
            let of_it = format!("kubernetes.io/service-name={}", service.metadata.name.unwrap());
            for slice in slices.list(&ListParams::default().labels(&of_it)).await.unwrap() {
                found.extend(in_slice(&slice, spec["endpoints"].as_array().unwrap()));
            }
        }
    }
    found
}

fn in_slice(slice: &EndpointSlice, endpoints: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let wanted = endpoint["port"].as_str();
        let ports = slice
            .ports
            .iter()
            .flatten()
            .filter(|port| port.name.as_deref() == wanted);
        for port in ports {
            let ready = slice
                .endpoints
                .iter()
                .filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true)));
            found.extend(
                ready
                    .flat_map(|e| &e.addresses)
                    .map(|address| format!("{address}:{}", port.port.unwrap())),
            );
        }
    }
    found
}
