//! ClusterRole, ClusterRoleBinding and ServiceAccount of the registry's pods.

use serde_json::json;

use super::{Desired, Drift};
use crate::api::Kind;
use crate::names;

/// Permissions of the registry. The operator's own ClusterRole must contain each of them: Kubernetes refuses to grant others.
pub(super) fn cluster_role() -> Desired {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": names::REGISTRY_CLUSTER_ROLE},
        "rules": [
            {"apiGroups": [""], "resources": ["limitranges", "resourcequotas"], "verbs": ["list"]},
            {
                "apiGroups": ["image.openshift.io"],
                "resources": ["imagestreamimages", "imagestreams/layers", "imagestreams/secrets"],
                "verbs": ["get"],
            },
            {"apiGroups": ["image.openshift.io"], "resources": ["imagestreams"], "verbs": ["get", "update"]},
            {"apiGroups": ["image.openshift.io"], "resources": ["imagestreamtags"], "verbs": ["delete"]},
            {"apiGroups": ["image.openshift.io"], "resources": ["images"], "verbs": ["get", "update", "create"]},
            {"apiGroups": ["image.openshift.io"], "resources": ["imagestreammappings"], "verbs": ["create"]},
            {"apiGroups": ["operator.openshift.io"], "resources": ["imagecontentsourcepolicies"], "verbs": ["list"]},
            {
                "apiGroups": ["config.openshift.io"],
                "resources": ["imagedigestmirrorsets", "imagetagmirrorsets"],
                "verbs": ["list"],
            },
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ],
    });
    Desired::new(Kind::ClusterRole, ROLE_DRIFT, body)
}

/// Owns `aggregationRule` too, which must be absent: with one, a controller would overwrite the rules.
pub(super) const ROLE_DRIFT: Drift = Drift::Whole(&["rules", "aggregationRule"]);

/// Grants the registry's ClusterRole to its ServiceAccount.
pub(super) fn cluster_role_binding() -> Desired {
    binding(
        names::REGISTRY_CLUSTER_ROLE_BINDING,
        names::REGISTRY_CLUSTER_ROLE,
        names::REGISTRY_SERVICE_ACCOUNT,
    )
}

/// The ServiceAccount of the registry's pods.
pub(super) fn service_account() -> Desired {
    account(names::REGISTRY_SERVICE_ACCOUNT)
}

/// A ClusterRoleBinding of one ServiceAccount. `roleRef` is immutable: if it differs, the binding is created again.
pub(super) fn binding(name: &str, role: &str, account: &str) -> Desired {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": names::NAMESPACE}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    });
    Desired::new(Kind::ClusterRoleBinding, Drift::Whole(&["subjects", "roleRef"]), body).with_immutable(&["/roleRef"])
}

/// A ServiceAccount. The platform's controllers own `secrets` and `imagePullSecrets`; the operator never writes them.
pub(super) fn account(name: &str) -> Desired {
    let body = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": names::NAMESPACE},
    });
    Desired::new(Kind::ServiceAccount, Drift::Whole(&[]), body)
}
