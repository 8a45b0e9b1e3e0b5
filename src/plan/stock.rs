//! Objects that only the stock registry has: its configuration file, its users, and a login for pods.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::certificates::own_keys;
use super::{Desired, Drift, Inputs, Plan, htpasswd, operand, owned, secret, service};
use crate::api::{Kind, ObjectRef, Sensitive};
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::resolve::{Login, Resolved};
use crate::config::snapshot::{Objects, Snapshot};
use crate::names::{self, Program};

/// Key of the configuration file in its ConfigMap.
pub(super) const CONFIG_FILE: &str = "config.yml";
/// Key of a login in a Secret of its type.
const LOGIN_KEY: &str = ".dockerconfigjson";
const LOGIN_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// What is the same for every registry. All else comes from the environment, which goes before this file: variable
/// `REGISTRY_STORAGE` replaces the whole section `storage`, so that cache and deletion are variables too.
const CONFIGURATION: &str = "\
version: 0.1
log:
  accesslog:
    disabled: false
  formatter: text
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 1
";

/// Plans the objects. The Secret with the users is not among them: the operator creates it once, and never writes it again.
pub(super) fn plan(inputs: &Inputs<'_>, plan: &mut Plan) {
    if inputs.snapshot.environment.program != Program::Distribution {
        return;
    }
    plan.present.push(configuration());
    plan_users(&inputs.snapshot.objects, plan);
    plan_login(inputs.resolved, &inputs.snapshot.objects, plan);
    if inputs.resolved.login == Login::Nowhere && !inputs.resolved.routes.is_empty() {
        plan.events.push(exposed());
    }
}

fn configuration() -> Desired {
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::REGISTRY_CONFIG_MAP, "namespace": names::NAMESPACE, "labels": labels()},
        "data": {CONFIG_FILE: CONFIGURATION},
    });
    Desired::new(Kind::ConfigMap, Drift::Whole(&["data", "binaryData"]), body).with_immutable(&["/immutable"])
}

fn labels() -> Value {
    json!({names::STOCK_LABEL: names::STOCK_LABEL_VALUE})
}

/// Whether the operator made the object for the stock registry.
pub(super) fn is_own(object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels");
    let value = labels.and_then(|labels| labels.get(names::STOCK_LABEL));
    value.and_then(Value::as_str) == Some(names::STOCK_LABEL_VALUE)
}

/// The objects that a removal deletes if the operator made them.
pub(super) fn generated() -> [ObjectRef; 4] {
    [
        operand(Kind::ConfigMap, names::REGISTRY_CONFIG_MAP),
        operand(Kind::Secret, names::HTPASSWD_COPY),
        operand(Kind::Secret, names::LOGIN_SECRET),
        operand(Kind::Secret, names::HTPASSWD_SECRET),
    ]
}

/// The copy of the users that the pods mount. It stays as it is while the Secret has a line that the registry must not get.
fn plan_users(objects: &Objects, plan: &mut Plan) {
    let name = names::HTPASSWD_SECRET;
    let Some(source) = objects.operand(Kind::Secret, name) else {
        return;
    };
    let problem = match content::secret_text(source, names::HTPASSWD_KEY) {
        None => format!("has no key {}", names::HTPASSWD_KEY),
        Some(Err(_)) => format!("has a value under {} that is not text", names::HTPASSWD_KEY),
        Some(Ok(text)) => match htpasswd::check(&text) {
            Ok(()) => {
                plan.present.push(users(names::HTPASSWD_COPY, &text));
                return;
            }
            Err(fault) => format!("is refused: {fault}"),
        },
    };
    let message = format!(
        "Secret {}/{name} {problem}. Until it is corrected the registry keeps the users that it has",
        names::NAMESPACE
    );
    plan.fail(Kind::Secret, name, message);
}

fn labelled(name: &str, type_: &str, data: &Value) -> Desired {
    let mut desired = secret::secret(name, type_, data);
    desired.body["metadata"]["labels"] = labels();
    desired
}

/// A new Secret with users.
pub fn users_secret(text: &str) -> Value {
    users(names::HTPASSWD_SECRET, text).body
}

fn users(name: &str, text: &str) -> Desired {
    labelled(name, "Opaque", &json!({names::HTPASSWD_KEY: secret::encoded(text)}))
}

/// A new Secret with a login, for the host that every cluster has.
pub fn login_secret(account: &Account) -> Value {
    login_body(account, &[service::address()].into()).body
}

fn login_body(account: &Account, hosts: &BTreeSet<String>) -> Desired {
    let Account { user, password } = account;
    let auth = STANDARD.encode(format!("{user}:{}", password.expose()));
    let entry = json!({"username": user, "password": password.expose(), "auth": auth});
    let auths: BTreeMap<&String, &Value> = hosts.iter().map(|host| (host, &entry)).collect();
    let text = json!({"auths": auths}).to_string();
    labelled(
        names::LOGIN_SECRET,
        LOGIN_TYPE,
        &json!({LOGIN_KEY: secret::encoded(&text)}),
    )
}

/// A user of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Sensitive,
}

/// The Secret with the login, if the operator made it.
fn own_login(objects: &Objects) -> Option<&Value> {
    let secret = objects.operand(Kind::Secret, names::LOGIN_SECRET);
    secret.filter(|secret| is_own(secret))
}

/// The user in the operator's login; `None` if the login has none. An entry for a host of others is never that: its password would replace
/// the registry's, and go to the registry.
fn account(login: &Value, hosts: &BTreeSet<String>) -> Option<Account> {
    let text = content::secret_text(login, LOGIN_KEY)?.ok()?;
    let document: Value = serde_json::from_str(&text).ok()?;
    let entries = document.get("auths")?;
    let first = service::address();
    std::iter::once(&first).chain(hosts).find_map(|host| {
        let entry = entries.get(host)?;
        plain(entry).or_else(|| encoded(entry))
    })
}

fn plain(entry: &Value) -> Option<Account> {
    let member = |name: &str| content::text(entry.get(name));
    Some(Account {
        user: member("username")?.to_owned(),
        password: Sensitive::new(member("password")?),
    })
}

/// Programs that rewrite a login keep `auth` alone.
fn encoded(entry: &Value) -> Option<Account> {
    let bytes = STANDARD.decode(content::text(entry.get("auth"))?).ok()?;
    let text = Sensitive::new(String::from_utf8(bytes).ok()?);
    let (user, password) = text.expose().split_once(':')?;
    (!user.is_empty() && !password.is_empty()).then(|| Account {
        user: user.to_owned(),
        password: Sensitive::new(password),
    })
}

/// The login, for all hosts of the registry.
fn plan_login(resolved: &Resolved, objects: &Objects, plan: &mut Plan) {
    let name = names::LOGIN_SECRET;
    let Some(login) = own_login(objects) else { return };
    let hosts = hosts(resolved, objects);
    match account(login, &hosts) {
        Some(_) if hosts.is_empty() => {}
        Some(account) => plan.present.push(login_body(&account, &hosts)),
        None => {
            let message = format!(
                "Secret {}/{name} has no user and password for a host of the registry: delete Secret {name} to get a new login",
                names::NAMESPACE
            );
            plan.fail(Kind::Secret, name, message);
        }
    }
}

/// Names and addresses of the Service with its port, and the hosts of the routes.
fn hosts(resolved: &Resolved, objects: &Objects) -> BTreeSet<String> {
    let names = own_keys(objects).into_iter().map(|key| key.replace("..", ":"));
    let service = objects.operand(Kind::Service, names::REGISTRY);
    let addresses = service.and_then(|service| service.pointer("/spec/clusterIPs")?.as_array());
    let addresses = addresses.into_iter().flatten().filter_map(Value::as_str);
    let addresses = addresses.map(|address| {
        let is_ipv6 = address.contains(':');
        let address = if is_ipv6 {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        format!("{address}:{}", names::REGISTRY_PORT)
    });
    let wanted = resolved.routes.iter().filter_map(|route| route.host.clone());
    let live = owned::hosts(objects);
    names.chain(addresses).chain(wanted).chain(live).collect()
}

/// What is missing for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Nothing,
    /// Both Secrets: a new password.
    Everything,
    /// The users. The login has the password.
    Users(Account),
    /// The login. A new user is added to these users, under this name: the old passwords are known to nobody but their owners.
    Login {
        /// The users that there are.
        users: Sensitive,
        /// Name of the new user.
        user: String,
    },
    /// The users; and the login is not the operator's.
    Foreign,
}

/// What is missing for a login. What somebody else made is never completed.
pub fn missing(resolved: &Resolved, objects: &Objects) -> Missing {
    let secret = |name| objects.operand(Kind::Secret, name);
    match (secret(names::HTPASSWD_SECRET), secret(names::LOGIN_SECRET)) {
        (None, None) => Missing::Everything,
        (None, Some(login)) if is_own(login) => {
            let account = account(login, &hosts(resolved, objects));
            // The plan says what to do about a login without a password.
            account.map_or(Missing::Nothing, Missing::Users)
        }
        (None, Some(_)) => Missing::Foreign,
        (Some(users), None) if is_own(users) => {
            let text = content::secret_text(users, names::HTPASSWD_KEY).and_then(Result::ok);
            // A faulty file is its owner's to correct first.
            let valid = text.filter(|text| htpasswd::check(text).is_ok());
            valid.map_or(Missing::Nothing, |users| Missing::Login {
                user: htpasswd::free_user(&users),
                users: Sensitive::new(users),
            })
        }
        _ => Missing::Nothing,
    }
}

/// Whether the pods would have no users to ask for: there is no valid Secret yet, and no copy of an earlier one.
pub(super) fn has_no_users(snapshot: &Snapshot, plan: &Plan) -> bool {
    let name = names::HTPASSWD_COPY;
    snapshot.objects.operand(Kind::Secret, name).is_none() && plan.desired(Kind::Secret, name).is_none()
}

fn exposed() -> EventRequest {
    EventRequest {
        warning: true,
        reason: "ExposedWithoutLogin",
        message: format!(
            "annotation {} is exposed: everybody who reaches a route of the registry can push and pull without a login",
            names::ANONYMOUS_ANNOTATION
        ),
    }
}

#[cfg(test)]
mod tests;
