//! A gate before a server: a test decides what becomes of each request, and sees all of them.
//!
//! Requests go on as they came, with their Host, so that signatures stay valid. The gate has a thread of its own: a rule, a
//! hook in it too, must not wait for the test that made it.

use super::asked::Asked;
use super::connections::Connections;
use super::lock;
use super::proxy::fits;
use super::serve::{Answered, Body, Closed, Handler, Peer, Server, strip};
use super::tls::Authority;
use super::wire::{Target, host_name};
use anyhow::{Result, bail};
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Method, Request, Response, StatusCode};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How long tests wait for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Something to do at a request; it runs in the gate's thread.
pub type Hook = Arc<dyn Fn(&Asked) + Send + Sync>;

/// Changes the complete answer to a request; it runs in the gate's thread.
pub type Change = Arc<dyn Fn(&Asked, &mut Response<Bytes>) + Send + Sync>;

/// What becomes of a request.
#[derive(Clone)]
pub enum Fault {
    /// Nothing happens to it.
    Pass,
    /// It is not forwarded; this is the answer.
    Answer(Reply),
    /// It is forwarded to another server: one address for several services.
    To(Target),
    /// It is forwarded after this time.
    Delay(Duration),
    /// It is forwarded once the latch is open.
    Hold(Latch),
    /// It is not forwarded; the connection is reset.
    Reset,
    /// It is neither forwarded nor answered.
    Hang,
    /// It is forwarded twice; the second answer is given.
    Twice,
    /// It is forwarded and carried out; the connection is closed in place of an answer.
    LoseAnswer,
    /// The hook runs before it would be forwarded; then the connection is closed: to kill the client before the call.
    Before(Hook),
    /// It is forwarded and carried out, then the hook runs, then the connection is closed: to kill the client after the
    /// call, before it knows.
    After(Hook),
    /// It is forwarded; the hook changes the complete answer.
    Change(Change),
}

impl Fault {
    /// 503 `SlowDown`, as S3 throttles.
    pub fn slow_down() -> Self {
        Self::Answer(Reply::error(503, "SlowDown", "Please reduce your request rate."))
    }

    /// An error of S3 with that status and code.
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer(Reply::error(status, code, "refused by the test"))
    }

    /// Changes the answer that the server gave.
    pub fn change(change: impl Fn(&Asked, &mut Response<Bytes>) + Send + Sync + 'static) -> Self {
        Self::Change(Arc::new(change))
    }

    /// Runs before the request would be forwarded, which then goes away.
    pub fn before(hook: impl Fn(&Asked) + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(hook))
    }

    /// Runs after the request was carried out; its answer is lost.
    pub fn after(hook: impl Fn(&Asked) + Send + Sync + 'static) -> Self {
        Self::After(Arc::new(hook))
    }
}

/// An answer that no server gave.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body; left out at HEAD.
    pub body: String,
}

impl Reply {
    /// Without headers.
    pub fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// An error as S3 gives it, in XML.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>devcluster</RequestId></Error>"
        );
        Self::new(status, &body).header("content-type", "application/xml")
    }

    /// An error as STS and IAM give it, in XML.
    pub fn query_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>devcluster</RequestId></ErrorResponse>"
        );
        Self::new(status, &body).header("content-type", "text/xml")
    }

    /// The same with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn response(&self, to: &Method) -> Response<Body> {
        let body = if *to == Method::HEAD {
            String::new()
        } else {
            self.body.clone()
        };
        let mut builder = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Either::Right(Full::new(body.into()))).unwrap_or_else(|_| {
            let mut wrong = Response::new(Either::Right(Full::new(Bytes::from_static(
                b"a test's answer is no HTTP",
            ))));
            *wrong.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            wrong
        })
    }
}

/// Holds requests until it is opened; for good.
#[derive(Clone, Debug)]
pub struct Latch(Arc<watch::Sender<bool>>);

impl Latch {
    /// A closed one.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens it.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Ends when it is open.
    pub async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct When {
    operation: Option<String>,
    method: Option<Method>,
    path: Option<String>,
    query: Option<String>,
    first: usize,
    last: usize,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self {
            first: 1,
            last: usize::MAX,
            ..Self::default()
        }
    }

    /// Those of an operation, such as `PutBucketTagging` or `AssumeRoleWithWebIdentity`.
    pub fn operation(name: &str) -> Self {
        Self {
            operation: Some(name.to_owned()),
            ..Self::any()
        }
    }

    /// Only of this method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self {
            method: Some(method),
            ..self
        }
    }

    /// Only with this text in the path.
    #[must_use]
    pub fn path(self, part: &str) -> Self {
        Self {
            path: Some(part.to_owned()),
            ..self
        }
    }

    /// Only with this parameter in the query.
    #[must_use]
    pub fn query(self, parameter: &str) -> Self {
        Self {
            query: Some(parameter.to_owned()),
            ..self
        }
    }

    /// Only the n-th of them, from 1.
    #[must_use]
    pub fn nth(self, number: usize) -> Self {
        Self {
            first: number,
            last: number,
            ..self
        }
    }

    /// Only the first so many of them.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self {
            first: 1,
            last: count,
            ..self
        }
    }

    fn fits(&self, asked: &Asked) -> bool {
        self.operation.as_ref().is_none_or(|name| *name == asked.operation())
            && self.method.as_ref().is_none_or(|method| *method == asked.method)
            && self.path.as_ref().is_none_or(|part| asked.path.contains(part))
            && self.query.as_ref().is_none_or(|name| asked.parameter(name).is_some())
    }
}

type Rule = Box<dyn FnMut(&Asked) -> Fault + Send>;

/// A running gate; it ends when it is dropped.
pub struct Gate {
    shared: Arc<Shared>,
    target: Target,
    _server: Server,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// A gate at an address of one's own choice, before several servers.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// Servers by host (`*.NAME`: every name below NAME, at any depth); the first that fits counts. Others are answered
    /// with 502.
    pub routes: Vec<(String, Target)>,
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`super::NAMES`].
    pub names: Vec<String>,
}

struct Shared {
    /// Servers by pattern of the host.
    routes: Vec<(String, Connections)>,
    scheme: &'static str,
    rule: Mutex<Rule>,
    planned: Mutex<Vec<(When, usize, Fault)>>,
    asked: watch::Sender<Vec<Asked>>,
}

impl Gate {
    /// A gate before `upstream`, on a port of its own; with TLS if there is an authority, for [`super::NAMES`] and `names`.
    pub fn start(upstream: &Target, authority: Option<&Authority>, names: &[String]) -> Result<Self> {
        Self::with(GateOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            routes: vec![("*".to_owned(), upstream.clone())],
            authority: authority.cloned(),
            names: names.to_vec(),
        })
    }

    /// A gate as the options say.
    pub fn with(options: GateOptions) -> Result<Self> {
        let authority = options.authority.as_ref();
        let routes = options.routes.into_iter();
        let shared = Arc::new(Shared {
            routes: routes.map(|(host, target)| (host, Connections::new(target))).collect(),
            scheme: if authority.is_some() { "https" } else { "http" },
            rule: Mutex::new(Box::new(|_| Fault::Pass)),
            planned: Mutex::new(Vec::new()),
            asked: watch::Sender::new(Vec::new()),
        });
        let tls = authority
            .map(|authority| authority.server(&options.names))
            .transpose()?;
        let server = Server::start(options.address, tls, shared.clone())?;
        Ok(Self {
            shared,
            target: server.target(authority)?,
            _server: server,
        })
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// URL under its address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// Plans a fault. Faults are tried in the order in which they were planned, before the rule; each counts the requests
    /// that fit it from now on, without those that an earlier fault took.
    pub fn plan(&self, when: When, fault: Fault) {
        lock(&self.shared.planned).push((when, 0, fault));
    }

    /// Decides about all that no planned fault is for; the earlier rule is forgotten.
    pub fn rule(&self, rule: impl FnMut(&Asked) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// Everything passes from now on; what is held goes on being held.
    pub fn pass(&self) {
        lock(&self.shared.planned).clear();
        self.rule(|_| Fault::Pass);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// Operations asked for so far, in order.
    pub fn operations(&self) -> Vec<String> {
        self.asked().iter().map(Asked::operation).collect()
    }

    /// Forgets what was asked; numbers begin anew. Not while requests are under way.
    pub fn forget(&self) {
        self.shared.asked.send_modify(Vec::clear);
    }

    /// Waits until what was asked is as expected.
    pub async fn until(&self, what: &str, expected: impl Fn(&[Asked]) -> bool) -> Result<()> {
        let mut asked = self.shared.asked.subscribe();
        let waited = tokio::time::timeout(PATIENCE, asked.wait_for(|asked| expected(asked))).await;
        if waited.is_err() {
            let all: Vec<_> = self.asked().iter().map(ToString::to_string).collect();
            bail!("no {what} within {PATIENCE:?}; asked was\n{}", all.join("\n"));
        }
        Ok(())
    }
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> BoxFuture<'static, Answered> {
        async move { self.act(request, &peer).await }.boxed()
    }
}

impl Shared {
    fn decide(&self, asked: &Asked) -> Fault {
        for (when, count, fault) in &mut *lock(&self.planned) {
            if when.fits(asked) {
                *count += 1;
                if (when.first..=when.last).contains(count) {
                    return fault.clone();
                }
            }
        }
        (lock(&self.rule))(asked)
    }

    async fn act(&self, request: Request<Incoming>, peer: &Peer) -> Answered {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        let request = Request::from_parts(parts, ());
        let mut asked = Asked::new(&request, self.scheme, body.clone());
        self.asked.send_modify(|all| {
            asked.number = all.len() + 1;
            all.push(asked.clone());
        });
        let answer = match self.decide(&asked) {
            Fault::Pass => self.forward(&request, body).await,
            Fault::Answer(reply) => Ok(reply.response(&asked.method)),
            Fault::To(other) => Self::passed_on(other.send(onward(&request, body)).await),
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                self.forward(&request, body).await
            }
            Fault::Hold(latch) => {
                latch.passed().await;
                self.forward(&request, body).await
            }
            Fault::Reset => {
                peer.reset();
                Err(Closed)
            }
            Fault::Hang => std::future::pending().await,
            Fault::Twice => {
                self.carry_out(&request, body.clone()).await?;
                self.forward(&request, body).await
            }
            Fault::LoseAnswer => self.lose(&asked, &request, body, |_| ()).await,
            Fault::Before(hook) => {
                hook(&asked);
                Err(Closed)
            }
            Fault::After(hook) => self.lose(&asked, &request, body, |asked| hook(asked)).await,
            Fault::Change(change) => {
                let mut answer = self.carry_out(&request, body).await?;
                change(&asked, &mut answer);
                if asked.method != hyper::Method::HEAD {
                    answer.headers_mut().remove(header::CONTENT_LENGTH);
                }
                Ok(answer.map(|body| Either::Right(Full::new(body))))
            }
        };
        if let Ok(answer) = &answer {
            let status = answer.status().as_u16();
            self.amend(&asked, |asked| asked.status = status);
        }
        answer
    }

    fn amend(&self, asked: &Asked, change: impl FnOnce(&mut Asked)) {
        self.asked.send_modify(|all| {
            // Gone if the test forgot it meanwhile.
            all.get_mut(asked.number - 1).map(change);
        });
    }

    async fn lose(&self, asked: &Asked, request: &Request<()>, body: Bytes, hook: impl Fn(&Asked)) -> Answered {
        let status = self.carry_out(request, body).await?.status().as_u16();
        hook(asked);
        self.amend(asked, |asked| {
            asked.status = status;
            asked.lost = true;
        });
        Err(Closed)
    }

    /// Forwards the request, and takes all of the answer.
    async fn carry_out(&self, request: &Request<()>, body: Bytes) -> Result<Response<Bytes>, Closed> {
        let (parts, body) = self.forward(request, body).await?.into_parts();
        let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    async fn forward(&self, request: &Request<()>, body: Bytes) -> Answered {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host_name(host.unwrap_or_default());
        let Some((_, upstream)) = self.routes.iter().find(|(pattern, _)| fits(pattern, host)) else {
            return Ok(Reply::new(502, "this gate does not know that host").response(request.method()));
        };
        Self::passed_on(upstream.send(onward(request, body)).await)
    }

    /// What the client gets of an upstream's answer. An upstream that is gone is a connection that is gone.
    fn passed_on(answer: Result<Response<Incoming>>) -> Answered {
        let mut answer = answer.map_err(|_| Closed)?;
        strip(answer.headers_mut());
        Ok(answer.map(Either::Left))
    }
}

/// The request as the upstream gets it.
fn onward(request: &Request<()>, body: Bytes) -> Request<Full<Bytes>> {
    let mut onward = Request::new(Full::new(body));
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = request.uri().clone();
    *onward.headers_mut() = request.headers().clone();
    strip(onward.headers_mut());
    onward
}
