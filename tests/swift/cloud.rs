//! Keystone and Swift, started once for all tests of this program, with one project that they share. Names of containers tell the tests
//! apart.

use devcluster::stores::{Account, ApplicationCredential, OpenStack, OpenStackOptions, Project};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The servers, and the project of the cluster's user.
pub struct Cloud {
    pub stack: OpenStack,
    pub project: Project,
    /// The project's account, as its administrator sees it.
    pub account: Account,
    /// Application credentials of the project's user.
    pub credentials: [ApplicationCredential; 3],
}

static CLOUD: OnceCell<Cloud> = OnceCell::const_new();

/// The servers.
pub async fn cloud() -> &'static Cloud {
    let start = || async {
        let options = OpenStackOptions {
            caches_tokens: true,
            ..OpenStackOptions::default()
        };
        let stack = OpenStack::start(options).await.unwrap();
        let project = stack.keystone.project("registry").await.unwrap();
        let account = stack.swift.account(&stack.keystone, &project).await.unwrap();
        let create = async |name| stack.keystone.application_credential(&project, name).await.unwrap();
        let credentials = [create("by-id").await, create("by-name").await, create("rotated").await];
        Cloud {
            stack,
            project,
            account,
            credentials,
        }
    };
    CLOUD.get_or_init(start).await
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
