//! Instance metadata: tokens for the managed identities of a virtual machine.
//!
//! Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token

use super::reply;
use super::state::{State, now};
use crate::stores::Reply;
use crate::stores::asked::Asked;
use serde_json::json;

pub(super) fn answer(state: &mut State, asked: &Asked) -> Reply {
    if asked.path != "/metadata/identity/oauth2/token" {
        return Reply::new(404, "");
    }
    let refuse = |status, error: &str, description: &str| {
        reply::json(status, &json!({ "error": error, "error_description": description }))
    };
    if asked.header("metadata") != Some("true") {
        return refuse(400, "invalid_request", "Required metadata header not specified");
    }
    let given = |name: &str| asked.parameter(name).unwrap_or_default();
    if given("api-version").as_str() < "2018-02-01" {
        return refuse(
            400,
            "invalid_request",
            "Required query variable 'api-version' is missing",
        );
    }
    let wanted = given("client_id");
    let identity = state
        .assigned
        .iter()
        .find(|one| wanted.is_empty() || **one == wanted)
        .cloned();
    let tenant = identity.as_ref().and_then(|one| state.applications.get(one));
    let tenant = tenant.map(|application| application.tenant.clone());
    let (Some(identity), Some(tenant)) = (identity, tenant) else {
        return refuse(400, "invalid_request", "Identity not found");
    };
    let resource = given("resource");
    let audience = resource.strip_suffix('/').unwrap_or(&resource).to_owned();
    let (token, seconds) = state.issue(&identity, &tenant, &audience);
    reply::json(
        200,
        &json!({
            "access_token": token,
            "client_id": identity,
            "expires_in": seconds.to_string(),
            "expires_on": (now() + seconds).to_string(),
            "not_before": now().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }),
    )
}
