//! Installs, upgrades and uninstalls the operator on a cluster without the platform's APIs, with the commands of docs/kubernetes.md.

use devcluster::Options;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::Value;

use crate::install::{LIMIT, Scenario, commands, only, operator_image};
use crate::support::operator::Operator;
use crate::support::{deployment, eventually, is_up, operand, plain};

const PAGE: &str = "docs/kubernetes.md";

impl Scenario {
    /// The environment of the installed operator, for one outside of the cluster.
    async fn environment(&self) -> Vec<(String, String)> {
        let operator = operand(Kind::Deployment, names::OPERATOR_DEPLOYMENT);
        let installed = self.cluster.until_present(&operator).await;
        let container = &installed["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        variables
            .filter_map(|variable| Some((text(&variable["name"])?, text(&variable["value"])?)))
            // Not for a process outside of the cluster: a file of the image.
            .filter(|(name, _)| name != "SSL_CERT_FILE")
            .collect()
    }

    /// The operator with the environment of the installed one.
    async fn installed_operator(&self) -> Operator {
        let environment = self.environment().await;
        let borrowed: Vec<(&str, &str)> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        self.cluster.operator_with(&borrowed).await
    }

    /// Replaces the operator by one with the environment that is installed now, and waits until that one has nothing left to do.
    async fn another(&self, operator: Operator) -> Operator {
        assert!(operator.stop().await.success());
        let next = self.installed_operator().await;
        self.cluster.settle().await;
        next
    }

    /// The pods of the registry.
    fn pods(&self) -> String {
        let output = "jsonpath={.items[*].metadata.uid}";
        self.shell(&format!(
            "kubectl -n {} get pods -l docker-registry=default -o {output}",
            names::NAMESPACE
        ))
    }
}

// kubernetes 24; in part: kubernetes 1 (with the chart), kubernetes 20 (the last half)
#[tokio::test]
async fn on_plain_kubernetes_the_chart_brings_a_registry_and_all_of_it_goes_again() {
    let options = Options {
        deploy: false,
        simulated_nodes: 1,
        ..plain("packaging-k8s")
    };
    let scenario = Scenario::on(options).await;
    // devcluster has installed what an installation brings.
    let namespaces = [
        names::NAMESPACE,
        names::CONFIG_NAMESPACE,
        names::CONFIG_MANAGED_NAMESPACE,
    ]
    .join(" ");
    scenario.shell(&format!("kubectl delete namespace {namespaces} --timeout {LIMIT}s"));
    scenario.shell(&format!("kubectl delete --timeout {LIMIT}s -f crds"));
    let before = scenario.everything();

    let helm = only(commands(PAGE, "Install", &["helm"]), "helm install");
    let helm = helm.replace("<your image>", operator_image());
    assert!(!helm.contains('<'), "{helm}");
    scenario.shell(&helm);
    let operator = scenario.installed_operator().await;
    scenario.cluster.until_config("up", is_up).await;
    let wait = only(commands(PAGE, "Install", &["kubectl"]), "condition=Available");
    scenario.shell(&wait);
    let pods = scenario.pods();
    assert!(!pods.is_empty());

    // An upgrade that changes only the operator's Deployment, and the way back.
    let upgrade = helm
        .replace("helm install", "helm upgrade")
        .replace(operator_image(), "localhost/operator:next --set releaseVersion=1.2.3");
    scenario.shell(&upgrade);
    let rolled_out = async |image: &str| {
        eventually("the operator's image", async || {
            let variables = scenario.environment().await;
            variables.contains(&("OPERATOR_IMAGE".to_owned(), image.to_owned()))
        })
        .await;
    };
    rolled_out("localhost/operator:next").await;
    let operator = scenario.another(operator).await;
    assert_eq!(scenario.pods(), pods, "the upgrade restarts no pod of the registry");
    scenario.shell("helm rollback image-registry-operator --namespace kube-system");
    rolled_out(operator_image()).await;
    let operator = scenario.another(operator).await;
    assert_eq!(scenario.pods(), pods, "nor does the rollback");

    let overlay = only(commands(PAGE, "Install", &["kubectl"]), "apply -k");
    scenario.shell(&format!("{overlay} --server-side --force-conflicts"));
    scenario.cluster.settle().await;
    assert_eq!(scenario.pods(), pods);

    let mut steps = commands(PAGE, "Uninstall", &["kubectl"]).into_iter();
    for part in ["\"Removed\"", "condition=Removed", "condition=Progressing=False"] {
        let step = steps.next().unwrap();
        assert!(step.contains(part), "{step}");
        scenario.shell(&step);
    }
    assert!(scenario.cluster.get(&deployment()).await.is_none());
    let audit = scenario.cluster.devcluster.audit().unwrap();
    let account = format!(
        "system:serviceaccount:{}:{}",
        names::NAMESPACE,
        names::OPERATOR_DEPLOYMENT
    );
    let denied = audit.by_user(&account).denied();
    assert_eq!(denied.len(), 0, "{denied:?}");
    assert!(operator.stop().await.success());
    for step in steps {
        let limit = if step.contains(" delete ") {
            format!(" --timeout {LIMIT}s")
        } else {
            String::new()
        };
        scenario.shell(&format!("{step}{limit}"));
    }
    scenario.shell("helm uninstall image-registry-operator --namespace kube-system");
    let after = scenario.everything();
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
