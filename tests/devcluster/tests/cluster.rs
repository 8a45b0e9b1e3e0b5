//! Clusters start, work, and leave nothing behind.

use anyhow::{Context as _, Result, ensure};
use devcluster::{Cluster, Options, image};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until `check` returns a value.
async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, check: impl FnMut() -> F) -> Result<T> {
    devcluster::wait::until(what, Duration::from_mins(1), check).await
}

/// Writes to the terminal: durations are worth seeing in a passing test, too.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Processes whose command line or environment names that directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.to_string_lossy().into_owned();
    let mentions =
        |path: PathBuf| std::fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&needle));
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let ids = entries.filter(|e| e.file_name().to_string_lossy().parse::<i32>().is_ok());
    ids.filter(|e| mentions(e.path().join("cmdline")) || mentions(e.path().join("environ")))
        .map(|e| {
            std::fs::read_to_string(e.path().join("cmdline"))
                .unwrap_or_default()
                .replace('\0', " ")
        })
        .collect()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn deployment(name: &str, image: &str, replicas: i32) -> Result<Deployment> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image, "imagePullPolicy": "Never" }] },
            },
        },
    }))?)
}

async fn available(client: &kube::Client, deployment: &Deployment, replicas: i32) -> Result<Duration> {
    let begin = Instant::now();
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let created = api.create(&PostParams::default(), deployment).await?;
    let name = created.metadata.name.context("a name")?;
    until("Deployment available", || async {
        let now = api
            .get(&name)
            .await?
            .status
            .and_then(|status| status.available_replicas);
        Ok((now == Some(replicas)).then_some(()))
    })
    .await?;
    Ok(begin.elapsed())
}

#[tokio::test]
async fn a_cluster_with_a_simulated_node_works_and_leaves_nothing_behind() -> Result<()> {
    let begin = Instant::now();
    let options = Options {
        name: "test-simulated".into(),
        platform: "Libvirt".into(),
        ..Options::default()
    };
    let cluster = Cluster::up(options).await?;
    tell(&format!(
        "cluster with a simulated node: up in {:.1} s",
        begin.elapsed().as_secs_f32()
    ));
    let client = cluster.client().await?;

    let mark = cluster.mark()?;
    let lasted = available(&client, &deployment("web", "any", 2)?, 2).await?;
    tell(&format!("Deployment available after {:.1} s", lasted.as_secs_f32()));
    let requests = cluster.audit()?.since(mark).by_user("admin");
    ensure!(
        requests.writes().len() == 1,
        "one write by admin since the mark: {requests}"
    );
    let write = requests.writes().events()[0].clone();
    ensure!(
        (write.verb.as_str(), write.resource.as_str(), write.code) == ("create", "deployments", 201),
        "{write}"
    );

    // A token of a ServiceAccount without rights is authenticated and refused, and the audit log has both.
    let kubeconfig = cluster
        .service_account_kubeconfig("openshift-image-registry", "default")
        .await?;
    let limited = devcluster::client_from(&kubeconfig).await?;
    let refused = Api::<ConfigMap>::namespaced(limited, "default")
        .list(&ListParams::default())
        .await;
    ensure!(refused.is_err(), "a ServiceAccount without rights may list nothing");
    let denied = cluster
        .audit()?
        .by_service_account("openshift-image-registry", "default")
        .denied();
    ensure!(denied.len() == 1, "one denied request: {denied}");

    paused_pods_stay_unready(&cluster, &client).await?;
    unknown_fields_are_refused(&cluster).await?;
    the_platform_is_there(&cluster, &client).await?;
    let directory = cluster.directory().to_owned();
    ensure!(
        !processes_of(&directory).is_empty(),
        "the check for processes finds them while they run"
    );
    cluster.down().await?;
    ensure!(!directory.exists(), "{} is left", directory.display());
    let left = processes_of(&directory);
    ensure!(left.is_empty(), "these processes are left: {left:?}");
    Ok(())
}

async fn paused_pods_stay_unready(cluster: &Cluster, client: &kube::Client) -> Result<()> {
    cluster.pause_simulated_pods()?;
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &deployment("later", "any", 1)?)
        .await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let status = api.get("later").await?.status.context("a status")?;
    ensure!(status.available_replicas.is_none(), "the pod of a paused node is ready");
    cluster.resume_simulated_pods()?;
    until("the resumed pod is ready", || async {
        Ok(api
            .get("later")
            .await?
            .status
            .and_then(|status| status.available_replicas))
    })
    .await?;
    Ok(())
}

async fn unknown_fields_are_refused(cluster: &Cluster) -> Result<()> {
    cluster
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {a: b}\n")
        .await?;
    let refused = cluster
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\ndate: {a: b}\n")
        .await;
    ensure!(refused.is_err(), "a misspelt field was accepted");
    Ok(())
}

async fn the_platform_is_there(cluster: &Cluster, client: &kube::Client) -> Result<()> {
    let request = http::Request::get("/apis/config.openshift.io/v1/infrastructures/cluster").body(Vec::new())?;
    let infrastructure: serde_json::Value = client.request(request).await?;
    ensure!(
        infrastructure["status"]["platformStatus"]["type"] == "Libvirt",
        "{infrastructure}"
    );
    ensure!(cluster.router().is_some(), "the router listens");
    cluster
        .apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default, \
             annotations: {service.beta.openshift.io/serving-cert-secret-name: web-tls}}\nspec: {ports: [{port: 443}]}\n",
        )
        .await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    until("the serving certificate", || async {
        Ok(secrets.get_opt("web-tls").await?)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn pods_run_on_real_nodes_and_leave_nothing_behind() -> Result<()> {
    if !is_root() {
        tell("skipped: real nodes need root");
        return Ok(());
    }
    let begin = Instant::now();
    let options = Options {
        name: "test-real".into(),
        simulated_nodes: 0,
        real_nodes: 2,
        ..Options::default()
    };
    let cluster = Cluster::up(options).await?;
    tell(&format!(
        "cluster with two real nodes: up in {:.1} s",
        begin.elapsed().as_secs_f32()
    ));
    let client = cluster.client().await?;

    let programs = devcluster::programs::ensure(&["pause"]).await?;
    let tar = cluster.directory().join("sample.tar");
    image::sample_image("localhost/sample:dev", programs.path("pause")?, b"payload".to_vec()).write(&tar)?;
    cluster.load_image(&tar).await?;
    // Two pods with anti-affinity share a volume.
    cluster.host_volume("shared", &["ReadWriteMany"]).await?;
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "shared" },
        "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Gi" } } },
    }))?;
    Api::default_namespaced(client.clone())
        .create(&PostParams::default(), &claim)
        .await?;
    let mut sample = serde_json::to_value(deployment("sample", "localhost/sample:dev", 2)?)?;
    let pod = &mut sample["spec"]["template"]["spec"];
    pod["affinity"] = json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "sample" } } },
    ] } });
    pod["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "shared" } }]);
    pod["containers"][0]["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
    let lasted = available(&client, &serde_json::from_value(sample)?, 2).await?;
    tell(&format!(
        "Deployment on real nodes available after {:.1} s",
        lasted.as_secs_f32()
    ));

    nodes_resolve_and_trust_what_they_are_told(&cluster)?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default())
        .await?;
    let nodes: Api<Node> = Api::all(client);
    ensure!(nodes.list(&ListParams::default()).await?.items.len() == 2, "two nodes");

    let directory = cluster.directory().to_owned();
    cluster.down().await?;
    ensure!(!directory.exists(), "{} is left", directory.display());
    let left = processes_of(&directory);
    ensure!(left.is_empty(), "these processes are left: {left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains("devcluster-test-real"), "mounts are left: {mounts}");
    for group in ["", "memory/", "pids/"] {
        let group = format!("/sys/fs/cgroup/{group}devcluster-test-real");
        ensure!(!Path::new(&group).exists(), "{group} is left");
    }
    Ok(())
}

fn nodes_resolve_and_trust_what_they_are_told(cluster: &Cluster) -> Result<()> {
    let registry = "image-registry.openshift-image-registry.svc";
    cluster.write_node_hosts(&[(registry.to_owned(), [198, 19, 0, 7].into())])?;
    cluster.write_node_ca(&format!("{registry}:5000"), "a certificate\n")?;
    for node in cluster.real_nodes() {
        let inside = |command: &[&str]| -> Result<String> {
            let output = cluster.node_command(&node.name, command)?.output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let resolved = inside(&["getent", "hosts", registry])?;
        ensure!(
            resolved.starts_with("198.19.0.7"),
            "{} resolves {registry} to {resolved:?}",
            node.name
        );
        let trusted = inside(&["cat", &format!("/etc/docker/certs.d/{registry}:5000/ca.crt")])?;
        ensure!(trusted == "a certificate\n", "{} trusts {trusted:?}", node.name);
    }
    ensure!(
        !Path::new("/etc/docker/certs.d")
            .join(format!("{registry}:5000"))
            .exists(),
        "this machine is untouched"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_killed_owner_leaves_is_removed() -> Result<()> {
    let name = "test-killed";
    let directory = std::env::temp_dir().join(format!("devcluster-{name}"));
    // The process is killed in the middle of the start, while it owns the cluster.
    let mut owner = Command::new(env!("CARGO_BIN_EXE_devcluster"))
        .args(["up", "--name", name])
        .spawn()?;
    until("the control plane starts", || async {
        Ok(directory.join("pids/kube-controller-manager").exists().then_some(()))
    })
    .await?;
    owner.kill()?;
    owner.wait()?;
    until("its processes end without anybody's doing", || async {
        Ok(processes_of(&directory).is_empty().then_some(()))
    })
    .await?;
    ensure!(directory.exists(), "nobody has removed the directory yet");
    // The next cluster removes the leftovers, whatever its name.
    let next = Cluster::up(Options {
        name: "test-next".into(),
        ..Options::default()
    })
    .await?;
    ensure!(!directory.exists(), "{} is left", directory.display());
    next.down().await
}

#[tokio::test]
async fn a_cluster_of_the_command_line_runs_on_until_it_is_stopped() -> Result<()> {
    let run = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_devcluster"))
            .args(arguments)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    };
    let name = ["--name", "test-cli"];
    let told = run(&["up", name[0], name[1]])?;
    let kubeconfig = told
        .lines()
        .find_map(|line| line.strip_prefix("export KUBECONFIG="))
        .context("a kubeconfig")?;
    let client = devcluster::client_from(Path::new(kubeconfig)).await?;
    available(&client, &deployment("web", "any", 1)?, 1).await?;
    let status = run(&["status", name[0], name[1]])?;
    ensure!(
        status.contains("kube-apiserver") && !status.contains("STOPPED"),
        "{status}"
    );
    run(&["down", name[0], name[1]])?;
    let directory = std::env::temp_dir().join("devcluster-test-cli");
    ensure!(
        !directory.exists() && processes_of(&directory).is_empty(),
        "something is left of the cluster"
    );
    Ok(())
}
