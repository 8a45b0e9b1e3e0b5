//! The plan of the registry's objects.

use super::model::{Inputs, Plan};
use super::{deployment, disruption, network, outside, rbac, secret, service, stock};
use crate::names::Program;

/// All objects of the registry, in the order in which they are applied: RBAC objects and ServiceAccount, Secrets, Service,
/// Deployment, PodDisruptionBudget, NetworkPolicy, Routes or what takes their place.
pub fn registry(inputs: &Inputs<'_>) -> Plan {
    let mut plan = Plan::default();
    // The stock registry never asks the API server.
    if inputs.snapshot.environment.program == Program::Platform {
        plan.present
            .extend([rbac::cluster_role(), rbac::cluster_role_binding()]);
    }
    plan.present.push(rbac::service_account());
    secret::plan_pull_secret(inputs.snapshot, &mut plan);
    plan.present.extend(inputs.storage.facts().map(secret::private));
    stock::plan(inputs, &mut plan);
    let mut service = service::service(&inputs.snapshot.objects);
    outside::annotate(inputs, &mut service);
    plan.present.push(service);
    let scale = deployment::Scale::of(inputs);
    deployment::plan(inputs, scale.as_ref(), &mut plan);
    plan.present.push(disruption::budget(
        scale.map_or(inputs.resolved.replicas, |scale| scale.replicas),
    ));
    plan.present
        .push(network::registry(inputs.snapshot.environment.program));
    outside::plan(inputs, &mut plan);
    plan
}

/// One message for each object of the plan that the operator does not write because another owner has the live object.
pub fn conflicts(plan: &Plan) -> Vec<String> {
    plan.present
        .iter()
        .filter_map(|desired| desired.refused.clone())
        .collect()
}
