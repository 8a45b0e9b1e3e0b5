//! The client of the cluster's API: one HTTP/2 connection for all calls and watches.
//!
//! kube's default client uses HTTP/1.1 and opens one TLS connection for each watch; with about forty watches that costs
//! memory and start time. This client also bounds every call except a watch by [`CALL_TIMEOUT`], retries included. A
//! watch ends only when the server ends it or the connection does not answer pings.

use std::{
    fmt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use rustls_pki_types::ServerName;
use tokio::time::{Instant, Sleep};
use tower::{Layer as _, Service};

use super::{
    clock::{Clock, Moment, SystemClock},
    metrics::Metrics,
    random,
};
use crate::names;

/// Timeout of a call: connection, retries, response and body together.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a connection attempt, TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without traffic is pinged this often.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A connection that does not answer a ping within this time is closed, so a dead one is detected within half a minute.
const PING_TIMEOUT: Duration = Duration::from_secs(12);
/// Flow control windows of a stream and of the connection. All watches together, unread, cannot block a call.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// Longest user agent. The same text is used as Azure application id, which has this limit.
const USER_AGENT_LENGTH: usize = 24;
/// How often a call is retried when the server asks for it.
const RETRIES: u32 = 4;
/// Longest wait before a retry, also when the server asks for more.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// A watch lasts at least this long. kube's watcher requests a watch that ended again without any wait, and the operator has about
/// forty: a proxy or an API server that ends watches at once would get thousands of requests per second.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be read or is invalid.
    #[error("cannot use kubeconfig {}: {error}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<kube::config::KubeconfigError>,
    },
    /// No `--kubeconfig` was given, and the process does not run in a pod.
    #[error("no --kubeconfig was given, and in-cluster credentials cannot be used: {0}")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The credentials or certificates cannot be used.
    #[error("cannot set up the API client: {0}")]
    Setup(#[source] Box<kube::Error>),
    /// `tls-server-name` is not a host name.
    #[error("cannot set up the API client: tls-server-name {0:?} is not a host name")]
    ServerName(String),
    /// Proxies are not supported here.
    #[error("kubeconfig {} has a proxy-url, which is not supported", .0.display())]
    Proxy(PathBuf),
}

/// The user agent for audit logs and cloud APIs: `ocp-ciro/<version>`, at most 24 characters.
pub(crate) fn user_agent(version: &str) -> String {
    let version: String = version.chars().filter(char::is_ascii_graphic).collect();
    let mut agent = format!("{}/{version}", names::USER_AGENT);
    agent.truncate(USER_AGENT_LENGTH);
    agent
}

/// Builds the client from a kubeconfig file, or else from the pod's ServiceAccount, whose token and CA are reloaded
/// when they rotate. The variable `KUBECONFIG` is ignored. Sends nothing.
pub(crate) async fn connect(
    kubeconfig: Option<&Path>,
    version: &str,
    metrics: Arc<Metrics>,
) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(|error| ClientError::InCluster(Box::new(error)))?,
    };
    if let Ok(agent) = HeaderValue::from_str(&user_agent(version)) {
        config.headers.push((header::USER_AGENT, agent));
    }
    let setup = |error| ClientError::Setup(Box::new(error));
    let client: HyperClient<_, Body> = HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(2)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build(ConnectTimeout(connector(&config)?));
    let clock = Arc::new(SystemClock);
    let inner = config.extra_headers_layer().map_err(setup)?.layer(Transport(client));
    let namespace = config.default_namespace.clone();
    Ok(match config.auth_layer().map_err(setup)? {
        Some(auth) => Client::new(
            CallService::new(config.base_uri_layer().layer(auth.layer(inner)), metrics, clock),
            namespace,
        ),
        None => Client::new(
            CallService::new(config.base_uri_layer().layer(inner), metrics, clock),
            namespace,
        ),
    })
}

async fn from_file(path: &Path) -> Result<Config, ClientError> {
    let failed = |error| ClientError::Kubeconfig {
        path: path.to_owned(),
        error: Box::new(error),
    };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    if has_proxy_url(&file) {
        return Err(ClientError::Proxy(path.to_owned()));
    }
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.map_err(failed)
}

/// Whether the current cluster of the kubeconfig has a `proxy-url`. The kubeconfig loader would also use `HTTPS_PROXY`,
/// which is meant for cloud APIs only.
fn has_proxy_url(file: &Kubeconfig) -> bool {
    let context = file
        .contexts
        .iter()
        .find(|context| Some(&context.name) == file.current_context.as_ref());
    let wanted = context
        .and_then(|context| context.context.as_ref())
        .map(|context| &context.cluster);
    let mut clusters = file.clusters.iter().filter(|cluster| Some(&cluster.name) == wanted);
    clusters.any(|cluster| {
        let proxy = cluster
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.proxy_url.as_deref());
        proxy.is_some_and(|proxy| !proxy.is_empty())
    })
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, ClientError> {
    let tls = config
        .rustls_client_config()
        .map_err(|error| ClientError::Setup(Box::new(error)))?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(CALL_TIMEOUT));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let fixed = ServerName::try_from(name.clone()).map_err(|_| ClientError::ServerName(name.clone()))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(fixed));
    }
    Ok(builder.enable_all_versions().wrap_connector(tcp))
}

/// The connection pool. Adds the causes to its errors, which otherwise say only "client error (Connect)".
#[derive(Clone)]
struct Transport(HyperClient<ConnectTimeout<HttpsConnector<HttpConnector>>, Body>);

impl Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.request(request);
        Box::pin(async move { answer.await.map_err(|error| TransportError(error).into()) })
    }
}

/// A connection error that prints all its causes.
#[derive(Debug)]
struct TransportError(hyper_util::client::legacy::Error);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = std::error::Error::source(&self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for TransportError {}

/// Adds a timeout to connection attempts, TLS included. Otherwise a server that accepts a connection and never answers
/// would block every call.
#[derive(Clone)]
struct ConnectTimeout<C>(C);

impl<C> Service<Uri> for ConnectTimeout<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = self.0.call(target);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .map_err(|_| "connecting took too long")?
        })
    }
}

/// Adds a timeout, retries and metrics to calls.
#[derive(Clone)]
pub(super) struct CallService<S> {
    inner: S,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl<S> CallService<S> {
    pub(super) fn new(inner: S, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, metrics, clock }
    }
}

impl<S, B> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<LimitedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { inner, metrics, clock } = self.clone();
        let deadline = Instant::now() + CALL_TIMEOUT;
        Box::pin(async move {
            let (method, watches) = (request.method().clone(), is_watch(request.uri()));
            let what = format!("{method} {}", request.uri().path());
            let answer = tokio::time::timeout_at(deadline, send_with_retries(inner, request, &metrics, &*clock)).await;
            let Ok(answer) = answer else {
                metrics.api_request(&method, 0);
                return Err(format!("{what}: no answer within {} s", CALL_TIMEOUT.as_secs()).into());
            };
            let answer = answer?;
            let limit = if watches && answer.status().is_success() {
                Limit::Shortest(Instant::now() + SHORTEST_WATCH)
            } else {
                Limit::Deadline(deadline)
            };
            Ok(answer.map(|body| LimitedBody::new(body, limit)))
        })
    }
}

/// Whether the response is a stream without an end.
fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
    })
}

async fn send_with_retries<S, B>(
    inner: S,
    request: Request<Body>,
    metrics: &Metrics,
    clock: &dyn Clock,
) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
    let started = Moment::now(clock);
    let (parts, body) = request.into_parts();
    let mut next = Some(body);
    for attempt in 0.. {
        let Some(body) = next.take() else { break };
        if attempt < RETRIES {
            next = body.try_clone();
        }
        let mut inner = inner.clone();
        std::future::poll_fn(|context| inner.poll_ready(context))
            .await
            .map_err(Into::into)?;
        let answer = inner
            .call(Request::from_parts(parts.clone(), body))
            .await
            .map_err(Into::into);
        metrics.api_request(
            &parts.method,
            answer.as_ref().map_or(0, |response| response.status().as_u16()),
        );
        match (&answer, &next) {
            (Ok(response), Some(_)) => match retry_delay(&parts.method, response, attempt) {
                Some(delay) => {
                    tokio::time::sleep(delay).await;
                    // The machine may have been suspended meanwhile: then another process may lead, and this one may not write.
                    if !started.is_within(CALL_TIMEOUT, clock) {
                        return answer;
                    }
                }
                None => return answer,
            },
            _ => return answer,
        }
    }
    Err("the request cannot be repeated".into())
}

/// How long to wait before a retry; `None` if there is none. A request that was rejected because of load (429) was not
/// executed, so it is always retried. After 503 and 504 that is unknown, so only reads are retried.
fn retry_delay<B>(method: &Method, response: &Response<B>, attempt: u32) -> Option<Duration> {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => {}
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT if *method == Method::GET => {}
        _ => return None,
    }
    let requested = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let least = requested.map_or(
        Duration::from_millis(100) * 2_u32.saturating_pow(attempt),
        Duration::from_secs,
    );
    Some(least.min(MAX_RETRY_DELAY) + random::up_to(Duration::from_millis(100)))
}

/// How long the body of an answer may last.
#[derive(Clone, Copy)]
enum Limit {
    /// The body fails when it is incomplete then.
    Deadline(Instant),
    /// The body ends then at the earliest, also if it fails. What it delivers is not delayed.
    Shortest(Instant),
}

/// A body with a limit.
pub(super) struct LimitedBody<B> {
    body: Pin<Box<B>>,
    limit: Limit,
    due: Pin<Box<Sleep>>,
    /// How the body ended, while the end waits for the limit.
    ended: Option<Result<(), BoxError>>,
}

impl<B> LimitedBody<B> {
    fn new(body: B, limit: Limit) -> Self {
        let (Limit::Deadline(due) | Limit::Shortest(due)) = limit;
        Self {
            body: Box::pin(body),
            limit,
            due: Box::pin(tokio::time::sleep_until(due)),
            ended: None,
        }
    }
}

impl<B> LimitedBody<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_call(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.due.as_mut().poll(context));
        let text = format!("the response was not complete within {} s", CALL_TIMEOUT.as_secs());
        Poll::Ready(Some(Err(text.into())))
    }

    fn poll_watch(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if self.ended.is_none() {
            self.ended = match ready!(self.body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => Some(Err(error.into())),
                None => Some(Ok(())),
            };
        }
        ready!(self.due.as_mut().poll(context));
        // After an error the body may be asked again.
        Poll::Ready(match self.ended.replace(Ok(())) {
            Some(Err(error)) => Some(Err(error)),
            _ => None,
        })
    }
}

impl<B> HttpBody for LimitedBody<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        match self.limit {
            Limit::Deadline(_) => self.poll_call(context),
            Limit::Shortest(_) => self.poll_watch(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        // The end of a watch may have to wait.
        matches!(self.limit, Limit::Deadline(_)) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
