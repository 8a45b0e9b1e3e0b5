//! Which call a request is.

use super::super::asked::Asked;
use super::super::serve::{Answered, Closed, Handler, Peer};
use super::super::wire::host_name;
use super::super::{Reply, lock};
use super::objects::{Objects, Outcome};
use super::path::{decode, encode};
use super::state::State;
use super::upstream::{Forwarded, Upstream};
use super::{buckets, oauth, reply, tags};
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request};
use std::sync::{Arc, Mutex};

pub(super) struct Shared {
    pub state: Mutex<State>,
    pub upstream: Upstream,
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> BoxFuture<'static, Answered> {
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
            let asked = Asked::new(&Request::from_parts(parts, ()), "https", body);
            let answer = match self.route(&asked).await? {
                Ok(answer) => answer,
                Err(refused) => Forwarded::ours(&refused),
            };
            let is_head = asked.method == Method::HEAD;
            let mut response = answer.response();
            if is_head {
                *response.body_mut() = http_body_util::Either::Right(hyper::body::Bytes::new().into());
            }
            Ok(response)
        }
        .boxed()
    }
}

/// The service that a host is; every service for an address and other names, such as `localhost`.
fn service(asked: &Asked) -> Option<&'static str> {
    let host = host_name(&asked.host);
    let first = host.split('.').next().unwrap_or_default();
    if host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    match first {
        "storage" | "www" => Some("storage"),
        "oauth2" => Some("oauth2"),
        "sts" => Some("sts"),
        "iamcredentials" => Some("iamcredentials"),
        name if name.ends_with("cloudresourcemanager") => Some("cloudresourcemanager"),
        _ => None,
    }
}

impl Shared {
    async fn route(&self, asked: &Asked) -> Outcome {
        let path = asked.path.trim_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let of = match parts.as_slice() {
            ["token"] => "oauth2",
            ["v1", "token"] => "sts",
            ["v1", "projects", ..] => "iamcredentials",
            ["v3", ..] => "cloudresourcemanager",
            _ => "storage",
        };
        if service(asked).is_some_and(|service| service != of) {
            return Ok(Err(nowhere()));
        }
        match parts.as_slice() {
            ["token"] => Ok(self.ours(|state| oauth::grant(state, asked))),
            ["v1", "token"] => Ok(self.ours(|state| oauth::exchange(state, asked))),
            ["v1", "projects", "-", "serviceAccounts", account] if asked.method == Method::POST => {
                Ok(self.ours(|state| impersonate(state, asked, account)))
            }
            ["v3", rest @ ..] => Ok(self.ours(|state| tag(state, asked, rest))),
            parts => self.storage(asked, parts).await,
        }
    }

    fn ours(&self, act: impl FnOnce(&mut State) -> Result<Reply, Reply>) -> Result<Forwarded, Reply> {
        act(&mut lock(&self.state)).map(|reply| Forwarded::ours(&reply))
    }

    async fn storage(&self, asked: &Asked, parts: &[&str]) -> Outcome {
        let objects = Objects {
            state: &self.state,
            upstream: &self.upstream,
            asked,
        };
        match parts {
            ["storage", "v1", "b"] | ["storage", "v1", "b", _] => self.bucket(asked, parts.get(3).copied()).await,
            ["storage", "v1", "b", bucket, "iam", "testPermissions"] if asked.method == Method::GET => {
                Ok(self.ours(|state| buckets::test_permissions(state, asked, &decode(bucket))))
            }
            ["storage", "v1", "b", bucket, "o"] if asked.method == Method::GET => objects.list(&decode(bucket)).await,
            ["storage", "v1", "b", bucket, "o", object, rest @ ..] => {
                object_call(&objects, &decode(bucket), &decode(object), rest).await
            }
            ["download", "storage", "v1", "b", bucket, "o", object] => {
                objects.get(&decode(bucket), &decode(object)).await
            }
            ["upload", "storage", "v1", "b", bucket, "o"] => objects.upload(&decode(bucket)).await,
            ["storage" | "download" | "upload" | "batch" | "v1", ..] | [""] | [] => Ok(Err(nowhere())),
            [bucket] => Ok(objects.xml_bucket(&decode(bucket))),
            [bucket, object @ ..] => objects.xml_object(&decode(bucket), &decode(&object.join("/"))).await,
        }
    }

    async fn bucket(&self, asked: &Asked, name: Option<&str>) -> Outcome {
        let name = name.map(decode);
        let Some(name) = name else {
            return match asked.method {
                Method::GET => Ok(self.ours(|state| buckets::list(state, asked))),
                Method::POST => self.insert(asked).await,
                _ => Ok(Err(nowhere())),
            };
        };
        match asked.method {
            Method::GET => Ok(self.ours(|state| buckets::get(state, asked, &name))),
            Method::PATCH => Ok(self.ours(|state| buckets::patch(state, asked, &name))),
            Method::DELETE => {
                let answer = self.ours(|state| buckets::delete(state, asked, &name));
                if answer.is_ok() {
                    let path = format!("/storage/v1/b/{}", encode(&name));
                    self.upstream
                        .send(Method::DELETE, &path, &[], Vec::new().into())
                        .await?;
                }
                Ok(answer)
            }
            _ => Ok(Err(reply::not_played("this method of buckets"))),
        }
    }

    async fn insert(&self, asked: &Asked) -> Outcome {
        let answer = self.ours(|state| buckets::insert(state, asked));
        if let Some(bucket) = answer.as_ref().ok().and_then(Forwarded::json) {
            self.upstream
                .make_bucket(bucket["name"].as_str().unwrap_or_default())
                .await?;
        }
        Ok(answer)
    }
}

fn nowhere() -> Reply {
    Reply::new(404, "Not Found").header("content-type", "text/html; charset=UTF-8")
}

fn impersonate(state: &mut State, asked: &Asked, account: &str) -> Result<Reply, Reply> {
    let account = decode(account);
    let email = account.strip_suffix(":generateAccessToken").ok_or_else(nowhere)?;
    oauth::impersonate(state, asked, email)
}

fn tag(state: &mut State, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
    match (asked.method.as_str(), rest) {
        ("POST", ["tagBindings"]) => tags::create(state, asked),
        ("GET", ["tagBindings"]) => tags::list(state, asked),
        ("GET", ["effectiveTags"]) => tags::effective(state, asked),
        ("GET", ["operations", name]) => tags::poll(state, asked, &format!("operations/{}", decode(name))),
        _ => Err(nowhere()),
    }
}

async fn object_call(objects: &Objects<'_>, bucket: &str, name: &str, rest: &[&str]) -> Outcome {
    match (objects.asked.method.as_str(), rest) {
        ("GET" | "HEAD", []) => objects.get(bucket, name).await,
        ("DELETE", []) => objects.delete(bucket, name).await,
        ("PATCH" | "PUT", []) => objects.update(bucket, name).await,
        ("POST", [how @ ("rewriteTo" | "copyTo"), "b", to, "o", object]) => {
            let to = (decode(to), decode(object));
            objects.copy((bucket, name), how, (&to.0, &to.1)).await
        }
        ("POST", ["compose"]) => objects.compose(bucket, name).await,
        _ => Ok(Err(reply::not_played("this method of objects"))),
    }
}
