//! Real storage servers for tests: programs of their own on loopback, each with its own ports, directory and clean
//! environment, gone when the value is dropped.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use devcluster::stores::{Moto, MotoOptions};
//! let moto = Moto::start(MotoOptions { authorisation: true, ..Default::default() }).await?;
//! let statements = serde_json::json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
//! let keys = moto.user("registry", &statements).await?;
//! // ... point something at moto.url() with those keys ...
//! # Ok(())
//! # }
//! ```
//!
//! Names: addresses and `localhost` mean path style for both servers. With the bucket in the host, clients ask for
//! `BUCKET.s3.localhost` or `BUCKET.s3.test.example`, which no resolver of this machine knows: they go through a
//! [`ForwardProxy`] that does.

mod asked;
mod azure;
mod cloud;
mod connections;
mod dns;
mod fill;
mod form;
mod gate;
mod gcs;
pub(crate) mod home;
mod ibm;
mod moto;
mod openstack;
mod port;
mod proxy;
mod seaweed;
mod serve;
mod sts;
mod tls;
mod token;
mod wire;

pub use asked::Asked;
pub use azure::{
    Azure, AzureCall, AzureCloud, AzureOptions, EntraApplication, EntraCertificate, LongRunning, Needed,
    OperationHeaders, Role,
};
pub use cloud::Cloud;
pub use dns::Dns;
pub use gate::{Fault, Gate, GateOptions, Hook, Latch, Reply, When};
pub use gcs::{Accepted, Discovery, Federation, Gcs, GcsOptions, Operation, ServiceAccountKey, gcs_error};
pub use ibm::{Ibm, IbmOptions};
pub use moto::{ACCOUNT, Moto, MotoOptions, OTHER_ACCOUNT};
pub use openstack::{
    Account, ApplicationCredential, CEPH, Keystone, KeystoneOptions, OpenStack, OpenStackOptions, Project, REGION, Rgw,
    Swift, SwiftOptions,
};
pub use proxy::{ForwardProxy, Hosts, Proxied, ProxyOptions};
pub use seaweed::{Seaweed, SeaweedOptions};
pub use sts::{Sts, StsOptions};
pub use tls::{Authority, NAMES};
pub use token::{ISSUER, TokenIssuer, TokenKey};
pub use wire::{Answer, Call, Keys, Target};

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
