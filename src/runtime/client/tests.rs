use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};

use super::*;
use crate::testing::clock::PausedClock;

type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Responds with the statuses of a list, then always with the last one. 0 never responds, 1 responds with a body that never
/// ends, 2 with one that ends at once, 3 with one that is cut off at once.
#[derive(Clone)]
struct Scripted {
    statuses: Arc<Mutex<Vec<u16>>>,
    calls: Arc<AtomicUsize>,
}

impl Scripted {
    fn client(statuses: &[u16]) -> (Client, Arc<AtomicUsize>) {
        Self::client_at(statuses, Arc::new(PausedClock::start()))
    }

    fn client_at(statuses: &[u16], clock: Arc<PausedClock>) -> (Client, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let statuses = Arc::new(Mutex::new(statuses.iter().rev().copied().collect()));
        let service = CallService::new(
            Self {
                statuses,
                calls: calls.clone(),
            },
            Arc::new(Metrics::new("1")),
            clock,
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
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut statuses = self.statuses.lock().unwrap();
        let status = if statuses.len() > 1 {
            statuses.pop().unwrap()
        } else {
            statuses[0]
        };
        Box::pin(async move {
            // A loop of requests without any wait would never let the paused time go on.
            if status == 0 || calls > 1_000 {
                std::future::pending::<()>().await;
            }
            if status == 2 || status == 3 {
                let cut = || Err(BoxError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
                let body = http_body_util::StreamBody::new(futures::stream::iter((status == 3).then(cut)));
                return Ok(Response::new(body.boxed_unsync()));
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
async fn a_call_or_body_that_hangs_fails_after_30_seconds_and_a_watch_does_not() {
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
async fn a_watch_that_ends_at_once_is_requested_once_per_second() {
    use kube::runtime::watcher::{Config, watcher};
    for status in [2, 3] {
        let (client, calls) = Scripted::client(&[status]);
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let config = Config::default().streaming_lists();
        let events = futures::StreamExt::for_each(watcher(maps, config), |_| std::future::ready(()));
        let ended = tokio::time::timeout(Duration::from_secs(10), events).await;
        assert!(ended.is_err());
        let calls = calls.load(Ordering::Relaxed);
        assert!((9..=11).contains(&calls), "{status}: {calls} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_fails_at_once() {
    let (client, _) = Scripted::client(&[403]);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let (watch, time) = timed(maps.watch(&kube::api::WatchParams::default(), "0")).await;
    assert!(watch.is_err());
    assert_eq!(time, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_write_is_retried_only_if_it_was_not_executed() {
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

// After a suspension of the machine another process may lead: what this process began before may not change anything any more.
#[tokio::test(start_paused = true)]
async fn a_rejected_write_is_not_repeated_after_a_suspension() {
    for (suspended, expected) in [(20, (true, 2)), (3_600, (false, 1))] {
        let clock = Arc::new(PausedClock::start());
        let (client, calls) = Scripted::client_at(&[429, 200], clock.clone());
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let (parameters, map) = (PostParams::default(), ConfigMap::default());
        let suspension = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            clock.ahead(suspended);
        };
        let (result, ()) = tokio::join!(maps.create(&parameters, &map), suspension);
        assert_eq!(
            (result.is_ok(), calls.load(Ordering::Relaxed)),
            expected,
            "{suspended} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_retried_while_the_server_is_unavailable() {
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
