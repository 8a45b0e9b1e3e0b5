//! Clients that pull at a steady pace, whatever becomes of the pulls before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// Two thousand a minute.
const PACE: Duration = Duration::from_millis(30);
/// Pulls at a time. A machine with too much to do is slower than the pace; with ever more pulls at a time, the registry would run out of
/// files to open.
const AT_A_TIME: usize = 40;
/// Pulls a second that also a busy machine must do, so that the result says something. Two cores on which four test programs run did 2.
const LEAST: f64 = 1.0;

/// An image behind a route, and who pulls it.
#[derive(Clone)]
pub struct Source {
    client: reqwest::Client,
    /// URL of the repository.
    url: String,
    user: (String, String),
}

impl Source {
    /// Clients trust the route's certificate alone. `login`: the entry of a Docker configuration file.
    pub fn new(controller: SocketAddr, host: &str, repository: &str, certificate: &str, login: &Value) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
            .unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .resolve(host, controller)
            // A busy machine is slow; that is no failure.
            .timeout(Duration::from_mins(2));
        let text = |member: &str| login[member].as_str().unwrap().to_owned();
        Self {
            client: client.build().unwrap(),
            url: format!("https://{host}:{}/v2/{repository}", controller.port()),
            user: (text("username"), text("password")),
        }
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let request = self.client.get(format!("{}/{path}", self.url));
        let request = request.basic_auth(&self.user.0, Some(&self.user.1));
        let request = request.header("accept", "application/vnd.docker.distribution.manifest.v2+json");
        let told = |error: reqwest::Error| format!("{path}: {error:?}");
        let answer = request.send().await.map_err(told)?;
        let answer = answer.error_for_status().map_err(told)?;
        Ok(answer.bytes().await.map_err(told)?.to_vec())
    }

    /// Pulls the manifest, the configuration and each layer, and compares the sizes.
    async fn pull(&self) -> Result<(), String> {
        let manifest = self.get("manifests/v1").await?;
        let manifest: Value = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain([&manifest["config"]]) {
            let digest = blob["digest"].as_str().ok_or("no digest")?;
            let content = self.get(&format!("blobs/{digest}")).await?;
            if blob["size"].as_u64() != u64::try_from(content.len()).ok() {
                return Err(format!("{digest} has {} bytes", content.len()));
            }
        }
        Ok(())
    }
}

/// What pulls until it is ended.
pub struct Pulls {
    end: oneshot::Sender<()>,
    task: JoinHandle<Vec<Result<Duration, String>>>,
    began: Instant,
}

/// Pulls of which none failed.
pub struct Done {
    pub count: usize,
    pub seconds: f64,
    /// A busy machine is slow, also without a rollout.
    pub slowest: Duration,
}

impl Pulls {
    pub fn start(source: Source) -> Self {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut all = JoinSet::new();
            // It makes up for ticks that a busy machine missed.
            let mut ticks = tokio::time::interval(PACE);
            let free = Arc::new(Semaphore::new(AT_A_TIME));
            loop {
                let next = async {
                    let permit = free.clone().acquire_owned().await;
                    ticks.tick().await;
                    permit
                };
                let permit = tokio::select! {
                    _ = &mut ended => break,
                    permit = next => permit,
                };
                let source = source.clone();
                all.spawn(async move {
                    let _permit = permit;
                    let began = Instant::now();
                    source.pull().await.map(|()| began.elapsed())
                });
            }
            all.join_all().await
        });
        Self {
            end,
            task,
            began: Instant::now(),
        }
    }

    /// Ends when the last pull has. None has failed.
    pub async fn end(self) -> Done {
        let seconds = self.began.elapsed().as_secs_f64();
        self.end.send(()).unwrap();
        let (done, failed): (Vec<_>, Vec<_>) = self.task.await.unwrap().into_iter().partition(Result::is_ok);
        let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
        assert_eq!(failed, Vec::<String>::new());
        let count = done.len();
        let done_each_second = f64::from(u32::try_from(count).unwrap()) / seconds;
        assert!(done_each_second >= LEAST, "{count} in {seconds} s");
        Done {
            count,
            seconds,
            slowest: done.into_iter().flatten().max().unwrap_or_default(),
        }
    }
}
