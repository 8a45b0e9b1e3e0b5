//! The operator as a process, with the ServiceAccount that `deploy/` ships.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::TestCluster;

const NAMESPACE: &str = "openshift-image-registry";
pub const ACCOUNT: &str = "cluster-image-registry-operator";
/// Variables of an operator that runs the stock registry; nothing can be pruned there.
pub const STOCK: [(&str, &str); 2] = [("REGISTRY_PROGRAM", "distribution"), ("IMAGE_PRUNER", "")];

/// The operator's program: `make test` names that of the image; the debug build is for a test that is run alone.
pub fn program() -> PathBuf {
    std::env::var_os("OPERATOR_PROGRAM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_cluster-image-registry-operator").into())
        .into()
}

/// A running operator. It ends when it is dropped, and at the latest with the test process.
pub struct Operator {
    child: Child,
    log: PathBuf,
    directory: tempfile::TempDir,
}

impl TestCluster {
    /// Starts the operator.
    pub async fn operator(&self) -> Operator {
        self.operator_with(&[]).await
    }

    /// Starts the operator with additional or changed environment variables.
    pub async fn operator_with(&self, environment: &[(&str, &str)]) -> Operator {
        let kubeconfig = self.account().await;
        self.operator_at(&kubeconfig, environment)
    }

    /// The same.
    pub async fn operator_in(&self, environment: &[(String, String)]) -> Operator {
        let pairs = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.operator_with(&pairs.collect::<Vec<_>>()).await
    }

    /// A kubeconfig of the operator's ServiceAccount.
    pub async fn account(&self) -> PathBuf {
        self.devcluster
            .service_account_kubeconfig(NAMESPACE, ACCOUNT)
            .await
            .unwrap()
    }

    /// Starts the operator with another kubeconfig, such as that of a proxy.
    pub fn operator_at(&self, kubeconfig: &Path, environment: &[(&str, &str)]) -> Operator {
        let directory = tempfile::tempdir().unwrap();
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        fs::write(&cert, signed.cert.pem()).unwrap();
        fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
        let config = directory.path().join("config.yaml");
        // The Go operator reads the section `leaderElection`; this operator must ignore it.
        let text = "servingInfo:\n  bindAddress: 127.0.0.1:0\nleaderElection:\n  leaseDuration: 3s\n  renewDeadline: 2s\n  retryPeriod: 1s\n";
        fs::write(&config, text).unwrap();
        let log = self.devcluster.directory().join(format!("operator-{}.log", unique()));
        let file = File::create(&log).unwrap();
        let mut command = Command::new(program());
        let (variable, directory_of_cluster) = self.devcluster.mark_of_processes();
        command
            .env_clear()
            // A test process that is killed drops nothing.
            .env(variable, directory_of_cluster)
            .envs([
                ("RELEASE_VERSION", "4.22.0-test"),
                ("OPERATOR_IMAGE_VERSION", "4.22.0-test"),
                ("OPERATOR_IMAGE", "localhost/operator:dev"),
                ("IMAGE", "localhost/registry:dev"),
                ("IMAGE_PRUNER", "localhost/cli:dev"),
                ("WATCH_NAMESPACE", NAMESPACE),
                ("RUST_BACKTRACE", "1"),
            ])
            .envs(environment.iter().copied())
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--config")
            .arg(config)
            .arg("--serving-cert")
            .arg(cert)
            .arg("--serving-key")
            .arg(key)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true);
        Operator {
            child: command.spawn().unwrap(),
            log,
            directory,
        }
    }
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Operator {
    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The answer of `/metrics`; empty until the operator serves it.
    pub async fn metrics(&self) -> String {
        let log = self.log();
        let Some((_, address)) = log.split_once("serving metrics on ") else {
            return String::new();
        };
        let address = address.split_whitespace().next().unwrap().parse().unwrap();
        let certificate = fs::read_to_string(self.directory.path().join("tls.crt")).unwrap();
        let (status, metrics) = super::https::get(address, "localhost", &certificate, "/metrics").await;
        assert_eq!(status, 200);
        metrics
    }

    /// Number of reconciles of a controller that ended without an error.
    pub async fn passes(&self, controller: &str) -> u64 {
        let series =
            format!("image_registry_operator_reconciles_total{{controller=\"{controller}\",outcome=\"success\"}} ");
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGTERM and waits for the exit status.
    pub async fn stop(mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        tokio::time::timeout(Duration::from_secs(10), self.child.wait())
            .await
            .expect("the process ends")
            .unwrap()
    }

    /// Sends SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(super::TIMEOUT, self.child.wait())
            .await
            .expect("the process ends")
            .unwrap()
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!(
                "--- last lines of the operator's log\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}
