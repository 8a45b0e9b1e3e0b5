//! The images that users build: what is in them, that two builds are equal, and that they run as any user.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devcluster::install;
use serde_json::{Value, json};

use crate::Scenario;
use crate::support::{condition, is};

/// At most, compressed, as a node pulls it.
const OPERATOR_SIZE: u64 = 25 << 20;
const HOSTED_IMAGE: &str = "localhost/operator-hosted:dev";

fn blob(layout: &Path, digest: &Value) -> PathBuf {
    layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The digest of an image's manifest, the manifest, and the image's configuration.
fn manifest(layout: &Path) -> (String, Value, Value) {
    let index = read(&layout.join("index.json"));
    let digest = &index["manifests"][0]["digest"];
    let manifest = read(&blob(layout, digest));
    let configuration = read(&blob(layout, &manifest["config"]["digest"]));
    (digest.as_str().unwrap().to_owned(), manifest, configuration)
}

/// Two builds of one commit have one digest; labels name version and commit; the program names no path of this machine, by which
/// it would differ from the program that another machine builds.
// deploy 55
pub fn is_reproducible() {
    let layout = install::build_image("operator").unwrap();
    let (digest, manifest, configuration) = self::manifest(&layout);
    // Times of files differ in the second build.
    fs::remove_dir_all(&layout).unwrap();
    assert_eq!(self::manifest(&install::build_image("operator").unwrap()).0, digest);

    let layers = manifest["layers"].as_array().unwrap();
    let size: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert!(size <= OPERATOR_SIZE, "{size} bytes");
    let labels = &configuration["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert!(!labels["org.opencontainers.image.revision"].as_str().unwrap().is_empty());
    assert_eq!(configuration["config"]["User"], "1001:0");

    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release");
    let program = fs::read(profile.join("cluster-image-registry-operator")).unwrap();
    let home = std::env::var("HOME").unwrap();
    for path in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/.cargo")] {
        let found = program.windows(path.len()).position(|window| window == path.as_bytes());
        let around = found.map(|at| String::from_utf8_lossy(&program[at..at + 120]).into_owned());
        assert_eq!(around, None, "a path of this machine is in the program");
    }
}

impl Scenario {
    /// A user that no image knows, with a read-only root file system, no capabilities and no privileges.
    // deploy 55
    pub async fn the_image_runs_as_any_user(&self) {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "any-user", "namespace": "default"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "operator",
                    "image": install::OPERATOR_IMAGE,
                    "imagePullPolicy": "Never",
                    "args": ["--version"],
                    "securityContext": {
                        "runAsUser": 1_000_660_000_u32,
                        "runAsGroup": 0,
                        "runAsNonRoot": true,
                        "readOnlyRootFilesystem": true,
                        "allowPrivilegeEscalation": false,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }],
            },
        });
        let script = format!(
            "kubectl create -f - <<'POD'\n{pod}\nPOD\n\
             kubectl wait --namespace default --for=jsonpath='{{.status.phase}}'=Succeeded --timeout=60s pod/any-user >/dev/null\n\
             kubectl logs --namespace default any-user\n\
             kubectl delete --namespace default --wait=false pod any-user >/dev/null"
        );
        let printed = self.kubectl(&script).await;
        let version = format!("cluster-image-registry-operator {}+", env!("CARGO_PKG_VERSION"));
        assert!(printed.contains(&version), "{printed}");
        self.say("the image runs as any user");
    }

    /// The Deployment of hosted control planes starts the operator through a script.
    // deploy 53
    pub async fn a_hosted_control_plane_runs_the_operator(&self) {
        let layout = install::build_image("hosted").unwrap();
        let tar = self.cluster.devcluster.directory().join("hosted.tar");
        devcluster::image::archive(&layout, HOSTED_IMAGE, &tar).unwrap();
        self.cluster.devcluster.load_image(&tar).await.unwrap();
        fs::remove_file(&tar).unwrap();

        let before = self.cluster.holder().await;
        // The operator of the release leaves; the Secret with the serving certificate is the hosting software's.
        let prepared = self
            .kubectl(
                "kubectl scale --namespace openshift-image-registry deployment cluster-image-registry-operator --replicas=0 >&2\n\
                 kubectl get service kubernetes --namespace default --output=jsonpath='{.spec.clusterIP}'\n\
                 echo\n\
                 kubectl create token --namespace openshift-image-registry --duration=1h cluster-image-registry-operator",
            )
            .await;
        let (address, token) = prepared.trim().split_once('\n').unwrap();
        let fixture = include_str!("../data/hosted-control-plane.yaml")
            .replace("API_SERVER", address.trim())
            .replace("TOKEN", token.trim())
            .replace("RELEASE", "0.0.1-snapshot");
        self.kubectl(&format!(
            "kubectl apply -f - <<'FIXTURE'\n{fixture}\nFIXTURE\n\
             value() {{ kubectl get secret --namespace openshift-image-registry image-registry-operator-tls \
               --output=jsonpath=\"{{.data['tls\\.$1']}}\" | base64 --decode; }}\n\
             kubectl create secret tls --namespace clusters-demo image-registry-operator \
               --cert=<(value crt) --key=<(value key)"
        ))
        .await;
        let began = Instant::now();
        let holder = self.cluster.until_held(&before).await;
        self.say(&format!("a hosted control plane's operator leads: {holder}"));
        self.cluster
            .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}, "pvc": null}}))
            .await;
        let config = self
            .cluster
            .until_config("up", |c| {
                is(c, "Available", "True", "Ready") && is(c, "Progressing", "False", "Ready")
            })
            .await;
        assert_eq!(condition(&config, "Degraded").0, "False", "{config}");
        assert!(began.elapsed() < Duration::from_mins(3));
        self.cluster.edit(json!({"managementState": "Removed"})).await;
        self.cluster.until_removed().await;
        self.say("its registry was available, and is removed");
    }
}
