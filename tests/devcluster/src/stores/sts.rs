//! STS over TLS, before a moto that issues the credentials: it checks what moto does not, that a web identity token is
//! signed by the cluster, lives, and is for a subject that the role trusts.
//!
//! Wire protocol: AWS Security Token Service API Reference, version 2011-06-15 (form by POST, XML).

use super::asked::Asked;
use super::moto::Moto;
use super::serve::{Answered, Closed, Handler, Peer, Server};
use super::tls::Authority;
use super::token::{Refusal, TokenKey};
use super::wire::{Call, Keys, Target};
use super::{Reply, form, lock};
use anyhow::Result;
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

const VERSION: &str = "2011-06-15";
/// Audience of the tokens that the platform mounts.
const AUDIENCE: &str = "openshift";
/// moto takes any region; tokens are not bound to one.
const REGION: &str = "us-east-1";

/// How to start STS.
#[derive(Clone, Debug)]
pub struct StsOptions {
    /// Signs its certificate.
    pub authority: Authority,
    /// Names of the certificate beside [`super::NAMES`], such as `sts.us-east-1.amazonaws.com`.
    pub names: Vec<String>,
    /// What tokens are checked with: [`super::TokenIssuer::key`], or a cluster's.
    pub key: TokenKey,
    /// Where it listens; by default any port of loopback.
    pub address: Option<SocketAddr>,
}

/// A running STS; it ends when it is dropped. A [`super::Gate`] before it counts, records and injects faults.
#[derive(Debug)]
pub struct Sts {
    shared: Arc<Shared>,
    target: Target,
    _server: Server,
}

#[derive(Debug)]
struct Shared {
    moto: Target,
    admin: Keys,
    key: TokenKey,
    /// Subjects that may be a role by a token, by the role's ARN.
    subjects: Mutex<BTreeMap<String, Vec<String>>>,
    /// What AssumeRole must bring, by the role's ARN.
    external_ids: Mutex<BTreeMap<String, String>>,
}

impl Sts {
    /// Starts it before a moto, with or without authorisation.
    pub fn start(moto: &Moto, options: StsOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            moto: moto.target().clone(),
            admin: moto.admin().clone(),
            key: options.key,
            subjects: Mutex::default(),
            external_ids: Mutex::default(),
        });
        let tls = options.authority.server(&options.names)?;
        let address = options.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let server = Server::start(address, Some(tls), shared.clone())?;
        Ok(Self {
            shared,
            target: server.target(Some(&options.authority))?,
            _server: server,
        })
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// URL under its address: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// Lets a subject be the role by a token.
    pub fn trust(&self, role: &str, subject: &str) {
        let mut subjects = lock(&self.shared.subjects);
        subjects.entry(role.to_owned()).or_default().push(subject.to_owned());
    }

    /// Lets nobody be the role by a token any more.
    pub fn distrust(&self, role: &str) {
        lock(&self.shared.subjects).remove(role);
    }

    /// Asks for an external ID at AssumeRole of the role.
    pub fn require_external_id(&self, role: &str, id: &str) {
        lock(&self.shared.external_ids).insert(role.to_owned(), id.to_owned());
    }
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> BoxFuture<'static, Answered> {
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
            let asked = Asked::new(&Request::from_parts(parts, ()), "https", body);
            match self.act(&asked).await {
                Ok(answer) => Ok(answer),
                Err(reply) => Ok(reply.response(&asked.method)),
            }
        }
        .boxed()
    }
}

type Response = hyper::Response<super::serve::Body>;

impl Shared {
    async fn act(&self, asked: &Asked) -> Result<Response, Reply> {
        let form: BTreeMap<String, String> = form::decode(&asked.text()).into_iter().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if asked.method != Method::POST || field("Version") != VERSION {
            return Err(Reply::query_error(
                400,
                "InvalidAction",
                "a form by POST, version 2011-06-15",
            ));
        }
        match field("Action") {
            "AssumeRoleWithWebIdentity" => {
                self.check_token(field("RoleArn"), field("RoleSessionName"), field("WebIdentityToken"))?;
                // Without a signature moto would not know it with authorisation on.
                self.forward(asked, Some(&self.admin)).await
            }
            "AssumeRole" | "GetCallerIdentity" if !asked.is_signed() => Err(Reply::query_error(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            )),
            "AssumeRole" => {
                check_session(field("RoleSessionName"))?;
                let wanted = lock(&self.external_ids).get(field("RoleArn")).cloned();
                if wanted.is_some_and(|wanted| wanted != field("ExternalId")) {
                    return Err(denied("AssumeRole"));
                }
                self.forward(asked, None).await
            }
            "GetCallerIdentity" => self.forward(asked, None).await,
            action => Err(Reply::query_error(
                400,
                "InvalidAction",
                &format!("{action} is not played"),
            )),
        }
    }

    fn check_token(&self, role: &str, session: &str, token: &str) -> Result<(), Reply> {
        check_session(session)?;
        let subject = self.key.subject(token, AUDIENCE).map_err(refusal)?;
        let subjects = lock(&self.subjects);
        let trusted = subjects.get(role).is_some_and(|trusted| trusted.contains(&subject));
        if trusted {
            Ok(())
        } else {
            Err(denied("AssumeRoleWithWebIdentity"))
        }
    }

    /// Lets moto answer: to the caller's own signature, or to ours.
    async fn forward(&self, asked: &Asked, signer: Option<&Keys>) -> Result<Response, Reply> {
        // All of them, because the caller's signature covers what it chose.
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &asked.headers {
            let kept = signer.is_none() || name == "content-type";
            if let (true, Ok(value)) = (kept && !matches!(name.as_str(), "host" | "connection"), value.to_str()) {
                headers.push((name.as_str(), value));
            }
        }
        let call = Call::new(Method::POST, "/")
            .headers(&headers)
            .body(&asked.body)
            .host(&asked.host);
        let call = match signer {
            Some(keys) => call.signed(keys, "sts", REGION),
            None => call,
        };
        let answer = self.moto.call(call).await;
        let answer = answer.map_err(|error| Reply::query_error(500, "InternalFailure", &format!("{error:#}")))?;
        let mut response = Response::new(Either::Right(Full::new(answer.body)));
        *response.status_mut() = hyper::StatusCode::from_u16(answer.status).unwrap_or_default();
        if let Some(kind) = answer.headers.get("content-type") {
            response.headers_mut().insert("content-type", kind.clone());
        }
        Ok(response)
    }
}

fn check_session(name: &str) -> Result<(), Reply> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Reply::query_error(
        400,
        "ValidationError",
        "roleSessionName must be 2 to 64 letters, digits and _+=,.@-",
    ))
}

fn denied(action: &str) -> Reply {
    Reply::query_error(403, "AccessDenied", &format!("Not authorized to perform sts:{action}"))
}

fn refusal(refusal: Refusal) -> Reply {
    let (code, message) = match refusal {
        Refusal::Expired => ("ExpiredTokenException", "Token expired"),
        Refusal::Audience => ("InvalidIdentityToken", "Incorrect token audience"),
        Refusal::Issuer => (
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for the issuer",
        ),
        Refusal::Signature => (
            "InvalidIdentityToken",
            "The signature of the token does not fit any known key",
        ),
        Refusal::Malformed => ("InvalidIdentityToken", "The ID Token provided is not a valid JWT"),
    };
    Reply::query_error(400, code, message)
}
