//! What Prometheus and Grafana get: rules, their unit tests, the dashboard, and the metrics that they name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use devcluster::programs;
use serde_json::Value;

const DASHBOARD: &str = "deploy/optional/dashboard.json";
const CONSOLE: &str = "deploy/optional/dashboard-configmap.yaml";

/// Metrics of the platform's registry program, from its source (`pkg/dockerregistry/server/metrics`).
const OF_THE_REGISTRY: [&str; 3] = [
    "imageregistry_request_duration_seconds_bucket",
    "imageregistry_request_duration_seconds_count",
    "imageregistry_storage_errors_total",
];
/// Metrics of the cluster-version operator and of Prometheus.
const OF_OTHERS: [&str; 2] = ["cluster_operator_conditions", "up"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Name and content of every PrometheusRule below `deploy/`.
fn rules() -> Vec<(String, Value)> {
    let files = ["deploy", "deploy/optional"].map(|directory| fs::read_dir(repository().join(directory)).unwrap());
    let yaml = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    let yaml = yaml.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let objects = yaml.map(|path| serde_saphyr::from_str::<Value>(&read(path)));
    let mut rules: Vec<(String, Value)> = objects
        .filter_map(Result::ok)
        .filter(|object| object["kind"] == "PrometheusRule")
        .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), object))
        .collect();
    rules.sort_by(|a, b| a.0.cmp(&b.0));
    rules
}

/// Every rule of a PrometheusRule.
fn each_rule(object: &Value) -> impl Iterator<Item = &Value> {
    let groups = object["spec"]["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap())
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let list = |value: &Value, member: &str| value[member].as_array().cloned().unwrap_or_default();
    let panels = list(dashboard, "rows").into_iter().flat_map(|row| list(&row, "panels"));
    let targets = panels.flat_map(|panel| list(&panel, "targets"));
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// Writes the rules and their unit tests where promtool finds them.
fn prepared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, object) in rules() {
        let path = directory.path().join(format!("{name}.rules.yaml"));
        fs::write(path, serde_json::to_string_pretty(&object["spec"]).unwrap()).unwrap();
    }
    fs::write(
        directory.path().join("rules.test.yaml"),
        read("tests/monitoring/rules.test.yaml"),
    )
    .unwrap();
    directory
}

async fn promtool(directory: &Path, words: &[&str]) -> Result<String, String> {
    let programs = programs::ensure(programs::MONITORING).await.unwrap();
    let mut command = Command::new(programs.path("promtool").unwrap());
    let output = command.args(words).current_dir(directory).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if output.status.success() {
        Ok(text.concat())
    } else {
        Err(text.concat())
    }
}

// deploy 43 (the expressions are compared in tests/manifests)
#[tokio::test]
async fn promtool_accepts_every_rule() {
    let directory = prepared();
    let rules = rules();
    assert_eq!(rules.len(), 5, "{rules:?}");
    for (name, object) in &rules {
        let file = format!("{name}.rules.yaml");
        // The four rules of the telemetry have one name and differ in what they select; dashboards depend on that.
        let lint = if name == "image-registry-rules" {
            "--lint=none"
        } else {
            "--lint-fatal"
        };
        let said = promtool(directory.path(), &["check", "rules", lint, &file])
            .await
            .unwrap();
        let count = each_rule(object).count();
        assert!(said.contains(&format!("{count} rules found")), "{said}");
    }
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    for expression in expressions(&dashboard) {
        let said = promtool(directory.path(), &["promql", "--experimental", "format", &expression]).await;
        assert!(said.is_ok(), "{expression}: {said:?}");
    }
}

// deploy 44, 45
#[tokio::test]
async fn alerts_fire_when_they_should_and_only_then() {
    let directory = prepared();
    let tested = read("tests/monitoring/rules.test.yaml");
    for (_, object) in rules() {
        for alert in each_rule(&object).filter_map(|rule| rule["alert"].as_str()) {
            let named = format!("alertname: {alert}");
            assert!(
                tested.matches(&named).count() >= 2,
                "{alert} has no test that it fires and one that it does not"
            );
        }
    }
    let said = promtool(directory.path(), &["test", "rules", "rules.test.yaml"]).await;
    said.unwrap_or_else(|said| panic!("{said}"));
    // The tests would see another expression.
    let path = directory.path().join("image-registry-operator-alerts.rules.yaml");
    let broken = fs::read_to_string(&path)
        .unwrap()
        .replace("DEVICE_OUT_OF_SPACE", "DEVICE_FULL");
    fs::write(&path, broken).unwrap();
    let said = promtool(directory.path(), &["test", "rules", "rules.test.yaml"])
        .await
        .unwrap_err();
    assert!(said.contains("ImageRegistryStorageFull"), "{said}");
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let mut alerts = BTreeSet::new();
    for (_, object) in rules() {
        for rule in each_rule(&object) {
            let Some(alert) = rule["alert"].as_str() else { continue };
            alerts.insert(format!("{alert}.md"));
            let annotations = &rule["annotations"];
            let page = annotations["runbook"]
                .as_str()
                .or(annotations["runbook_url"].as_str())
                .unwrap();
            assert!(page.ends_with(&format!("/{alert}.md")), "{page}");
            let text = read(format!("docs/runbooks/{alert}.md"));
            for heading in [&format!("# {alert}\n"), "## Impact\n", "## Diagnosis\n", "## Remedy\n"] {
                assert!(text.contains(heading), "docs/runbooks/{alert}.md has no {heading}");
            }
            assert!(
                read("docs/metrics.md").contains(&format!("`{alert}`")),
                "docs/metrics.md does not list {alert}"
            );
        }
    }
    let pages = fs::read_dir(repository().join("docs/runbooks")).unwrap();
    let pages: BTreeSet<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(pages, alerts);
}

#[test]
fn the_consoles_config_map_has_the_dashboard() {
    let dashboard = read(DASHBOARD);
    let config_map: Value = serde_saphyr::from_str(&read(CONSOLE)).unwrap();
    let head: String = read(CONSOLE)
        .lines()
        .take_while(|line| *line != "  image-registry.json: |")
        .fold(String::new(), |head, line| head + line + "\n");
    let body: String = dashboard
        .lines()
        .fold(String::new(), |body, line| format!("{body}    {line}\n"));
    let generated = format!("{head}  image-registry.json: |\n{body}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(repository().join(CONSOLE), &generated).unwrap();
    }
    assert_eq!(
        read(CONSOLE),
        generated,
        "{CONSOLE} is out of date: run `make generate`"
    );
    assert_eq!(
        config_map["metadata"]["labels"]["console.openshift.io/dashboard"],
        "true"
    );
    assert_eq!(
        config_map["data"]["image-registry.json"].as_str(),
        Some(dashboard.as_str())
    );
}

/// Names of metrics in a text: words with the prefixes that operator and registry use.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_part(c))
        .filter(|word| {
            ["image_registry_", "imageregistry_", "imageregistry:"]
                .iter()
                .any(|p| word.starts_with(p))
        })
        .map(str::to_owned)
        .collect()
}

/// Names under which a scrape returns the operator's metrics, from what the source registers.
fn of_the_operator() -> BTreeSet<String> {
    let source = read("src/runtime/metrics.rs");
    let mut names = BTreeSet::new();
    for name in named(source.split("#[cfg(test)]").next().unwrap()) {
        for suffix in ["", "_total", "_bucket", "_count", "_sum"] {
            names.insert(format!("{name}{suffix}"));
        }
    }
    names
}

// issue 16
#[test]
fn the_page_has_each_metric_that_the_operator_registers() {
    let source = read("src/runtime/metrics.rs");
    let page = read("docs/metrics.md");
    let registered = named(source.split("#[cfg(test)]").next().unwrap());
    assert!(registered.len() > 10, "{registered:?}");
    for name in registered {
        let is_there = ["", "_total"]
            .iter()
            .any(|suffix| page.contains(&format!("| `{name}{suffix}` |")));
        assert!(is_there, "docs/metrics.md lacks {name}");
    }
}

#[test]
fn each_metric_that_a_file_names_exists() {
    let recorded: BTreeSet<String> = rules()
        .iter()
        .flat_map(|(_, object)| {
            each_rule(object)
                .filter_map(|rule| rule["record"].as_str().map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect();
    let known = of_the_operator();
    let exists = |name: &str| known.contains(name) || recorded.contains(name) || OF_THE_REGISTRY.contains(&name);
    let mut files: Vec<PathBuf> = vec!["README.md".into(), DASHBOARD.into()];
    for directory in ["docs", "docs/runbooks", "deploy", "deploy/optional"] {
        let entries = fs::read_dir(repository().join(directory)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    let mut seen = 0;
    for file in files {
        for name in named(&read(&file)) {
            assert!(exists(&name), "{} names {name}, which nothing exposes", file.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
    // Expressions use nothing else.
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut all = expressions(&dashboard);
    for (_, object) in rules() {
        all.extend(each_rule(&object).map(|rule| rule["expr"].as_str().unwrap().to_owned()));
    }
    for expression in all {
        let uses = |name: &str| expression.contains(name);
        assert!(
            !named(&expression).is_empty() || OF_OTHERS.iter().any(|name| uses(name)),
            "{expression}"
        );
    }
}

/// On plain Kubernetes Prometheus Operator finds the operator by its Service, and the stock registry by the port of its pods.
#[test]
fn the_monitors_of_plain_kubernetes_select_what_is_there() {
    let documents = |text: &str| -> Vec<Value> {
        text.split("\n---\n")
            .map(|text| serde_saphyr::from_str(text).unwrap())
            .collect()
    };
    let monitors = documents(&read("deploy/optional/monitors-kubernetes.yaml"));
    let [operator, registry] = &monitors[..] else {
        panic!("{monitors:?}")
    };
    let service: Value = serde_saphyr::from_str(&read("deploy/07-operator-service.yaml")).unwrap();
    assert_eq!(
        operator["spec"]["selector"]["matchLabels"],
        service["metadata"]["labels"]
    );
    let endpoint = &operator["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    // What the operator renders for the stock registry.
    let plan: Value = serde_saphyr::from_str(&read("tests/golden/distribution_s3/plan.yaml")).unwrap();
    let template = find_template(&plan).expect("the plan has a Deployment");
    let wanted = registry["spec"]["selector"]["matchLabels"].as_object().unwrap();
    for (label, value) in wanted {
        assert_eq!(&template["metadata"]["labels"][label], value, "{label}");
    }
    let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
    let endpoint = &registry["spec"]["podMetricsEndpoints"][0];
    assert!(ports.iter().any(|port| port["name"] == endpoint["port"]), "{ports:?}");
}

/// The template of the pods of Deployment `image-registry`.
fn find_template(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(members) if members.get("kind").is_some_and(|kind| kind == "Deployment") => {
            value.pointer("/spec/template")
        }
        Value::Object(members) => members.values().find_map(find_template),
        Value::Array(items) => items.iter().find_map(find_template),
        _ => None,
    }
}
