//! The client of the cluster's API: one HTTP/2 connection for all calls and watches.
//!
//! kube's own stack speaks HTTP/1.1 only, which opens one TLS connection for each watch; with some forty watches that costs
//! memory and start time. This one differs further in what can hang: every call but a watch ends within [`CALL_TIMEOUT`],
//! retries included; a watch is cut only by the server, or when the connection does not answer pings.

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

use super::{metrics::Metrics, random};
use crate::names;

/// How long a call may take altogether: connection, retries, response, body.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without traffic is asked for a sign of life this often ...
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// ... and is dead when it gives none for this long, so a dead one is noticed within half a minute.
const PING_TIMEOUT: Duration = Duration::from_secs(12);
/// What a stream may have in flight, and the connection: so much that all watches together, unread, cannot block a call.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
/// Longest user agent: Azure takes no longer application id, and the same name is used there.
const USER_AGENT_LENGTH: usize = 24;
/// How often a call is repeated that the server asks to repeat.
const RETRIES: u32 = 4;
/// Longest wait before a repetition, also when the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be read or does not make sense.
    #[error("cannot use kubeconfig {}: {error}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<kube::config::KubeconfigError>,
    },
    /// No `--kubeconfig`, and not in a pod either.
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

/// The name under which we appear in audit logs and at clouds: `ocp-ciro/<version>`, at most 24 characters.
pub fn user_agent(version: &str) -> String {
    let version: String = version.chars().filter(char::is_ascii_graphic).collect();
    let mut agent = format!("{}/{version}", names::USER_AGENT);
    agent.truncate(USER_AGENT_LENGTH);
    agent
}

/// Builds the client from a kubeconfig file, or else from the pod's ServiceAccount, whose token and CA are read again as they
/// rotate. The variable `KUBECONFIG` is not consulted. Nothing is sent yet.
pub async fn connect(kubeconfig: Option<&Path>, version: &str, metrics: Arc<Metrics>) -> Result<Client, ClientError> {
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
        .build(Bounded(connector(&config)?));
    let inner = config.extra_headers_layer().map_err(setup)?.layer(Transport(client));
    let namespace = config.default_namespace.clone();
    Ok(match config.auth_layer().map_err(setup)? {
        Some(auth) => Client::new(
            Calls::new(config.base_uri_layer().layer(auth.layer(inner)), metrics),
            namespace,
        ),
        None => Client::new(Calls::new(config.base_uri_layer().layer(inner), metrics), namespace),
    })
}

async fn from_file(path: &Path) -> Result<Config, ClientError> {
    let failed = |error| ClientError::Kubeconfig {
        path: path.to_owned(),
        error: Box::new(error),
    };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    if names_proxy(&file) {
        return Err(ClientError::Proxy(path.to_owned()));
    }
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.map_err(failed)
}

/// Whether the cluster in use has a `proxy-url`. What `HTTPS_PROXY` says, which the loader takes for one too, is for clouds.
fn names_proxy(file: &Kubeconfig) -> bool {
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

/// The connection pool. Its errors say only "client error (Connect)"; ours say why.
#[derive(Clone)]
struct Transport(HyperClient<Bounded<HttpsConnector<HttpConnector>>, Body>);

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

/// An error of the connection, told with all its causes.
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

/// Bounds connecting, TLS included: a server that accepts and then says nothing would otherwise hold every call.
#[derive(Clone)]
struct Bounded<C>(C);

impl<C> Service<Uri> for Bounded<C>
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

/// Bounds calls, repeats what the server asks to repeat, and counts.
#[derive(Clone)]
pub(super) struct Calls<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Calls<S> {
    pub(super) fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S, B> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Deadlined<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { inner, metrics } = self.clone();
        let deadline = Instant::now() + CALL_TIMEOUT;
        Box::pin(async move {
            let (method, watches) = (request.method().clone(), is_watch(request.uri()));
            let what = format!("{method} {}", request.uri().path());
            let answer = tokio::time::timeout_at(deadline, repeat(inner, request, &metrics)).await;
            let Ok(answer) = answer else {
                metrics.api_request(&method, 0);
                return Err(format!("{what}: no answer within {} s", CALL_TIMEOUT.as_secs()).into());
            };
            let deadline = (!watches).then(|| Box::pin(tokio::time::sleep_until(deadline)));
            Ok(answer?.map(|body| Deadlined {
                body: Box::pin(body),
                deadline,
            }))
        })
    }
}

/// Whether the response is meant to go on.
fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
    })
}

async fn repeat<S, B>(inner: S, request: Request<Body>, metrics: &Metrics) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
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
            (Ok(response), Some(_)) => match wait(&parts.method, response, attempt) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return answer,
            },
            _ => return answer,
        }
    }
    Err("the request cannot be repeated".into())
}

/// How long to wait before a repetition, if there shall be one. A refusal because of load (429) was not carried out, whatever
/// was asked; after 503 and 504 that is not known, so only what changes nothing is asked again.
fn wait<B>(method: &Method, response: &Response<B>, attempt: u32) -> Option<Duration> {
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => {}
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT if *method == Method::GET => {}
        _ => return None,
    }
    let asked = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let least = asked.map_or(
        Duration::from_millis(100) * 2_u32.saturating_pow(attempt),
        Duration::from_secs,
    );
    Some(least.min(LONGEST_WAIT) + random::up_to(Duration::from_millis(100)))
}

/// A body that fails when it is not complete in time.
pub(super) struct Deadlined<B> {
    body: Pin<Box<B>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> HttpBody for Deadlined<B>
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
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.deadline.as_mut() {
            Some(deadline) => {
                ready!(deadline.as_mut().poll(context));
                let text = format!("the response was not complete within {} s", CALL_TIMEOUT.as_secs());
                Poll::Ready(Some(Err(text.into())))
            }
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
    use hyper::body::Bytes;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::PostParams};

    use super::*;

    type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

    /// Answers from a list of statuses, the last one for ever; 0 hangs, 1 answers with a body that never ends.
    #[derive(Clone)]
    struct Scripted {
        statuses: Arc<Mutex<Vec<u16>>>,
        calls: Arc<AtomicUsize>,
    }

    impl Scripted {
        fn client(statuses: &[u16]) -> (Client, Arc<AtomicUsize>) {
            let calls = Arc::new(AtomicUsize::new(0));
            let statuses = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
            let service = Calls::new(
                Self {
                    statuses,
                    calls: calls.clone(),
                },
                Arc::new(Metrics::new("1")),
            );
            (Client::new(service, "default"), calls)
        }
    }

    impl Service<Request<Body>> for Scripted {
        type Response = Reply;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let mut statuses = self.statuses.lock().unwrap();
            let status = if statuses.len() > 1 {
                statuses.pop().unwrap()
            } else {
                statuses[0]
            };
            Box::pin(async move {
                if status == 0 {
                    std::future::pending::<()>().await;
                }
                if status == 1 {
                    let never = http_body_util::StreamBody::new(futures::stream::pending());
                    return Ok(Response::new(never.boxed_unsync()));
                }
                let text = if status == 200 {
                    r#"{"metadata":{"name":"x"}}"#
                } else {
                    "no"
                };
                let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
                Ok(Response::builder()
                    .status(status)
                    .header("retry-after", "1")
                    .body(body)?)
            })
        }
    }

    async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
        let started = Instant::now();
        (call.await, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_call_or_body_ends_in_30_seconds_and_a_watch_does_not() {
        for status in [0, 1] {
            let (client, _) = Scripted::client(&[status]);
            let maps: Api<ConfigMap> = Api::default_namespaced(client);
            let (result, time) = timed(maps.get("x")).await;
            assert!(result.is_err());
            assert_eq!(time.as_secs(), 30, "{status}");
        }
        let (client, _) = Scripted::client(&[1]);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let mut watch = Box::pin(maps.watch(&kube::api::WatchParams::default(), "0").await.unwrap());
        let event = tokio::time::timeout(Duration::from_hours(2), futures::StreamExt::next(&mut watch)).await;
        assert!(event.is_err(), "the watch was cut: {event:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_repeated_only_when_it_was_not_carried_out() {
        let create = async |statuses: &[u16]| {
            let (client, calls) = Scripted::client(statuses);
            let maps: Api<ConfigMap> = Api::default_namespaced(client);
            let (result, time) = timed(maps.create(&PostParams::default(), &ConfigMap::default())).await;
            (result.is_ok(), calls.load(Ordering::Relaxed), time.as_secs())
        };
        assert_eq!(create(&[429, 429, 200]).await, (true, 3, 2));
        assert_eq!(create(&[504, 200]).await, (false, 1, 0));
        let (succeeded, calls, seconds) = create(&[429]).await;
        assert_eq!((succeeded, calls), (false, 5));
        assert!(seconds <= 30, "a write hung for {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_after_an_outage_of_the_server() {
        let (client, calls) = Scripted::client(&[503, 504, 200]);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert_eq!(maps.get("x").await.unwrap().metadata.name.as_deref(), Some("x"));
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn the_user_agent_fits_into_an_azure_application_id() {
        assert_eq!(user_agent("1.2.3"), "ocp-ciro/1.2.3");
        assert_eq!(user_agent("4.22.0-0.nightly-2026-07-01-000000").len(), 24);
        assert_eq!(user_agent("1\n2"), "ocp-ciro/12");
    }
}
