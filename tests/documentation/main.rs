//! Every command of README and `docs/` runs against a cluster with simulated nodes, page by page and in the order of the page;
//! `e2e` runs those that need real nodes. A page that names a result must show what the cluster then shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::large_futures,
    reason = "a helper that stops is the report of its test, and a test holds its futures once"
)]

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::api::PostParams;
use serde_json::{Value, json};

use support::pages::{self, Block, Place};
use support::{TIMEOUT, TestCluster, condition, config_ref, merge, observed, shared_cluster, simulated};

const CONFIG: &str = "configs.imageregistry.operator.openshift.io/cluster";
/// Reasons of `Degraded` while storage cannot be reached; every other reason refuses a Config.
const OF_STORAGE: [&str; 3] = ["StoragePreflightFailed", "SyncError", "Unavailable"];

// issue 16
#[tokio::test]
async fn every_command_of_the_pages_runs_or_says_why_not() {
    let cluster = shared_cluster(simulated("documentation")).await;
    let directory = tempfile::tempdir().unwrap();
    files_of_a_reader(directory.path());
    let only = std::env::var("PAGE").unwrap_or_default();
    let (mut run, mut failures) = (0, Vec::new());
    for (page, blocks) in by_page().into_iter().filter(|(page, _)| page.contains(&only)) {
        let began = Instant::now();
        failures.extend(run_page(&cluster, directory.path(), &page, &blocks).await);
        run += blocks.len();
        eprintln!("{page}: {} blocks, {:.0?}", blocks.len(), began.elapsed());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(run > 90 || !only.is_empty(), "{run}");
}

/// Pages and the blocks that run here. All runbooks count as one page: most of them have one command, which changes little.
fn by_page() -> Vec<(String, Vec<Block>)> {
    let mut all: Vec<(String, Vec<Block>)> = Vec::new();
    for page in pages::pages() {
        let blocks = pages::blocks(&page).into_iter();
        let blocks: Vec<_> = blocks.filter(|block| block.place == Place::Simulated).collect();
        let name = if page.starts_with("docs/runbooks/") {
            "docs/runbooks"
        } else {
            &page
        };
        match all.last_mut() {
            Some((last, found)) if last == name => found.extend(blocks),
            _ => all.push((name.to_owned(), blocks)),
        }
    }
    all.retain(|(_, blocks)| !blocks.is_empty());
    all
}

/// Runs the blocks of a page on a cluster that was reset. Returns what failed.
async fn run_page(cluster: &TestCluster, directory: &Path, page: &str, blocks: &[Block]) -> Vec<String> {
    cluster.reset().await;
    prepare(cluster, directory, page).await;
    // No storage of a cloud answers, and no request leaves this machine.
    let nobody = "http://127.0.0.1:1";
    let environment = [
        ("HTTPS_PROXY", nobody),
        ("HTTP_PROXY", nobody),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ];
    let operator = cluster.operator_with(&environment).await;
    cluster.until_up().await;
    let mut failures = Vec::new();
    for block in blocks {
        failures.extend(run_block(cluster, directory, block).await.err());
    }
    operator.stop().await;
    failures
}

/// Files that the pages name, and the installation files at the place where the commands expect them.
fn files_of_a_reader(directory: &Path) {
    for name in ["deploy", "crds"] {
        symlink(pages::repository().join(name), directory.join(name)).unwrap();
    }
    let signed = rcgen::generate_simple_self_signed(vec!["registry.example.com".to_owned()]).unwrap();
    for name in ["ca.pem", "ca.crt", "tls.crt"] {
        std::fs::write(directory.join(name), signed.cert.pem()).unwrap();
    }
    for name in ["tls.key", "key.pem"] {
        std::fs::write(directory.join(name), signed.signing_key.serialize_pem()).unwrap();
    }
    std::fs::write(directory.join("key.json"), "{}").unwrap();
}

/// The cluster as a page expects it: a registry on emptyDir, the claim of an administrator, the installed operator.
async fn prepare(cluster: &TestCluster, directory: &Path, page: &str) {
    cluster.shared_volume().await;
    cluster
        .volume(
            "claimed",
            json!({"accessModes": ["ReadWriteMany"], "storageClassName": ""}),
        )
        .await;
    let claim = json!({"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": "claimed",
                       "resources": {"requests": {"storage": "100Gi"}}});
    cluster
        .create(
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim,
                       "metadata": {"name": "my-claim", "namespace": "openshift-image-registry"}}),
        )
        .await;
    cluster.create_config(json!({})).await;
    // The page on installation deletes some of the rights.
    let mut commands = "oc apply --server-side --force-conflicts -f deploy/02-rbac.yaml".to_owned();
    if page == "docs/installation.md" {
        commands.push_str("\noc apply -f deploy/07-operator.yaml");
    }
    if ["docs/metrics.md", "docs/runbooks"].contains(&page) {
        let kinds = ["PrometheusRule", "ServiceMonitor", "PodMonitor"].map(kind_of_prometheus);
        std::fs::write(directory.join("prometheus.yaml"), kinds.join("---\n")).unwrap();
        commands.push_str("\noc apply -f prometheus.yaml\noc wait --for=condition=Established -f prometheus.yaml");
    }
    if page == "docs/runbooks" {
        commands.push_str("\noc apply -f deploy/optional/prometheus-rules-removed.yaml");
    }
    pages::follow(cluster, directory, page, &commands).await.unwrap();
}

/// A kind of Prometheus Operator, without its schema.
fn kind_of_prometheus(kind: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {singular}s.monitoring.coreos.com}}
spec:
  group: monitoring.coreos.com
  names: {{kind: {kind}, listKind: {kind}List, plural: {singular}s, singular: {singular}}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    )
}

/// Runs a block, waits until the operator has seen what it changed, and compares with what the page promises.
async fn run_block(cluster: &TestCluster, directory: &Path, block: &Block) -> Result<(), String> {
    let place = format!("{}:{}", block.page, block.line);
    let edits = block.commands.contains(&format!("oc patch {CONFIG}"));
    if edits {
        start_from(cluster, block.from.as_ref(), &place).await;
    }
    match &block.output {
        Some(expected) => shows(cluster, directory, &place, &block.commands, expected).await?,
        None => pages::follow(cluster, directory, &place, &block.commands).await?,
    }
    if !edits {
        return Ok(());
    }
    let seen = cluster
        .until_config(&format!("seen by the operator after {place}"), observed)
        .await;
    let (status, reason, message) = condition(&seen, "Degraded");
    let is_told = block.output.as_ref().is_some_and(|output| output.contains(&reason));
    if status != "True" || is_told || OF_STORAGE.contains(&reason.as_str()) {
        return Ok(());
    }
    Err(format!("{place}: Degraded ({reason}): {message}\n{}", block.commands))
}

/// Runs commands until they print what the page promises: the operator needs a moment.
async fn shows(
    cluster: &TestCluster,
    directory: &Path,
    place: &str,
    commands: &str,
    expected: &str,
) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let output = pages::run(cluster, directory, commands).await;
        let printed = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && ends_with(printed.trim(), expected) {
            return Ok(());
        }
        if began.elapsed() > TIMEOUT {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{place}: the page promises\n{expected}\nand the cluster shows\n{printed}{error}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the last lines of `printed` are `expected`.
fn ends_with(printed: &str, expected: &str) -> bool {
    let last = printed.strip_suffix(expected);
    last.is_some_and(|before| before.is_empty() || before.ends_with('\n'))
}

/// The registry on emptyDir with one replica and nothing else, with `from` on top: the examples of a page are alternatives.
async fn start_from(cluster: &TestCluster, from: Option<&Value>, place: &str) {
    let api = cluster.api(&config_ref());
    loop {
        let mut config = cluster.config().await;
        let mut spec = json!({"managementState": "Managed", "replicas": 1, "storage": {"emptyDir": {}}});
        if let Some(from) = from {
            if from.get("storage").is_some() {
                spec["storage"] = json!({});
            }
            merge(&mut spec, from.clone());
        }
        for kept in ["httpSecret", "observedConfig"] {
            spec[kept] = config["spec"][kept].clone();
        }
        config["spec"] = spec;
        match api
            .replace(
                "cluster",
                &PostParams::default(),
                &serde_json::from_value(config).unwrap(),
            )
            .await
        {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => panic!("{place}: {error}"),
        }
    }
    cluster
        .until_config(&format!("seen by the operator before {place}"), observed)
        .await;
}

#[test]
fn each_command_within_a_text_that_is_not_run_is_in_a_text() {
    let all: Vec<_> = pages::pages().iter().flat_map(|page| pages::blocks(page)).collect();
    for (text, reason) in pages::NOT_RUN {
        let is_there = all.iter().any(|block| block.commands == *text);
        assert!(is_there, "{text} ({reason}) is on no page");
    }
}

#[test]
fn blocks_of_commands_are_found_with_their_marks() {
    let text = "# P\n\n    a \\\n      b\n    c\n\n    d\n\n```output\n1\n2\n```\n\n1. Text\n   goes on:\n\n   <!-- not run: no cloud -->\n       e\n\n## Q\n\n\
                ```json\n{}\n```\n\n<!-- from: {\"replicas\":2} -->\n```sh\nf\n\ng\n```\nparagraph\n    no block\n\n### R\n\n\
                <!-- section not run: no helm -->\n\n    h\n\nthe command `oc\nget x`\n";
    let found = pages::parse("p.md", text);
    let told: Vec<_> = found
        .iter()
        .map(|b| (b.line, b.section.as_str(), b.commands.replace(' ', "")))
        .collect();
    assert_eq!(
        told,
        [
            (3, "P", "a\\\nb\nc".to_owned()),
            (7, "P", "d".to_owned()),
            (18, "P", "e".to_owned()),
            (28, "Q", "f\n\ng".to_owned()),
            (39, "R", "h".to_owned()),
        ]
    );
    assert_eq!(found[1].output.as_deref(), Some("1\n2"));
    assert_eq!(found[2].place, Place::Nowhere("no cloud".to_owned()));
    assert_eq!(found[3].from, Some(json!({"replicas": 2})));
    assert_eq!(found[4].place, Place::Nowhere("no helm".to_owned()));
    let inline = pages::inline("p.md", text);
    assert_eq!(
        (inline.len(), inline[0].line, inline[0].commands.as_str()),
        (1, 41, "oc get x")
    );
}
