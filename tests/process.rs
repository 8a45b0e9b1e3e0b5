//! The program as a process, without an API server: arguments, files, exit status, signals.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

/// A directory with all files that the program needs. The API server in its kubeconfig refuses connections.
struct Stage {
    dir: tempfile::TempDir,
    config: String,
    without: Option<&'static str>,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["operator.test".to_owned()]).unwrap();
        fs::write(dir.path().join("tls.crt"), pair.cert.pem()).unwrap();
        fs::write(dir.path().join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
        // A port on which nobody listens.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{closed}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        fs::write(dir.path().join("kubeconfig"), kubeconfig).unwrap();
        Self {
            dir,
            config: "servingInfo: {bindAddress: '127.0.0.1:0'}".to_owned(),
            without: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        fs::write(self.path("config.yaml"), &self.config).unwrap();
        let mut command = bare();
        for (name, value) in [
            ("OPERATOR_IMAGE", "op:1"),
            ("IMAGE", "reg:1"),
            ("IMAGE_PRUNER", "cli:1"),
        ] {
            if self.without != Some(name) {
                command.env(name, value);
            }
        }
        for (flag, file) in [
            ("config", "config.yaml"),
            ("serving-cert", "tls.crt"),
            ("serving-key", "tls.key"),
        ] {
            command.arg(format!("--{flag}={}", self.path(file).display()));
        }
        command
            .arg(format!("--kubeconfig={}", self.path("kubeconfig").display()))
            .args(more);
        command
    }

    fn refused(&self, more: &[&str]) -> String {
        let (status, log) = end(&mut self.command(more));
        assert_eq!(status, Some(1), "{log}");
        log
    }
}

fn bare() -> Command {
    // The program ends with the thread of its test, also if that is killed and drops nothing.
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        env!("CARGO_BIN_EXE_cluster-image-registry-operator"),
    ]);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit status and output of a program that ends by itself.
fn end(command: &mut Command) -> (Option<i32>, String) {
    let mut running = Running(command.spawn().unwrap());
    let status = running.wait();
    let (mut out, mut log) = (String::new(), String::new());
    running.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    (status, out + &log)
}

/// The process is killed when its test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    fn log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.0.stderr.take().unwrap())
    }
}

/// Reads the log up to a line with `words`.
fn await_line(log: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "no line with {words:?} in:\n{all}"
        );
        if line.contains(words) {
            return line;
        }
        all += &line;
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

// lifecycle 9
#[test]
fn unknown_flags_are_refused_with_status_1_and_help_is_0() {
    for wrong in ["-v", "--leader-elect", "frobnicate"] {
        let (status, log) = end(bare().arg(wrong));
        assert_eq!(status, Some(1), "{wrong}: {log}");
        assert!(log.contains(wrong), "{log}");
    }
    let (status, help) = end(bare().arg("--help"));
    assert_eq!(status, Some(0));
    for flag in ["--kubeconfig", "--files", "--config"] {
        assert!(help.contains(flag), "{help}");
    }
}

// lifecycle 3, deploy 20, 21
#[test]
fn the_error_names_a_missing_or_malformed_config_file() {
    let mut stage = Stage::new();
    let missing = show(&stage.path("nothing.yaml"));
    let (status, log) = end(bare()
        .args(["--config", &missing])
        .env("OPERATOR_IMAGE", "a")
        .env("IMAGE", "b")
        .env("IMAGE_PRUNER", "c"));
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains(&missing), "{log}");
    stage.config = "servingInfo: [".to_owned();
    assert!(stage.refused(&[]).contains(&show(&stage.path("config.yaml"))));
}

// lifecycle 5, deploy 25
#[test]
fn the_error_names_an_unknown_tls_version_or_cipher_suite() {
    let mut stage = Stage::new();
    stage.config = "servingInfo: {bindAddress: '127.0.0.1:0', minTLSVersion: VersionTLS99}".to_owned();
    assert!(stage.refused(&[]).contains("VersionTLS99"));
    stage.config = "servingInfo: {bindAddress: '127.0.0.1:0', cipherSuites: [TLS_WRONG]}".to_owned();
    assert!(stage.refused(&[]).contains("TLS_WRONG"));
}

// lifecycle 7
#[test]
fn the_error_names_a_missing_key_file() {
    let stage = Stage::new();
    fs::remove_file(stage.path("tls.key")).unwrap();
    assert!(stage.refused(&[]).contains(&show(&stage.path("tls.key"))));
}

#[test]
fn the_error_names_a_port_in_use() {
    let mut stage = Stage::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    stage.config = format!("servingInfo: {{bindAddress: '{address}'}}");
    assert!(stage.refused(&[]).contains(&address));
}

// deploy 22. The port may be in use on this machine: then the error names it.
#[test]
fn without_a_config_file_metrics_are_at_port_60000() {
    let stage = Stage::new();
    let mut with_file = stage.command(&[]);
    let mut command = bare();
    let own = command.get_args().count();
    let arguments: Vec<_> = with_file.get_args().skip(own).map(ToOwned::to_owned).collect();
    let others = arguments
        .iter()
        .filter(|argument| !argument.to_string_lossy().starts_with("--config="));
    assert_eq!(others.clone().count(), arguments.len() - 1);
    command.args(others);
    command.envs(
        with_file
            .env("RELEASE_VERSION", "")
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut running = Running(command.spawn().unwrap());
    let line = await_line(&mut running.log(), "60000");
    let serves = line
        .split_once("serving metrics on ")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    assert!(
        serves.map_or(line.contains(" :60000: "), |address| address.ends_with(":60000")),
        "{line}"
    );
}

// deploy 31
#[test]
fn the_error_names_a_missing_image_variable() {
    for name in ["OPERATOR_IMAGE", "IMAGE", "IMAGE_PRUNER"] {
        let mut stage = Stage::new();
        stage.without = Some(name);
        assert!(stage.refused(&[]).contains(&format!(" {name} ")));
    }
}

#[test]
fn a_wrong_value_of_a_variable_is_refused_by_its_name() {
    for name in ["NODE_CA", "REGISTRY_PROGRAM"] {
        let stage = Stage::new();
        let mut command = stage.command(&[]);
        let (status, text) = end(command.env(name, "cri-o"));
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(&format!("{name} is \"cri-o\"")), "{text}");
    }
}

#[test]
fn a_wrong_exposure_is_refused_with_variable_and_value() {
    let stage = Stage::new();
    for (name, value) in [
        ("EXPOSE", "loadbalancer"),
        ("EXPOSE_DOMAIN", "*.example.com"),
        ("EXPOSE_ANNOTATIONS", "{a: true}"),
    ] {
        let (status, log) = end(stage.command(&[]).env(name, value));
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(&format!("{name} is {value:?}: ")), "{log}");
    }
}

#[test]
fn a_directory_cannot_be_watched() {
    let stage = Stage::new();
    let dir = show(stage.dir.path());
    assert!(stage.refused(&["--files", &dir]).contains(&dir));
}

#[test]
fn the_variable_kubeconfig_is_ignored() {
    let stage = Stage::new();
    let kubeconfig = stage.path("kubeconfig");
    let mut command = stage.command(&[]);
    let all: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut again = bare();
    let arguments = &all[again.get_args().count()..];
    again.args(
        arguments
            .iter()
            .filter(|argument| !argument.to_string_lossy().starts_with("--kubeconfig")),
    );
    again.envs(
        command
            .env("KUBECONFIG", kubeconfig)
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let (status, log) = end(&mut again);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("no --kubeconfig was given"), "{log}");
}

// deploy 19: the arguments of the shipped Deployment
#[test]
fn the_shipped_arguments_are_accepted_and_their_files_watched() {
    let stage = Stage::new();
    let files: Vec<_> = ["tls-ca-bundle.pem", "tls.crt", "tls.key", "config.yaml"]
        .map(|f| show(&stage.path(f)))
        .into();
    fs::write(&files[0], "").unwrap();
    let flags: Vec<_> = files.iter().map(|file| format!("--files={file}")).collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut running = Running(stage.command(&flags).spawn().unwrap());
    let mut log = running.log();
    await_line(&mut log, &format!("Watching files [{}]", files.join(" ")));
    await_line(&mut log, "Overwriting root TLS certificate authority trust store");
    await_line(&mut log, "serving metrics on 127.0.0.1:");
    await_line(&mut log, "attempting to acquire leader lease");
}

// deploy 35
#[test]
fn without_the_files_the_operator_makes_a_serving_certificate_if_it_may() {
    let stage = Stage::new();
    fs::remove_file(stage.path("tls.crt")).unwrap();
    assert!(
        stage.refused(&["--self-signed-serving-cert"]).contains("tls.crt"),
        "the key alone"
    );
    fs::remove_file(stage.path("tls.key")).unwrap();
    assert!(stage.refused(&[]).contains("tls.crt"));
    let mut running = Running(stage.command(&["--self-signed-serving-cert"]).spawn().unwrap());
    let mut log = running.log();
    await_line(&mut log, "the metrics server uses a certificate of its own");
    await_line(&mut log, "serving metrics on 127.0.0.1:");
    await_line(&mut log, "attempting to acquire leader lease");
}

// lifecycle 1.8: a signal while waiting for the lease
#[test]
fn a_signal_while_waiting_for_the_lease_ends_the_process_cleanly() {
    for name in ["INT", "TERM"] {
        let stage = Stage::new();
        let mut running = Running(stage.command(&[]).spawn().unwrap());
        let mut log = running.log();
        await_line(&mut log, "attempting to acquire leader lease");
        let signalled = Instant::now();
        running.signal(name);
        assert_eq!(running.wait(), Some(0), "{name}");
        assert!(signalled.elapsed() < Duration::from_secs(2), "{name}");
    }
}

// lifecycle 15, deploy 26
#[test]
fn a_changed_file_ends_the_process_cleanly() {
    let stage = Stage::new();
    let watched = stage.path("tls.crt");
    let mut running = Running(stage.command(&["--files", &show(&watched)]).spawn().unwrap());
    let mut log = running.log();
    await_line(&mut log, "attempting to acquire leader lease");
    fs::write(&watched, "other").unwrap();
    let line = await_line(&mut log, "object changed");
    assert!(line.contains(&show(&watched)), "{line}");
    assert_eq!(running.wait(), Some(0));
}
