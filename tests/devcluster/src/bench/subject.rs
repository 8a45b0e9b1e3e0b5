//! The operator as a process, seen from outside.

use crate::{Cluster, files, process::ProcessId};
use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

pub(super) const NAMESPACE: &str = "openshift-image-registry";
pub(super) const ACCOUNT: &str = "cluster-image-registry-operator";
/// A CA bundle of a usual size; the operator watches its content.
const BUNDLE: usize = 220_000;

/// How to start the operator.
pub(super) struct Recipe {
    program: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
}

impl Recipe {
    /// Writes the files that the operator's pod would have mounted.
    pub(super) async fn prepare(cluster: &Cluster, program: PathBuf) -> Result<Self> {
        let directory = cluster.directory().join("bench");
        files::create_dir(&directory)?;
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        files::write(&directory.join("tls.crt"), signed.cert.pem())?;
        files::write(&directory.join("tls.key"), signed.signing_key.serialize_pem())?;
        files::write(
            &directory.join("config.yaml"),
            "servingInfo:\n  bindAddress: 127.0.0.1:0\n",
        )?;
        files::write(&directory.join("tls-ca-bundle.pem"), "# nobody\n".repeat(BUNDLE / 9))?;
        let kubeconfig = cluster.service_account_kubeconfig(NAMESPACE, ACCOUNT).await?;
        Ok(Self {
            program,
            kubeconfig,
            directory,
        })
    }

    pub(super) fn binary_megabytes(&self) -> Result<f64> {
        let size = std::fs::metadata(&self.program)
            .context("the operator's program")?
            .len();
        Ok(kilobytes(size) / 1000.0)
    }

    /// Starts the operator; its log is appended to one file.
    pub(super) fn start(&self) -> Result<Subject> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("operator.log"))?;
        let file = |name: &str| self.directory.join(name);
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env(
                crate::process::MARKER,
                self.directory.parent().unwrap_or(&self.directory),
            )
            .envs([
                ("RELEASE_VERSION", "4.22.0-bench"),
                ("OPERATOR_IMAGE_VERSION", "4.22.0-bench"),
                ("OPERATOR_IMAGE", "localhost/operator:dev"),
                ("IMAGE", "localhost/registry:dev"),
                ("IMAGE_PRUNER", "localhost/cli:dev"),
                ("WATCH_NAMESPACE", NAMESPACE),
            ])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--config")
            .arg(file("config.yaml"))
            .arg("--serving-cert")
            .arg(file("tls.crt"))
            .arg("--serving-key")
            .arg(file("tls.key"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        for name in ["tls-ca-bundle.pem", "tls.crt", "tls.key", "config.yaml"] {
            command.arg("--files").arg(file(name));
        }
        let begun = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let pid = i32::try_from(child.id().context("it has a process id")?)?;
        let process = ProcessId::of(pid).context("the operator ended at once")?;
        Ok(Subject { child, process, begun })
    }

    /// The last lines that it logged.
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.directory.join("operator.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A running operator; dropping it kills it.
pub(super) struct Subject {
    child: Child,
    process: ProcessId,
    /// Just before the process was made.
    pub(super) begun: Instant,
}

/// Resident memory, in kB of 1000 bytes as everything here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) resident: f64,
    pub(super) anonymous: f64,
}

impl Subject {
    /// SIGTERM; how long it took to end.
    pub(super) async fn stop(mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.process.signal(Signal::TERM);
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        let took = begun.elapsed();
        let status = ended.context("the operator does not end")??;
        if !status.success() {
            bail!("the operator ended with {status}");
        }
        Ok(took)
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let text = self.read("status")?;
        let value = |key: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next());
            let kibibytes: u64 = number.with_context(|| format!("{key} of the process"))?.parse()?;
            Ok(kilobytes(kibibytes * 1024))
        };
        Ok(Memory {
            resident: value("VmRSS:")? / 1000.0,
            anonymous: value("RssAnon:")? / 1000.0,
        })
    }

    /// Processor time so far, user and system; the kernel tells it in hundredths of a second.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let text = self.read("stat")?;
        let fields = text.rsplit_once(')').context("/proc/PID/stat")?.1;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("/proc/PID/stat")?.parse()?) };
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.pid)).context("the operator is gone")
    }
}

#[allow(clippy::cast_precision_loss)] // sizes of one process
fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1000.0
}
