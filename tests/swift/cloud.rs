//! Keystone and two object stores, Swift and Ceph's gateway, started once for all tests of this program, with one project that they
//! share. Names of containers tell the tests apart.

use devcluster::stores::{
    Account, ApplicationCredential, CEPH, OpenStack, OpenStackOptions, Project, REGION, Rgw, Target,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Keystone with one object store, and the project of the cluster's user.
pub struct Cloud {
    pub stack: &'static OpenStack,
    pub project: Project,
    /// The project's account of this object store, as a test looks at it and prepares it.
    pub account: Account,
    /// Application credentials of the project's user.
    pub credentials: [ApplicationCredential; 3],
    /// Where the object store is: its region of the catalogue, where it listens, and its URL.
    pub region: &'static str,
    pub store: Target,
    pub url: String,
}

static STACK: OnceCell<OpenStack> = OnceCell::const_new();
static SWIFT: OnceCell<Cloud> = OnceCell::const_new();
static GATEWAY: OnceCell<Rgw> = OnceCell::const_new();
static CEPHS: OnceCell<Cloud> = OnceCell::const_new();

async fn stack() -> &'static OpenStack {
    let start = || async {
        let options = OpenStackOptions {
            caches_tokens: true,
            ..OpenStackOptions::default()
        };
        OpenStack::start(options).await.unwrap()
    };
    STACK.get_or_init(start).await
}

async fn credentials(stack: &OpenStack, project: &Project) -> [ApplicationCredential; 3] {
    let create = async |name| stack.keystone.application_credential(project, name).await.unwrap();
    [create("by-id").await, create("by-name").await, create("rotated").await]
}

/// With Swift.
pub async fn cloud() -> &'static Cloud {
    let start = || async {
        let stack = stack().await;
        let project = stack.keystone.project("registry").await.unwrap();
        Cloud {
            stack,
            account: stack.swift.account(&stack.keystone, &project).await.unwrap(),
            credentials: credentials(stack, &project).await,
            project,
            region: REGION,
            store: stack.swift.target().clone(),
            url: stack.swift.url(),
        }
    };
    SWIFT.get_or_init(start).await
}

/// Ceph's gateway.
pub async fn gateway() -> &'static Rgw {
    let start = || async { Rgw::start(&stack().await.keystone).await.unwrap() };
    GATEWAY.get_or_init(start).await
}

/// With Ceph's gateway.
pub async fn ceph() -> &'static Cloud {
    let start = || async {
        let (stack, gateway) = (stack().await, gateway().await);
        let project = stack.keystone.project("registry-on-ceph").await.unwrap();
        let token = stack.keystone.token(&project, &project.password).await.unwrap();
        Cloud {
            stack,
            account: gateway.account_with(&project, &token),
            credentials: credentials(stack, &project).await,
            project,
            region: CEPH,
            store: gateway.target().clone(),
            url: gateway.url(),
        }
    };
    CEPHS.get_or_init(start).await
}

impl Cloud {
    /// `auth` of a `clouds.yaml` that logs in with the password.
    pub fn password(&self) -> Value {
        json!({
            "username": self.project.user, "password": self.project.password, "project_name": self.project.name,
            "user_domain_name": "Default",
        })
    }

    /// A token of the user. Keystone on SQLite fails now and then while others write.
    pub async fn token(&self) -> String {
        let keystone = &self.stack.keystone;
        for _ in 0..10 {
            if let Ok(token) = keystone.token(&self.project, &self.project.password).await {
                return token;
            }
        }
        keystone.token(&self.project, &self.project.password).await.unwrap()
    }

    pub async fn exists(&self, container: &str) -> bool {
        self.account.metadata(container).await.unwrap().is_some()
    }

    /// Names of the objects of an existing container.
    pub async fn objects(&self, container: &str) -> Vec<String> {
        self.account.objects(container).await.unwrap()
    }
}
