//! The stock registry on each cloud that it has a driver for, and another registry program on the same storage.

use devcluster::install;
use devcluster::stores::Authority;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::azure::Meadow;
use crate::gcs::Highlands;
use crate::pulls::Pulls;
use crate::s3::S3;
use crate::support::{deployment, env};
use crate::switch::{set, user_secret};
use crate::{Sample, Scenario};

/// What the nodes know the image of the platform's registry by.
const PLATFORM_IMAGE: &str = "localhost/registry-of-the-platform:dev";
const BUCKET: &str = "e2e-reef";

impl Scenario {
    // In part: kubernetes 2 (S3, GCS, Azure; `plan_golden` and `distribution` compare the whole environment)
    pub async fn on_each_store(&self, authority: &Authority) {
        let s3 = S3::start(&self.cluster, authority.clone()).await;
        // Nodes do not resolve the names of clouds.
        let mut spec = Self::storage("pvc", "s3", &s3.private_bucket(BUCKET));
        spec["replicas"] = json!(1);
        spec["routes"] = Value::Null;
        let sample = self.store("reef", s3.secret(), spec).await;
        self.rendered("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "true").await;
        self.on_another_program(&s3, &sample).await;
        drop(s3);

        let highlands = Highlands::start(&self.cluster, authority.clone()).await;
        let spec = Self::storage("s3", "gcs", &Highlands::bucket());
        self.store("glacier", highlands.secret(), spec).await;
        let kept = highlands.objects();
        assert!(kept.iter().any(|name| name.contains("blobs")), "{kept:?}");
        drop(highlands);

        let meadow = Meadow::start(&self.cluster, authority.clone()).await;
        let spec = Self::storage("gcs", "azure", &Meadow::container());
        self.store("meadow", meadow.secret(), spec).await;
        self.rendered("REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE", "shared_key")
            .await;
        let kept = meadow.blobs().await;
        assert!(kept.iter().any(|name| name.contains("blobs")), "{kept:?}");
    }

    /// An edit of the Config that replaces the storage.
    fn storage(old: &str, new: &str, block: &Value) -> Value {
        json!({
            "disableRedirect": true,
            "storage": {old: null, "managementState": null, new: block},
        })
    }

    /// Moves the registry to a store, pushes an image there, and runs it. Returns the image.
    async fn store(&self, name: &str, secret: Value, spec: Value) -> Sample {
        self.change(async || {
            set(&self.cluster, &user_secret(), "stringData", secret).await;
            self.cluster.edit(spec).await;
        })
        .await;
        let sample = self.sample(name).await;
        self.push_to_the_address(&sample).await;
        self.a_pod_runs_on("node2", &sample).await;
        self.say(&format!("pushed {name}, and a pod runs from it"));
        sample
    }

    async fn rendered(&self, name: &str, value: &str) {
        let deployment = self.cluster.get(&deployment()).await.unwrap();
        assert_eq!(env(&deployment, name), Some(value), "{deployment}");
    }

    // In part: kubernetes 5 (that the preflight speaks as each program: `s3_wire`)
    async fn on_another_program(&self, s3: &S3, sample: &Sample) {
        install::load_platform_registry(self.cluster.devcluster, PLATFORM_IMAGE)
            .await
            .unwrap();
        let address = self.address().await;
        let environment = self.login(&address).await.variables().to_vec();
        let pulls = Pulls::start(self.record().clone(), vec![sample.at(&address)], environment);
        for (program, image, ciphers) in [
            ("platform", PLATFORM_IMAGE, "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES"),
            (
                "distribution",
                install::REGISTRY_IMAGE,
                "REGISTRY_HTTP_TLS_CIPHERSUITES",
            ),
        ] {
            let before = s3.gate().asked().len();
            self.change(async || {
                let [program, image] = [format!("REGISTRY_PROGRAM={program}"), format!("IMAGE={image}")];
                // The platform's program is not without its pruner.
                self.set_variables(&[&program, &image, "IMAGE_PRUNER=localhost/cli:dev"])
                    .await;
            })
            .await;
            let live = self.cluster.get(&deployment()).await.unwrap();
            assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], image);
            assert!(env(&live, ciphers).is_some(), "{live}");
            let asked = s3.gate().asked();
            let tried = asked[before..].iter().any(|asked| {
                let by_operator = asked
                    .header("user-agent")
                    .is_some_and(|agent| agent.contains(names::OPERATOR_DEPLOYMENT));
                by_operator && asked.operation() == "CompleteMultipartUpload"
            });
            assert!(tried, "the storage was tried for {program}");
            self.say(&format!("program {program} runs on the same bucket"));
        }
        let (done, failed) = pulls.end().await;
        assert_eq!(failed, Vec::<String>::new());
        assert!(done > 10, "only {done} pulls");
        self.say(&format!("{done} pulls meanwhile"));
    }
}
