//! The registry's pod on Swift, with what the operator configured: first a password, then an application credential.

use devcluster::install;
use devcluster::stores::{
    Account, ApplicationCredential, Asked, Authority, Cloud, OpenStack, OpenStackOptions, Project, REGION,
};
use http::Method;
use image_registry_operator::names;
use serde_json::json;

use crate::support::TestCluster;
use crate::switch::{map, set, user_secret};
use crate::{REGISTRY, Sample, Scenario};

/// Pods resolve the name.
const KEYSTONE: &str = "keystone.e2e.example";
const CONTAINER: &str = "e2e-harvest";

/// Keystone and Swift behind TLS with a private CA, as pods and nodes reach them.
struct Swift {
    stack: OpenStack,
    project: Project,
    account: Account,
    credential: ApplicationCredential,
    cloud: Cloud,
    authority: Authority,
}

impl Swift {
    async fn start(cluster: &TestCluster) -> Self {
        let stack = OpenStack::start(OpenStackOptions::default()).await.unwrap();
        // An address: nodes, which are redirected to it, do not resolve names of pods.
        let address = Cloud::address_in(cluster.devcluster).to_string();
        let url = format!("https://{address}");
        stack.keystone.set_swift(REGION, Some(&url)).await.unwrap();
        let project = stack.keystone.project("e2e").await.unwrap();
        let account = stack.swift.account(&stack.keystone, &project).await.unwrap();
        let credential = stack.keystone.application_credential(&project, "registry").await;
        let authority = Authority::new("openstack-ca").unwrap();
        let routes = vec![
            (KEYSTONE.to_owned(), stack.keystone.target().clone()),
            (address.clone(), stack.swift.target().clone()),
        ];
        let names = [KEYSTONE.to_owned(), address];
        Self {
            cloud: Cloud::start(cluster.devcluster, &authority, routes, &names).unwrap(),
            stack,
            project,
            account,
            credential: credential.unwrap(),
            authority,
        }
    }

    /// Number of requests of an operation.
    fn asked(&self, is_counted: impl Fn(&Asked) -> bool) -> usize {
        self.cloud
            .gate()
            .asked()
            .iter()
            .filter(|asked| is_counted(asked))
            .count()
    }
}

impl Scenario {
    /// Switches the registry from emptyDir to Swift and back.
    // issue 11: password, application credential, a change of credentials, and back
    pub async fn on_swift(&self, first: &Sample) {
        let swift = Swift::start(&self.cluster).await;
        self.say("an OpenStack is there");
        let ca = map(names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG);
        set(
            &self.cluster,
            &ca,
            "data",
            json!({"ca-bundle.pem": swift.authority.pem()}),
        )
        .await;
        let sample = self.password(&swift).await;
        self.application_credential(&swift, &sample).await;

        self.change(async || {
            self.cluster.delete(&user_secret()).await;
            let storage = json!({"swift": null, "managementState": null, "emptyDir": {}});
            self.cluster.edit(json!({"storage": storage})).await;
        })
        .await;
        self.push_and_pull(REGISTRY, first).await;
        self.say("back on emptyDir");
        let kept = swift.account.objects(CONTAINER).await.unwrap();
        assert!(
            kept.iter().any(|name| name.contains("blobs")),
            "the container keeps its images: {kept:?}"
        );
        self.cluster.delete(&ca).await;
    }

    /// From emptyDir to Swift with a password; a node pulls through temporary URLs.
    async fn password(&self, swift: &Swift) -> Sample {
        let data = json!({
            "REGISTRY_STORAGE_SWIFT_USERNAME": swift.project.user,
            "REGISTRY_STORAGE_SWIFT_PASSWORD": swift.project.password,
        });
        set(&self.cluster, &user_secret(), "stringData", data).await;
        let block = json!({
            "authURL": format!("https://{KEYSTONE}/v3"), "container": CONTAINER, "regionName": REGION,
            "domain": swift.project.domain(), "tenant": swift.project.name,
        });
        let storage = json!({"emptyDir": null, "managementState": null, "swift": block});
        self.change(async || {
            self.cluster
                .edit(json!({"storage": storage, "disableRedirect": false}))
                .await;
        })
        .await;
        install::nodes_trust_authority(self.cluster.devcluster, REGISTRY, swift.authority.pem())
            .await
            .unwrap();
        let sample = self.sample("harvest").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.say("pushed to and pulled from Swift, with a password and a private CA");
        self.a_pod_runs(&sample).await;
        let redirected =
            swift.asked(|a| a.method == Method::GET && a.query.contains("temp_url_sig=") && a.status == 200);
        assert!(redirected > 0, "clients pulled through temporary URLs");
        sample
    }

    /// To an application credential of the same project; the password becomes invalid, with all tokens that it got.
    async fn application_credential(&self, swift: &Swift, sample: &Sample) {
        let with_credential =
            |asked: &Asked| asked.path.ends_with("/auth/tokens") && asked.text().contains("application_credential");
        assert_eq!(swift.asked(with_credential), 0);
        self.change(async || {
            let data = json!({
                "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID": swift.credential.id,
                "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME": swift.credential.name,
                "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET": swift.credential.secret,
            });
            set(&self.cluster, &user_secret(), "stringData", data).await;
        })
        .await;
        swift
            .stack
            .keystone
            .set_password(&swift.project, "withdrawn")
            .await
            .unwrap();
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same container");
        self.push_and_pull(REGISTRY, &self.sample("credential").await).await;
        self.say("pushed and pulled with an application credential");
        assert!(swift.asked(with_credential) >= 2, "operator and registry");
    }
}
