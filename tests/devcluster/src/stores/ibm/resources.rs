//! Resource Manager and Resource Controller.
//!
//! Source: API references "Resource Manager" and "Resource Controller" of IBM Cloud.

use super::super::Reply;
use super::super::asked::Asked;
use super::super::form::unescape;
use super::super::wire::Keys;
use super::reply;
use super::state::{Group, PLAN, State, Token};
use hyper::Method;
use serde_json::{Value, json};

/// Entries of a page, unless the request says otherwise.
const PAGE: usize = 10;

/// `/v2/resource_groups...`.
pub(super) fn groups(state: &State, asked: &Asked, caller: &Token, rest: &[&str]) -> Result<Reply, Reply> {
    if asked.method != Method::GET {
        return Err(reply::manager(405, "not_allowed", "Method not allowed"));
    }
    let of_account = || state.groups.iter().filter(|group| group.account == caller.account);
    match rest {
        [] => {
            let account = asked.parameter("account_id").unwrap_or_default();
            if account != caller.account {
                return Err(reply::manager(
                    403,
                    "not_authorized",
                    "You are not authorized to use this account",
                ));
            }
            let name = asked.parameter("name");
            let named = of_account().filter(|group| name.as_ref().is_none_or(|name| *name == group.name));
            let resources: Vec<Value> = named.map(group).collect();
            Ok(reply::json(200, &json!({ "resources": resources })))
        }
        [id] => {
            let found = of_account().find(|group| group.id == unescape(id)).map(group);
            let missing = || reply::manager(404, "not_found", "Resource group does not exist");
            found.map(|body| reply::json(200, &body)).ok_or_else(missing)
        }
        _ => Err(reply::manager(404, "not_found", "Not found")),
    }
}

fn group(group: &Group) -> Value {
    let Group { account, id, name } = group;
    json!({
        "id": id, "crn": format!("crn:v1:bluemix:public:resource-controller::a/{account}::resource-group:{id}"),
        "account_id": account, "name": name, "state": "ACTIVE", "default": false, "enable_reclamation": false,
        "quota_id": "quota-1", "quota_url": "/v2/quota_definitions/quota-1",
        "payment_methods_url": format!("/v2/resource_groups/{id}/payment_methods"), "resource_linkages": [],
        "teams_url": format!("/v2/resource_groups/{id}/teams"), "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
    })
}

fn not_found() -> Reply {
    reply::controller(404, "RC-ServiceBrokerErrorResponse", "The resource was not found")
}

fn bad(message: &str) -> Reply {
    reply::controller(400, "RC-BadRequest", message)
}

/// A page of a list.
fn page(asked: &Asked, path: &str, all: Vec<Value>) -> Reply {
    let limit = asked
        .parameter("limit")
        .and_then(|text| text.parse().ok())
        .unwrap_or(PAGE)
        .clamp(1, 100);
    let start = asked.parameter("start").and_then(|text| text.parse().ok()).unwrap_or(0);
    let next = start + limit < all.len();
    let next = next.then(|| format!("{path}?limit={limit}&start={}", start + limit));
    let resources: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let count = resources.len();
    reply::json(
        200,
        &json!({ "rows_count": count, "next_url": next, "resources": resources }),
    )
}

/// `/v2/resource_instances...`.
pub(super) fn instances(state: &mut State, asked: &Asked, caller: &Token, rest: &[&str]) -> Result<Reply, Reply> {
    match (asked.method.as_str(), rest) {
        ("GET", []) => Ok(list_instances(state, asked, caller)),
        ("POST", []) => create_instance(state, asked, caller),
        ("GET", [id]) => {
            let found = state
                .instance(&unescape(id))
                .filter(|one| one.account == caller.account);
            let found = found.ok_or_else(not_found)?;
            let now = found.read();
            Ok(reply::json(200, &found.json(&now)))
        }
        ("DELETE", [id]) => {
            let found = state
                .instance(&unescape(id))
                .filter(|one| one.account == caller.account);
            "pending_reclamation".clone_into(&mut found.ok_or_else(not_found)?.state);
            Ok(Reply::new(202, ""))
        }
        ("GET", [id, "resource_keys"]) => {
            let id = unescape(id);
            let crn = state.instance(&id).map(|one| one.crn.clone()).ok_or_else(not_found)?;
            let keys = state
                .keys
                .iter()
                .filter(|key| key.instance == crn && key.state != "removed");
            let keys = keys.map(|key| key.json(caller.redacted)).collect();
            Ok(page(asked, &asked.path, keys))
        }
        _ => Err(not_found()),
    }
}

fn list_instances(state: &mut State, asked: &Asked, caller: &Token) -> Reply {
    let is = |name: &str, value: &str| asked.parameter(name).is_none_or(|wanted| wanted == value);
    let wanted = asked.parameter("state");
    let found = state.instances.iter_mut().filter(|one| {
        let shown = one.account == caller.account && one.is_listed(wanted.as_deref());
        shown && is("name", &one.name) && is("resource_group_id", &one.group) && is("resource_plan_id", PLAN)
    });
    let found = found.map(|one| {
        let now = one.read();
        one.json(&now)
    });
    page(asked, "/v2/resource_instances", found.collect())
}

fn create_instance(state: &mut State, asked: &Asked, caller: &Token) -> Result<Reply, Reply> {
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| bad("Invalid JSON"))?;
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let required = |name: &str| text(name).ok_or_else(|| bad(&format!("{name} is required")));
    let (name, group) = (required("name")?.to_owned(), required("resource_group")?.to_owned());
    if required("target")? != "bluemix-global" && required("target")? != "global" {
        return Err(bad("The target is not valid for the plan"));
    }
    if required("resource_plan_id")? != PLAN {
        return Err(bad("The plan does not exist"));
    }
    let known = |one: &Group| one.account == caller.account && one.id == group;
    if !state.groups.iter().any(known) {
        return Err(reply::controller(
            404,
            "RC-ResourceGroupNotFound",
            "The resource group was not found",
        ));
    }
    let mut created = state.add_instance(&caller.account, &name, &group, body);
    let now = created.read();
    Ok(reply::json(201, &created.json(&now)))
}

/// What a request for a resource key asks for.
pub(super) struct Wanted {
    pub name: String,
    pub instance: String,
    pub role: String,
    pub hmac: bool,
}

/// `POST /v2/resource_keys`: what is asked for, if it may be.
pub(super) fn wanted_key(state: &mut State, asked: &Asked, caller: &Token) -> Result<Wanted, Reply> {
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| bad("Invalid JSON"))?;
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let name = text("name").ok_or_else(|| bad("name is required"))?.to_owned();
    let source = text("source").ok_or_else(|| bad("source is required"))?;
    let instance = state.instance(source).filter(|one| one.account == caller.account);
    let instance = instance.ok_or_else(not_found)?;
    if instance.pending > 0 || instance.state != "active" {
        return Err(reply::controller(
            422,
            "RC-InstanceNotActive",
            "The instance is not active",
        ));
    }
    let crn = instance.crn.clone();
    let has_hmac = |parameters: &Value| parameters["HMAC"].as_bool().unwrap_or_default();
    Ok(Wanted {
        name,
        instance: crn,
        role: text("role").unwrap_or("Writer").to_owned(),
        hmac: has_hmac(&body["parameters"]),
    })
}

/// Makes the resource key.
pub(super) fn add_key(state: &mut State, wanted: &Wanted, hmac: Option<Keys>) -> Result<Reply, Reply> {
    let instance = state.instance(&wanted.instance).cloned().ok_or_else(not_found)?;
    let key = state.add_key(&instance, &wanted.name, &wanted.role, hmac);
    Ok(reply::json(201, &key.json(false)))
}

/// `/v2/resource_keys...`, except for the creation of one.
pub(super) fn keys(state: &mut State, asked: &Asked, caller: &Token, rest: &[&str]) -> Result<Reply, Reply> {
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            let name = asked.parameter("name");
            let named = state
                .keys
                .iter()
                .filter(|key| key.account == caller.account && name.as_ref().is_none_or(|name| *name == key.name));
            let keys = named.map(|key| key.json(caller.redacted)).collect();
            Ok(page(asked, "/v2/resource_keys", keys))
        }
        ("GET", [id]) => {
            let found = state.key(&unescape(id)).filter(|key| key.account == caller.account);
            Ok(reply::json(200, &found.ok_or_else(not_found)?.json(caller.redacted)))
        }
        ("DELETE", [id]) => {
            let found = state.key(&unescape(id)).filter(|key| key.account == caller.account);
            "removed".clone_into(&mut found.ok_or_else(not_found)?.state);
            Ok(Reply::new(204, ""))
        }
        _ => Err(not_found()),
    }
}
