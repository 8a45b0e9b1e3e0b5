//! Which service a request is for.

use super::super::asked::Asked;
use super::super::serve::{Answered, Closed, Handler, Peer};
use super::super::wire::{Keys, Target};
use super::super::{Reply, lock};
use super::state::{State, Token};
use super::{Issue, iam, reply, resources};
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request};
use std::sync::{Arc, Mutex};

pub(super) struct Shared {
    pub state: Mutex<State>,
    /// The store that has the objects.
    pub upstream: Target,
    pub admin: Keys,
    /// Region of the store.
    pub region: String,
    pub issue: Issue,
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> BoxFuture<'static, Answered> {
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
            let asked = Asked::new(&Request::from_parts(parts, ()), "http", body);
            let path = asked.path.trim_matches('/').to_owned();
            let parts: Vec<&str> = path.split('/').collect();
            let answer = match parts.as_slice() {
                ["identity", "token"] if asked.method == Method::POST => iam::grant(&mut lock(&self.state), &asked),
                ["v2", rest @ ..] => self.resources(&asked, rest).await,
                _ => return self.cos(&asked).await,
            };
            Ok(answer.unwrap_or_else(|refused| refused).response(&asked.method))
        }
        .boxed()
    }
}

impl Shared {
    fn caller(&self, asked: &Asked) -> Result<Token, Reply> {
        let caller = iam::caller(&lock(&self.state), asked);
        caller.ok_or_else(|| {
            reply::controller(
                401,
                "RC-IamTokenInvalid",
                "The IAM token is missing, wrong or has expired",
            )
        })
    }

    async fn resources(&self, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
        let caller = self.caller(asked)?;
        match rest {
            ["resource_groups", rest @ ..] => resources::groups(&lock(&self.state), asked, &caller, rest),
            ["resource_instances", rest @ ..] => resources::instances(&mut lock(&self.state), asked, &caller, rest),
            ["resource_keys"] if asked.method == Method::POST => self.create_key(asked, &caller).await,
            ["resource_keys", rest @ ..] => resources::keys(&mut lock(&self.state), asked, &caller, rest),
            _ => Err(reply::controller(404, "RC-NotFound", "There is no such path")),
        }
    }

    async fn create_key(&self, asked: &Asked, caller: &Token) -> Result<Reply, Reply> {
        let wanted = resources::wanted_key(&mut lock(&self.state), asked, caller)?;
        let hmac = if wanted.hmac {
            Some(self.issued(&wanted.name).await?)
        } else {
            None
        };
        resources::add_key(&mut lock(&self.state), &wanted, hmac)
    }

    /// HMAC keys of the store, for a resource key of this name.
    pub(super) async fn issued(&self, name: &str) -> Result<Keys, Reply> {
        let number = lock(&self.state).number();
        let failed = |error: anyhow::Error| reply::controller(500, "RC-Upstream", &format!("{error:#}"));
        (self.issue)(format!("{name}-{number}")).await.map_err(failed)
    }
}
