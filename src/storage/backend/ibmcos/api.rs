//! Calls of Resource Controller and Resource Manager.

use std::sync::Arc;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::endpoint::Endpoints;
use super::error::{self, Call};
use super::identity::Iam;
use super::resource::{Group, Instance, Page, ResourceKey, account_of_crn};
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::net::clock::Clock;
use crate::storage::net::error::Unredacted;
use crate::storage::net::percent::encoded;
use crate::storage::net::retry::Policy;
use crate::storage::net::transport::{Request, Response, Transport};

/// Plan Standard of Cloud Object Storage.
const PLAN: &str = "744bfc56-d12c-4866-88d5-dac9139e0e5d";
/// Where instances of Cloud Object Storage are.
const TARGET: &str = "bluemix-global";
/// Role of the resource key.
const WRITER: &str = "crn:v1:bluemix:public:iam::::serviceRole:Writer";
/// Largest number of pages of a list.
const PAGES: usize = 50;

const VIEW_GROUPS: &str = "role Viewer on the resource group (GET /v2/resource_groups)";
const VIEW_INSTANCES: &str = "role Viewer on service cloud-object-storage (GET /v2/resource_instances)";
const CREATE_INSTANCE: &str = "role Editor on service cloud-object-storage (POST /v2/resource_instances)";
const VIEW_KEYS: &str = "role Viewer on service cloud-object-storage (GET /v2/resource_keys)";
const CREATE_KEY: &str = "role Editor on service cloud-object-storage (POST /v2/resource_keys)";

/// Resource Controller and Resource Manager, with one API key.
pub struct Api {
    /// Tokens.
    pub iam: Arc<Iam>,
    /// Connections.
    pub transport: Transport,
    /// Addresses.
    pub endpoints: Endpoints,
    /// Time and sleep.
    pub clock: Clock,
    /// Whether this process still leads.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Api {
    /// Resource groups of this name.
    pub async fn groups(&self, name: &str) -> Called<Vec<Group>> {
        let account = self.iam.account().await?;
        let path = format!(
            "/v2/resource_groups?account_id={}&name={}",
            encoded(&account),
            encoded(name)
        );
        self.list(VIEW_GROUPS, name, &self.endpoints.manager, path).await
    }

    /// A resource group.
    pub async fn group(&self, id: &str) -> Called<Group> {
        let url = format!("{}/v2/resource_groups/{}", self.endpoints.manager, encoded(id));
        self.read(VIEW_GROUPS, id, url).await
    }

    /// A service instance; `None` if it does not exist.
    ///
    /// # Errors
    /// The call failed; or the service does not show the instance and the API key is of another account, so that this proves
    /// nothing.
    pub async fn instance(&self, crn: &str) -> Called<Option<Instance>> {
        let url = format!("{}/v2/resource_instances/{}", self.endpoints.controller, encoded(crn));
        match self.read(VIEW_INSTANCES, crn, url).await {
            Ok(instance) => Ok(Some(instance)),
            Err(error) if error.class == CallClass::NotFound => {
                let account = self.iam.account().await?;
                match account_of_crn(crn) {
                    Some(owner) if owner == account => Ok(None),
                    owner => Err(error::other_account(crn, owner, &account)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Instances of Cloud Object Storage of this name in a resource group that have this state; without one, those that are active
    /// or being provisioned.
    pub async fn instances(&self, name: &str, group: &str, state: Option<&str>) -> Called<Vec<Instance>> {
        let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
        let path = format!(
            "/v2/resource_instances?name={}&resource_group_id={}&resource_plan_id={PLAN}{state}",
            encoded(name),
            encoded(group)
        );
        let found = self
            .list(VIEW_INSTANCES, name, &self.endpoints.controller, path)
            .await?;
        let is_named = |instance: &Instance| instance.name.as_deref() == Some(name);
        Ok(found.into_iter().filter(is_named).collect())
    }

    /// Creates an instance of Cloud Object Storage in a resource group.
    pub async fn create_instance(&self, name: &str, group: &str, infrastructure: &str) -> Called<Instance> {
        let body = json!({
            "name": name,
            "target": TARGET,
            "resource_group": group,
            "resource_plan_id": PLAN,
            // By which the platform's installer finds the instance when it destroys the cluster.
            "tags": [format!("kubernetes.io_cluster_{infrastructure}:owned")],
        });
        self.create(CREATE_INSTANCE, name, "resource_instances", &body).await
    }

    /// A resource key.
    pub async fn key(&self, crn: &str) -> Called<ResourceKey> {
        let url = format!("{}/v2/resource_keys/{}", self.endpoints.controller, encoded(crn));
        self.read(VIEW_KEYS, crn, url).await
    }

    /// Resource keys of a service instance.
    pub async fn keys(&self, instance: &str) -> Called<Vec<ResourceKey>> {
        let path = format!("/v2/resource_instances/{}/resource_keys?limit=100", encoded(instance));
        self.list(VIEW_KEYS, instance, &self.endpoints.controller, path).await
    }

    /// Creates a resource key with HMAC keys.
    pub async fn create_key(&self, name: &str, instance: &str) -> Called<ResourceKey> {
        let body = json!({
            "name": name,
            "source": instance,
            "role": WRITER,
            "parameters": {"HMAC": true},
        });
        self.create(CREATE_KEY, name, "resource_keys", &body).await
    }

    async fn read<T: DeserializeOwned>(&self, action: &'static str, resource: &str, url: String) -> Called<T> {
        let call = Call {
            action,
            resource,
            of_token: false,
        };
        let request = Request::new(Method::GET, url);
        self.decoded(call, &self.send(call, request).await?)
    }

    /// All pages of a list of the service at this address.
    async fn list<T: DeserializeOwned>(
        &self,
        action: &'static str,
        resource: &str,
        service: &str,
        path: String,
    ) -> Called<Vec<T>> {
        let garbled = |why: &str| {
            let call = Call {
                action,
                resource,
                of_token: false,
            };
            self.cleaned(error::garbled(call, why))
        };
        let mut all = Vec::new();
        let mut path = path;
        for _ in 0..PAGES {
            let page: Page<T> = self.read(action, resource, format!("{service}{path}")).await?;
            let resources = page
                .resources
                .ok_or_else(|| garbled("the list has no member resources"))?;
            all.extend(resources);
            let Some(next) = page.next_url.filter(|next| !next.is_empty()) else {
                return Ok(all);
            };
            // Another host would get the token.
            let next = next.strip_prefix(service).unwrap_or(&next);
            if !next.starts_with("/v2/") {
                return Err(garbled("the next page of the list (next_url) is at another address"));
            }
            next.clone_into(&mut path);
        }
        Err(garbled(&format!("the list has more than {PAGES} pages")))
    }

    async fn create<T: DeserializeOwned>(
        &self,
        action: &'static str,
        resource: &str,
        kind: &str,
        body: &Value,
    ) -> Called<T> {
        let call = Call {
            action,
            resource,
            of_token: false,
        };
        let url = format!("{}/v2/{kind}", self.endpoints.controller);
        let request = Request::new(Method::POST, url).content("application/json", body.to_string());
        self.decoded(call, &self.send(call, request).await?)
    }

    /// Sends the request, with retries, each with a valid token. A request that changes something is repeated only where the
    /// service did not begin: names of instances and keys are not unique, so that a repetition could create a second one.
    async fn send(&self, call: Call<'_>, request: Request) -> Called<Response> {
        let changes = request.method != Method::GET;
        let policy = Policy {
            first_wait: if changes {
                &error::first_wait_once
            } else {
                &error::first_wait
            },
            leading: changes.then_some(&*self.leading),
            clock: &self.clock,
        };
        let (mut retries, mut renewed) = (0, false);
        loop {
            let token = self.iam.token().await?;
            // After the token, which may have taken long.
            policy.check_leading(call.action, call.resource)?;
            let request = request
                .clone()
                .header("accept", "application/json")
                .header("authorization", format!("Bearer {}", token.expose()));
            let error = match self.transport.exchange(&request).await {
                Ok(response) if response.status / 100 == 2 => return Ok(response),
                Ok(response) => error::of_response(call, &response),
                Err(none) => error::of_nothing(call, none),
            };
            if error.cause == Cause::Answer(401) && !renewed {
                renewed = true;
                self.iam.renew(&token).await;
                continue;
            }
            if !policy.wait(&error, retries).await {
                return Err(self.cleaned(error));
            }
            retries += 1;
        }
    }

    fn decoded<T: DeserializeOwned>(&self, call: Call<'_>, response: &Response) -> Called<T> {
        serde_json::from_slice(&response.body).map_err(|_| {
            let why = format!(
                "the response (status {}) is not the expected JSON: is the address that of the service?",
                response.status
            );
            self.cleaned(error::garbled(call, &why))
        })
    }

    fn cleaned(&self, error: CallError) -> CallError {
        Unredacted::new(error).cleaned(&self.iam.secrets())
    }
}
