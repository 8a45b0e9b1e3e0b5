//! Azure for all tests of this program, started once.

use devcluster::stores::{Authority, Azure, AzureOptions, Role};
use tokio::sync::OnceCell;

/// Where the resources of the clusters are.
pub const REGION: &str = "westeurope";

static CLOUD: OnceCell<Cloud> = OnceCell::const_new();

/// Azure with one tenant and one subscription.
pub struct Cloud {
    pub azure: Azure,
    pub tenant: String,
    pub subscription: String,
}

impl Cloud {
    pub async fn start(options: AzureOptions) -> Self {
        let azure = Azure::start(options).await.unwrap();
        let tenant = azure.tenant();
        let subscription = azure.subscription(&tenant);
        Self {
            azure,
            tenant,
            subscription,
        }
    }
}

/// The public cloud.
pub async fn cloud() -> &'static Cloud {
    let start = || async { Cloud::start(AzureOptions::new(Authority::new("azure").unwrap())).await };
    CLOUD.get_or_init(start).await
}

/// A cloud of one test alone, which changes how it behaves.
pub async fn own_cloud() -> &'static Cloud {
    Box::leak(Box::new(
        Cloud::start(AzureOptions::new(Authority::new("azure").unwrap())).await,
    ))
}

/// The rights that the operator asks the platform for, from the manifest that is shipped.
pub fn role() -> Role {
    let manifest = include_str!("../../deploy/01-registry-credentials-request-azure.yaml");
    let role = Role::of_credentials_request(manifest).unwrap();
    assert!(role.actions.len() > 20 && role.data_actions.len() == 5);
    role
}
