//! `devcluster demo`: a person sees all of it work, from nothing to a pod that runs from the registry.

mod conditions;
mod kubernetes;

use crate::interrupted;
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use conditions::{Conditions, config_api};
use devcluster::install::Manifest;
use devcluster::{Cluster, Options, image, inside, install, programs};
use go_programs::Demo as Kind;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What everybody in the cluster calls the registry.
const REGISTRY: &str = "image-registry.openshift-image-registry.svc:5000";
/// The image that is pushed and run.
const HELLO: &str = "demo/hello:v1";
/// How long each step may take; generous, for machines with too much to do.
const LIMIT: Duration = Duration::from_mins(3);

#[derive(Args)]
pub(crate) struct Demo {
    /// What kind of cluster: okd or kubernetes.
    #[arg(long, default_value = "okd")]
    on: Kind,
    /// The operator's image, an OCI image layout; by default the one that `make image` built.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// The cluster's name.
    #[arg(long, default_value = "demo")]
    name: String,
}

/// Plays the demo. With a terminal the cluster then stays until Ctrl-C; in the end nothing is left of it.
pub(crate) async fn run(arguments: Demo) -> Result<()> {
    let stay = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let operator = arguments
        .operator
        .clone()
        .unwrap_or_else(|| install::built_image("operator"));
    ensure!(
        operator.join("index.json").is_file(),
        "there is no image of the operator in {}: build it with `make image`, or name it with --operator",
        operator.display()
    );
    devcluster::check_real_nodes(&arguments.name)?;
    let story = Story::begin();
    // Dropping the cluster in the middle of the play removes it.
    let (cluster, conditions) = tokio::select! {
        played = story.play(&arguments, &operator) => played?,
        () = interrupted() => bail!("interrupted; nothing is left of the cluster"),
    };
    story.tell("Done: the registry is available; an image was pushed, pulled and run.")?;
    if stay {
        match arguments.on {
            Kind::Okd => try_next(&cluster, &arguments.name)?,
            Kind::Kubernetes => kubernetes::try_next(&cluster)?,
        }
        interrupted().await;
        story.tell("Removing the cluster")?;
    }
    drop(conditions);
    cluster.down().await
}

struct Story {
    began: Instant,
    bold: bool,
}

impl Story {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            bold: std::io::stdout().is_terminal(),
        }
    }

    /// A step begins.
    fn tell(&self, what: &str) -> Result<()> {
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        print(&format!("{} {on}{what}{off}", conditions::since(self.began)))
    }

    async fn play(&self, Demo { on, name, .. }: &Demo, operator: &Path) -> Result<(Cluster, Conditions)> {
        self.tell(
            "Programs: etcd, Kubernetes, containerd, a registry, ... (built from source the first time, then kept)",
        )?;
        programs::ensure(&on.programs()).await?;
        self.tell("A cluster with three nodes, each with kubelet, containerd and kube-proxy")?;
        let is_okd = *on == Kind::Okd;
        let options = Options {
            name: name.into(),
            simulated_nodes: 0,
            real_nodes: 3,
            security_api: is_okd,
            platform_apis: is_okd,
            standins: is_okd,
            ..Options::default()
        };
        let cluster = Cluster::up(options).await?;
        let played = match on {
            Kind::Okd => self.play_on(&cluster, operator).await,
            Kind::Kubernetes => self.play_on_kubernetes(&cluster, operator).await,
        };
        match played {
            Ok(conditions) => Ok((cluster, conditions)),
            Err(error) => {
                let kept = cluster.down_keeping_logs().await?;
                Err(error.context(format!("the demo failed; logs are in {}", kept.display())))
            }
        }
    }

    async fn play_on(&self, cluster: &Cluster, operator: &Path) -> Result<Conditions> {
        self.tell("Images of operator and registry, loaded into the nodes")?;
        install::load_images(cluster, operator, programs::REGISTRY).await?;
        let apply = "kubectl apply -f deploy/07-operator.yaml";
        let conditions = self.deploy(cluster, "deploy/", apply, &install::OKD).await?;

        self.tell("Platform None starts without a registry. The administrator switches it on")?;
        self.edit(
            cluster,
            &json!({ "managementState": "Managed", "storage": { "emptyDir": {} } }),
        )
        .await?;
        conditions.until("Available", "True", "Ready", LIMIT).await?;
        conditions.until("Progressing", "False", "Ready", LIMIT).await?;

        install::nodes_trust(cluster, REGISTRY).await?;
        let pushed = self.push(cluster).await?;
        self.pull(cluster, "node2", REGISTRY, &pushed).await?;
        self.tell("The registry opens to the world")?;
        self.edit(cluster, &json!({ "defaultRoute": true })).await?;
        let host = self.route(cluster).await?;
        install::nodes_trust(cluster, &host).await?;
        self.pull(cluster, "node3", &host, &pushed).await?;
        self.run_pod(cluster, &pushed, None).await?;
        // For who switches to storage that lasts.
        cluster.host_volume("images", &["ReadWriteMany"]).await?;
        Ok(conditions)
    }

    /// Deploys the operator and waits until it reports. `set`: what the manifest belongs to.
    async fn deploy(&self, cluster: &Cluster, set: &str, apply: &str, manifest: &Manifest) -> Result<Conditions> {
        self.tell(&format!(
            "The operator, as {set} has it but for the names of the images; its conditions follow as they change"
        ))?;
        typed(apply)?;
        let conditions = Conditions::follow(cluster, self.began).await?;
        install::deploy_operator(cluster, manifest).await?;
        conditions.until("Available", "True", "Removed", LIMIT).await?;
        Ok(conditions)
    }

    /// As `oc patch` does it.
    async fn edit(&self, cluster: &Cluster, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec });
        typed(&patch_command(&patch))?;
        let api = config_api(&cluster.client().await?);
        api.patch("cluster", &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    /// Pushes an image; answers its digest.
    async fn push(&self, cluster: &Cluster) -> Result<String> {
        self.tell("An image is pushed from a node through the Service, over TLS")?;
        let (layout, digest) = sample(cluster).await?;
        let reference = format!("{REGISTRY}/{HELLO}");
        let words = ["push", &layout.display().to_string(), &reference];
        typed(&format!("crane {}", words.join(" ")))?;
        inside::crane(cluster.record(), "node1", &words).await?;
        detail(&digest)?;
        Ok(digest)
    }

    /// Pulls the image, whole, on a node; it must be the one that was pushed.
    async fn pull(&self, cluster: &Cluster, node: &str, host: &str, digest: &str) -> Result<()> {
        self.tell(&format!("It is pulled on {node} from {host}"))?;
        let reference = format!("{host}/{HELLO}");
        typed(&format!("crane pull {reference} hello.tar"))?;
        inside::crane(cluster.record(), node, &["pull", &reference, "/dev/null"]).await?;
        let found = inside::crane(cluster.record(), node, &["digest", &reference]).await?;
        ensure!(found == digest, "pushed {digest}, but {reference} is {found}");
        detail(&format!("{found}: the same"))
    }

    /// The host of the default route, once the router serves it.
    async fn route(&self, cluster: &Cluster) -> Result<String> {
        let resource =
            kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("route.openshift.io", "v1", "Route"));
        let client = cluster.client().await?;
        let api: Api<DynamicObject> = Api::namespaced_with(client, "openshift-image-registry", &resource);
        conditions::wait("the default route is admitted", LIMIT, || async {
            let route = api.get_opt("default-route").await?;
            let ingress = route.as_ref().and_then(|route| route.data.pointer("/status/ingress/0"));
            Ok(ingress.and_then(|ingress| Some(ingress.get("host")?.as_str()?.to_owned())))
        })
        .await
    }

    /// Runs a pod from the image that was pushed. `secret` has the login, if the registry asks for one.
    async fn run_pod(&self, cluster: &Cluster, digest: &str, secret: Option<&str>) -> Result<()> {
        self.tell("The cluster runs a pod from it")?;
        let image = format!("{REGISTRY}/{HELLO}");
        let secrets: Vec<Value> = secret.into_iter().map(|name| json!({ "name": name })).collect();
        let overrides = if secrets.is_empty() {
            String::new()
        } else {
            let spec = json!({ "spec": { "imagePullSecrets": secrets } });
            format!(" --overrides '{spec}'")
        };
        typed(&format!("kubectl run hello --image {image}{overrides}"))?;
        let client = cluster.client().await?;
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        conditions::wait("ServiceAccount default", LIMIT, || async {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "hello", "labels": { "run": "hello" } },
            "spec": { "imagePullSecrets": secrets, "containers": [{ "name": "hello", "image": image, "imagePullPolicy": "Always" }] },
        }))?;
        let api: Api<Pod> = Api::default_namespaced(client);
        api.create(&PostParams::default(), &pod).await?;
        let (node, running) = conditions::wait("pod hello runs", LIMIT, || async {
            let pod = api.get("hello").await?;
            let node = pod.spec.and_then(|spec| spec.node_name);
            let containers = pod
                .status
                .and_then(|status| status.container_statuses)
                .unwrap_or_default();
            let ready = containers.into_iter().find(|container| container.ready);
            Ok(node.zip(ready.map(|container| container.image_id)))
        })
        .await?;
        if !running.ends_with(digest) {
            bail!("pod hello runs {running}, not {digest}");
        }
        detail(&format!("running on {node}, from {running}"))
    }
}

/// The image to push, as a layout, and its digest.
async fn sample(cluster: &Cluster) -> Result<(PathBuf, String)> {
    let layout = hello(cluster);
    let programs = programs::ensure(&["pause"]).await?;
    let payload = b"hello\n".repeat(200_000);
    let image = image::sample_image("localhost/hello:v1", programs.path("pause")?, payload);
    let digest = image.write_layout(&layout)?.to_string();
    Ok((layout, digest))
}

/// Where the image to push lies.
fn hello(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("hello")
}

fn patch_command(patch: &Value) -> String {
    format!("kubectl patch configs.imageregistry.operator.openshift.io/cluster --type merge --patch '{patch}'")
}

/// What to type into another terminal.
fn try_next(cluster: &Cluster, name: &str) -> Result<()> {
    let program = std::env::current_exe().context("this program's path")?;
    let here = std::env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(&here).unwrap_or(&program).display();
    let node = format!("{program} exec --name {name} node1 --");
    let claim = json!({ "spec": { "replicas": 2, "storage": { "emptyDir": null, "pvc": { "claim": "" } } } });
    let removed = json!({ "spec": { "managementState": "Removed" } });
    print(&format!(
        "
Try next, in another terminal, while the conditions go on here; Ctrl-C removes the cluster.

  export KUBECONFIG={kubeconfig}
  kubectl get clusteroperators.config.openshift.io,nodes
  kubectl -n openshift-image-registry get pods,services,routes.route.openshift.io -o wide
  kubectl -n openshift-image-registry logs deployment/cluster-image-registry-operator --follow

  # storage that lasts, and two replicas
  {claim}
  # no registry
  {removed}

  # on a node names resolve and certificates are trusted
  {node} crane push {hello} {REGISTRY}/demo/hello:v2
  {node} crane ls {REGISTRY}/demo/hello
",
        kubeconfig = cluster.kubeconfig().display(),
        claim = patch_command(&claim),
        removed = patch_command(&removed),
        hello = hello(cluster).display(),
    ))
}

/// What a person would type for a step.
fn typed(command: &str) -> Result<()> {
    print(&format!("{:9} $ {command}", ""))
}

/// What came of a step.
fn detail(what: &str) -> Result<()> {
    print(&format!("{:9} {what}", ""))
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").context("cannot write to standard output")?;
    Ok(out.flush()?)
}
