//! Keystone: identities, tokens and the catalogue.

use crate::stores::home::Home;
use crate::stores::tls::Authority;
use crate::stores::wire::{Answer, Call, Target};
use crate::{files, process, programs};
use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::sync::OnceCell;

const PROCESS: &str = "keystone";
/// The ID of Swift's service, see `tools/openstack/initialise.py`.
const SWIFT_SERVICE: &str = "swift";
const INTERFACES: [&str; 3] = ["public", "internal", "admin"];

/// How to start Keystone.
#[derive(Clone, Debug, Default)]
pub struct KeystoneOptions {
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`crate::stores::NAMES`].
    pub names: Vec<String>,
}

/// A running Keystone; dropped, it is gone with all that it holds.
#[derive(Debug)]
pub struct Keystone {
    home: Home,
    target: Target,
    authority: Option<Authority>,
    /// The administrator's token. It lasts an hour, longer than any test program.
    token: OnceCell<String>,
}

impl Keystone {
    /// Starts it; it answers when this returns. Its catalogue has no object store before a Swift starts.
    pub async fn start(options: KeystoneOptions) -> Result<Self> {
        let mut keystone = Self::spawn(&programs::openstack().await?, options)?;
        keystone.ready().await?;
        Ok(keystone)
    }

    pub(super) fn spawn(programs: &programs::OpenStack, options: KeystoneOptions) -> Result<Self> {
        let home = Home::create("keystone", 1)?;
        for file in ["keystone.conf", "keystone.db"] {
            let from = programs.keystone.join(file);
            std::fs::copy(&from, home.directory().join(file))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let port = home.ports().first().copied().context("a port")?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let mut command = process::command(&programs.python);
        command.arg("-I").arg(programs.scripts.join("serve_keystone.py"));
        command.args([address.ip().to_string(), port.to_string()]);
        if let Some(authority) = &options.authority {
            let (certificate, key) = authority.issue(&options.names)?.write(home.directory())?;
            command.arg(certificate).arg(key);
        }
        // Where its libraries would look for settings of the machine.
        command.env("HOME", home.directory());
        home.spawn(PROCESS, command)?;
        Ok(Self {
            home,
            target: Target {
                address,
                tls: options.authority.as_ref().map(Authority::client).transpose()?,
            },
            authority: options.authority,
            token: OnceCell::new(),
        })
    }

    pub(super) async fn ready(&mut self) -> Result<()> {
        self.home
            .until("Keystone answers", || async {
                let answer = self.target.call(Call::new(Method::GET, "/v3")).await;
                answer.ok().filter(|answer| answer.status == 200)
            })
            .await?;
        self.home.complete = true;
        Ok(())
    }

    /// URL of the Identity API: `https://127.0.0.1:PORT/v3`, what clients call the auth URL.
    pub fn url(&self) -> String {
        format!("{}/v3", self.target.origin(&self.target.address.to_string()))
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Where its log lies, among others.
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Runs a program in Python that has OpenStack's own clients (`swiftclient`, `keystoneclient`), with the text of the
    /// program, its arguments, and no other environment than `OS_AUTH_URL` and `OS_CACERT`; its output.
    pub async fn run_client(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = process::command(programs::openstack().await?.python);
        command.arg("-I").arg("-c").arg(program).args(arguments);
        command
            .env("HOME", self.home.directory())
            .env("OS_AUTH_URL", self.url());
        if let Some(authority) = &self.authority {
            let path = self.home.directory().join("ca.crt");
            files::write(&path, authority.pem())?;
            command.env("OS_CACERT", path);
        }
        tokio::task::spawn_blocking(move || process::run(&mut command)).await?
    }

    /// A token of the administrator. It is good for every account of Swift.
    pub async fn admin_token(&self) -> Result<&str> {
        let get = || async {
            let domain = json!({ "id": "default" });
            let password =
                json!({ "user": { "name": "admin", "domain": domain, "password": programs::OPENSTACK_PASSWORD } });
            let identity = json!({ "methods": ["password"], "password": password });
            let scope = json!({ "project": { "name": "admin", "domain": domain } });
            self.issue(&identity, Some(&scope)).await
        };
        Ok(self.token.get_or_try_init(get).await?)
    }

    /// Asks for a token with an `identity` and a `scope` of the API.
    pub(super) async fn issue(&self, identity: &Value, scope: Option<&Value>) -> Result<String> {
        let mut auth = json!({ "identity": identity });
        if let Some(scope) = scope {
            auth["scope"] = scope.clone();
        }
        let body = json!({ "auth": auth }).to_string();
        let headers = [("content-type", "application/json")];
        let call = Call::new(Method::POST, "/v3/auth/tokens").headers(&headers);
        let answer = self.target.call(call.body(body.as_bytes())).await?.good()?;
        let token = answer
            .headers
            .get("x-subject-token")
            .context("an answer without a token")?;
        Ok(token.to_str()?.to_owned())
    }

    /// A call of the administrator, such as POST `/v3/projects`; the answer, an error unless its status is 2xx.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let token = self.admin_token().await?;
        self.call_with(token, method, path, body).await
    }

    /// The same with somebody's token.
    pub(super) async fn call_with(&self, token: &str, method: Method, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let headers = [("x-auth-token", token), ("content-type", "application/json")];
        let call = Call::new(method.clone(), path).headers(&headers);
        let answer = self.target.call(call.body(text.as_bytes())).await?;
        let answer = answer.good().with_context(|| format!("{method} {path}"))?;
        json_of(&answer)
    }

    /// The ID of the only object of that name in a list, such as `roles`.
    pub(super) async fn id(&self, list: &str, name: &str) -> Result<String> {
        let found = self
            .call(Method::GET, &format!("/v3/{list}?name={name}"), &Value::Null)
            .await?;
        text(&found, &format!("/{list}/0/id"))
    }

    /// Replaces the URL of Swift in a region of the catalogue, for all projects; with none, that region has no object
    /// store. A region that does not exist is made. `url` is without a path: a [`crate::stores::Gate`]'s, for example.
    ///
    /// Tests that share a Keystone use regions of their own.
    pub async fn set_swift(&self, region: &str, url: Option<&str>) -> Result<()> {
        let query = format!("/v3/endpoints?service_id={SWIFT_SERVICE}&region_id={region}");
        let known = self.call(Method::GET, &query, &Value::Null).await?;
        for endpoint in known["endpoints"].as_array().into_iter().flatten() {
            let path = format!("/v3/endpoints/{}", text(endpoint, "/id")?);
            self.call(Method::DELETE, &path, &Value::Null).await?;
        }
        let Some(url) = url else { return Ok(()) };
        let regions = self.call(Method::GET, "/v3/regions", &Value::Null).await?;
        let mut regions = regions["regions"].as_array().into_iter().flatten();
        if !regions.any(|known| known["id"] == region) {
            let body = json!({ "region": { "id": region } });
            self.call(Method::POST, "/v3/regions", &body).await?;
        }
        for interface in INTERFACES {
            let endpoint = json!({
                "interface": interface,
                "region_id": region,
                "service_id": SWIFT_SERVICE,
                "url": format!("{url}/v1/AUTH_$(project_id)s"),
            });
            self.call(Method::POST, "/v3/endpoints", &json!({ "endpoint": endpoint }))
                .await?;
        }
        Ok(())
    }

    /// The IDs of the endpoints of a service type such as `identity`, in all regions.
    pub(super) async fn endpoints(&self, service_type: &str) -> Result<Vec<String>> {
        let services = format!("/v3/services?type={service_type}");
        let service = text(
            &self.call(Method::GET, &services, &Value::Null).await?,
            "/services/0/id",
        )?;
        let path = format!("/v3/endpoints?service_id={service}");
        let found = self.call(Method::GET, &path, &Value::Null).await?;
        let endpoints = found["endpoints"].as_array().into_iter().flatten();
        endpoints.map(|endpoint| text(endpoint, "/id")).collect()
    }
}

pub(super) fn json_of(answer: &Answer) -> Result<Value> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body).with_context(|| format!("no JSON: {}", answer.text()))
}

pub(super) fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}
