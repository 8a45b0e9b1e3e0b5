//! Installs, upgrades and uninstalls the operator with the commands of docs/installation.md, and runs it outside of the cluster
//! with those of CONTRIBUTING.md. One scenario: each step builds on the one before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use devcluster::Options;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    TestCluster, cluster_operator, config_ref, default_claim, deployment, eventually, image, is, observed, operand,
    operator, simulated,
};
use crate::{ROOT, Tools, inspect, objects, read, run, targets};

const HOME: &str = names::NAMESPACE;
const OPERATOR: &str = names::OPERATOR_DEPLOYMENT;
/// Kinds that OKD serves, beside those that devcluster serves.
const MORE_KINDS: [(&str, &str, &str, &str); 3] = [
    (
        "cloudcredential.openshift.io",
        "v1",
        "CredentialsRequest",
        "credentialsrequests",
    ),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
];
const IMAGES_CRD: &str = "tests/devcluster/crds/platform/images.yaml";
/// What a deletion may take.
pub const LIMIT: &str = "60";

/// The text of a section of a page.
fn section(page: &str, heading: &str) -> String {
    let page = read(page);
    let (_, section) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    section.split("\n## ").next().unwrap().to_owned()
}

/// Commands of a section of a page, one a line.
pub fn commands(page: &str, heading: &str, tool: &[&str]) -> Vec<String> {
    let section = section(page, heading).replace("\\\n", " ");
    let lines = section.lines().filter(|line| line.starts_with("    ")).map(str::trim);
    lines
        .filter(|line| tool.iter().any(|tool| line.starts_with(&format!("{tool} "))))
        .map(str::to_owned)
        .collect()
}

pub fn only(mut commands: Vec<String>, part: &str) -> String {
    commands.retain(|command| command.contains(part));
    assert_eq!(commands.len(), 1, "{part}: {commands:?}");
    commands.remove(0)
}

pub struct Scenario {
    pub cluster: TestCluster,
    tools: Tools,
    kubeconfig: PathBuf,
}

/// The operator, run by a shell with the commands of CONTRIBUTING.md.
struct Local(Child);

impl Drop for Local {
    fn drop(&mut self) {
        // In an orderly way, so that it releases the Lease.
        if self.0.try_wait().unwrap().is_none() {
            operator::signal(self.0.id(), "TERM");
        }
        self.0.wait().unwrap();
    }
}

impl Scenario {
    /// A cluster on which nothing is installed.
    pub async fn on(options: Options) -> Self {
        let tools = Tools::get().await;
        let cluster = TestCluster::exclusive(options).await;
        let kubeconfig = cluster.devcluster.kubeconfig().to_owned();
        Self {
            cluster,
            tools,
            kubeconfig,
        }
    }

    async fn begin() -> Self {
        let options = Options {
            deploy: false,
            simulated_nodes: 1,
            ..simulated("packaging")
        };
        let scenario = Self::on(options).await;
        for (group, version, kind, plural) in MORE_KINDS {
            scenario
                .cluster
                .devcluster
                .apply(&crd(group, version, kind, plural))
                .await
                .unwrap();
        }
        scenario.shell("oc create namespace openshift-cloud-credential-operator");
        scenario.shell("oc label nodes --all node-role.kubernetes.io/master=");
        // devcluster has installed what an installation brings.
        scenario.shell(&format!("oc delete namespace {HOME} --timeout {LIMIT}s"));
        scenario.shell(&format!("oc delete --timeout {LIMIT}s -f crds -f {IMAGES_CRD}"));
        scenario
    }

    fn script(&self, commands: &str) -> Command {
        let (kubectl, helm) = (self.tools.kubectl.display(), self.tools.helm.display());
        let script = format!(
            "set -euo pipefail\noc() {{ '{kubectl}' \"$@\"; }}\nkubectl() {{ oc \"$@\"; }}\nhelm() {{ '{helm}' \"$@\"; }}\n{commands}"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs commands as an administrator. `timeout` would not find the functions, so that kubectl itself limits what may hang.
    pub fn shell(&self, commands: &str) -> String {
        run(&mut self.script(commands)).unwrap_or_else(|error| panic!("{commands}: {error}"))
    }

    /// Every object of the cluster, without those that come and go by themselves.
    pub fn everything(&self) -> BTreeSet<String> {
        let columns = "custom-columns=K:.kind,V:.apiVersion,S:.metadata.namespace,N:.metadata.name";
        let listed = self.shell(&format!(
            "oc get $(oc api-resources --verbs=list,delete -o name | paste -sd,) --all-namespaces --no-headers -o {columns}"
        ));
        let passing = ["APIService ", "Event ", "Lease ", "EndpointSlice ", "Image "];
        let lines = listed
            .lines()
            .filter(|line| !passing.iter().any(|kind| line.starts_with(kind)));
        let lines = lines.filter(|line| !line.contains("images.config.openshift.io"));
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// Runs the operator as a process.
    async fn run_locally(&self) -> Local {
        let section = section("CONTRIBUTING.md", "Run the operator outside of its cluster");
        let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let (last, before) = lines.split_last().unwrap();
        assert!(last.starts_with("env ") && before.len() >= 5, "{lines:?}");
        // Metrics on loopback: other tests run beside this one. `exec`, so that the process is the shell's.
        let script = format!(
            "{}\nsed -i 's/\":60000\"/127.0.0.1:0/' $DIR/config.yaml\nexec {last}",
            before.join("\n")
        );
        let program = Path::new(env!("CARGO_BIN_EXE_cluster-image-registry-operator"));
        let path = format!(
            "{}:{}",
            program.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        // The rights of the operator, also for the commands before, would not do: only the program gets its kubeconfig.
        let account = self
            .cluster
            .devcluster
            .service_account_kubeconfig(HOME, operator::ACCOUNT)
            .await
            .unwrap();
        let script = script.replace(
            "--kubeconfig \"$KUBECONFIG\"",
            &format!("--kubeconfig '{}'", account.display()),
        );
        let log = self.cluster.devcluster.directory().join("operator-local.log");
        let file = File::create(&log).unwrap();
        let (variable, directory) = self.cluster.devcluster.mark_of_processes();
        let mut command = self.script(&script);
        command.env("PATH", path).env(variable, directory).current_dir(ROOT);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let local = Local(command.spawn().unwrap());
        eventually("the operator leads", async || {
            fs::read_to_string(&log).unwrap().contains("all watches are in sync")
        })
        .await;
        local
    }

    async fn present(&self, reference: &ObjectRef) -> bool {
        self.cluster.get(reference).await.is_some()
    }

    async fn uid(&self, reference: &ObjectRef) -> String {
        let object = self
            .cluster
            .get(reference)
            .await
            .unwrap_or_else(|| panic!("{reference} is gone"));
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Ids of what an uninstallation of the operator must not touch.
    async fn registry(&self) -> Vec<String> {
        let references = [
            config_ref(),
            deployment(),
            default_claim(),
            operand(Kind::Service, "image-registry"),
            operand(Kind::Secret, "installation-pull-secrets"),
            ObjectRef::new(Kind::Namespace, "", HOME),
        ];
        let mut uids = Vec::new();
        for reference in &references {
            uids.push(self.uid(reference).await);
        }
        uids
    }

    fn installed() -> String {
        let command = only(commands("docs/installation.md", "With Helm", &["helm"]), "helm install");
        let command = command
            .replace("<your image>", operator_image())
            .replace("<registry>", "localhost/registry:dev")
            .replace("<cli>", "localhost/cli:dev")
            .replace("<version of OKD>", "4.22.0");
        assert!(!command.contains('<'), "{command}");
        command
    }

    /// Whether the objects of a base are there: all of them, or none.
    fn base_is_there(&self, base: &str) -> bool {
        let rendered = objects(
            &self
                .tools
                .kubectl(&["kustomize", &format!("charts/image-registry-operator/base/{base}")])
                .unwrap(),
        );
        let all = self.everything();
        let text = |object: &Value, pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("<none>")
                .to_owned()
        };
        let lines: Vec<String> = rendered
            .iter()
            .map(|o| {
                ["/kind", "/apiVersion", "/metadata/namespace", "/metadata/name"]
                    .map(|p| text(o, p))
                    .join(" ")
            })
            .collect();
        let (there, missing): (Vec<_>, Vec<_>) = lines.iter().partition(|line| all.contains(*line));
        assert!(
            there.is_empty() || missing.is_empty(),
            "{base}: {there:?} but not {missing:?}"
        );
        missing.is_empty()
    }
}

pub fn operator_image() -> &'static str {
    "localhost/operator:dev"
}

/// A CRD that accepts every object.
fn crd(group: &str, version: &str, kind: &str, plural: &str) -> String {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}]},
    })
    .to_string()
}

// deploy 46, 50, 52, 57: the second half
#[tokio::test]
async fn the_operator_is_installed_upgraded_and_uninstalled_as_documented() {
    let scenario = Scenario::begin().await;
    let before = scenario.everything();
    let registry = scenario.helm_installs_and_upgrades().await;
    scenario.helm_uninstalls_and_installs_again(&registry).await;
    scenario.kustomize_takes_over(&registry).await;
    scenario.everything_goes().await;
    scenario.shell("oc delete persistentvolume volume");
    let after = scenario.everything();
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "taken away: {lost:?}");
}

impl Scenario {
    /// Ends with a registry whose operator Helm has installed. The ids of its objects.
    async fn helm_installs_and_upgrades(&self) -> Vec<String> {
        self.shell(&Self::installed());
        for base in ["crds", "okd/registry", "okd/operator"] {
            assert!(self.base_is_there(base), "{base}");
        }
        let shipped = operand(Kind::Deployment, OPERATOR);
        self.cluster
            .until(&shipped, "available", |d| {
                d.is_some_and(|d| d["status"]["availableReplicas"] == 1)
            })
            .await;
        eventually("a target", async || {
            !targets::targets(&self.cluster, HOME, "image-registry-operator")
                .await
                .is_empty()
        })
        .await;

        let local = self.run_locally().await;
        self.cluster.until_removed().await;
        // The operator has started without kind Image. It looks again every 30 seconds, so the registry comes up meanwhile.
        let images = fs::read_to_string(format!("{ROOT}/{IMAGES_CRD}")).unwrap();
        self.cluster.devcluster.apply(&images).await.unwrap();
        self.cluster.create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": names::DEFAULT_CLAIM, "namespace": HOME},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}})).await;
        self.cluster.shared_volume().await;
        self.cluster
            .edit(json!({"managementState": "Managed", "storage": {"pvc": {"claim": names::DEFAULT_CLAIM}}}))
            .await;
        self.cluster.until_up().await;
        eventually("a target", async || {
            !targets::targets(&self.cluster, HOME, "image-registry").await.is_empty()
        })
        .await;
        inspect::collects_what_the_page_names(&self.cluster).await;
        let published =
            |o: &Value| o["status"]["internalRegistryHostname"] == "image-registry.openshift-image-registry.svc:5000";
        self.cluster
            .until(&image(), "published", |o| o.is_some_and(published))
            .await;

        let upgrade = only(commands("docs/installation.md", "With Helm", &["helm"]), "helm upgrade");
        self.shell(&format!("oc -n {HOME} scale deployment/{OPERATOR} --replicas 1\n{upgrade} --set monitoring=false --set-json 'nodeSelector={{}}'"));
        let upgraded = self.cluster.get(&shipped).await.unwrap();
        let pod = &upgraded["spec"]["template"]["spec"];
        assert!(pod["nodeSelector"].is_null(), "{pod}");
        assert_eq!(pod["containers"][0]["image"], operator_image());
        assert_eq!(
            self.shell(&format!("oc -n {HOME} get servicemonitors,prometheusrules -o name")),
            ""
        );
        drop(local);
        self.registry().await
    }

    async fn helm_uninstalls_and_installs_again(&self, registry: &[String]) {
        let uninstall = only(
            commands("docs/installation.md", "Uninstall", &["helm"]),
            "helm uninstall",
        );
        for round in ["first", "again"] {
            self.shell(&format!("{uninstall} --wait --timeout {LIMIT}s"));
            assert!(!self.base_is_there("okd/operator"), "{round}");
            for base in ["crds", "okd/registry"] {
                assert!(self.base_is_there(base), "{round}: {base}");
            }
            assert_eq!(self.registry().await, registry, "{round}");
            assert!(!self.present(&cluster_operator()).await);
            if round == "first" {
                self.shell(&Self::installed());
                assert!(self.base_is_there("okd/operator"));
            }
        }
    }

    /// The same registry under an operator that kustomize has installed, which then removes the registry.
    async fn kustomize_takes_over(&self, registry: &[String]) {
        self.shell(&only(
            commands("docs/installation.md", "With kustomize", &["kubectl"]),
            "apply",
        ));
        assert!(self.base_is_there("okd/operator"));
        assert_eq!(self.registry().await, registry);
        let local = self.run_locally().await;
        self.cluster.until_up().await;
        self.cluster.settle().await;
        assert_eq!(self.registry().await, registry);
        let steps = commands("docs/installation.md", "Uninstall", &["oc"]);
        for part in ["\"Removed\"", "condition=Removed", "condition=Progressing=False"] {
            self.shell(&only(steps.clone(), part));
        }
        let config = self.cluster.config().await;
        assert!(
            observed(&config) && is(&config, "Progressing", "False", "Removed"),
            "{config}"
        );
        assert!(!self.present(&deployment()).await);
        assert!(self.present(&default_claim()).await, "the claim is the user's");
        self.shell(&format!("{} --timeout {LIMIT}s", only(steps, "base/okd/operator")));
        assert!(!self.base_is_there("okd/operator"));
        drop(local);
    }

    /// Without an operator: a Config that is being deleted waits for its finalizer, until the documented commands are run.
    async fn everything_goes(&self) {
        self.shell("oc delete configs.imageregistry.operator.openshift.io/cluster --wait=false");
        let config = self.cluster.config().await;
        assert!(
            config["metadata"]["deletionTimestamp"].is_string() && config["metadata"]["finalizers"].is_array(),
            "{config}"
        );
        let steps = commands("docs/installation.md", "Uninstall", &["oc"]);
        let at = steps.iter().position(|step| step.contains("finalizers")).unwrap();
        assert!(steps.len() > at + 5, "{steps:?}");
        // The Config is deleted already, and gone with its finalizer.
        for step in &steps[at..] {
            let limit = if step.starts_with("oc delete") {
                format!(" --timeout {LIMIT}s")
            } else {
                String::new()
            };
            self.shell(&format!("{step}{limit}"));
        }
    }
}
