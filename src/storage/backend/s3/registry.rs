//! Access to the bucket as the registry has it: identity, proxy, CA, endpoint and headers.

use super::bucket::Store;
use super::connect::{Connection, connect};
use super::credentials::Credentials;
use super::effective::Effective;
use super::remedy;
use super::session::Token;
use crate::program::S3Wire;
use crate::storage::model::call::CallError;
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::Probe;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::preflight::{self, exercise};
use crate::storage::s3api::client::ObjectEncryption;
use crate::storage::s3api::plane::RegistryBucket;
use crate::storage::traits::Cluster;

/// The configuration as the registry program uses it, and the address at which it calls STS, if the operator uses
/// another one. A program without a setting for STS calls STS at the storage endpoint, or at the public address.
fn as_program(mut effective: Effective, wire: S3Wire) -> (Effective, Option<String>) {
    if effective.rendered_endpoint.is_none() {
        effective.endpoint = None;
    }
    if wire.has_sts_endpoint {
        return (effective, None);
    }
    let registry_sts = effective.endpoint.clone();
    let operator_sts = std::mem::replace(&mut effective.sts_endpoint, registry_sts);
    let other_sts = (effective.sts_endpoint != operator_sts).then(|| match &effective.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => "the public address".to_owned(),
    });
    (effective, other_sts)
}

impl<C: Cluster> Store<'_, C> {
    /// The bucket with the registry's identity, proxy and CA.
    pub(super) async fn as_registry(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        let credentials = Credentials::of(self.request.snapshot)?;
        let (effective, sts) = as_program(self.effective.clone(), probe.s3);
        let trust = Trust::with_system(probe.roots);
        let token = if Token::is_needed(&credentials.profile) {
            Token::Given(self.backend.cluster.registry_token(preflight::AUDIENCE).await?)
        } else {
            Token::of_operator(&credentials.profile)
        };
        let connection = Connection {
            effective: &effective,
            credentials: &credentials,
            token,
            trust: trust.clone(),
            sts_trust: trust,
            egress: Egress::Fixed(probe.proxies.clone()),
            pin_owner: false,
        };
        let name = &self.container.name;
        let encryption = self.registry_encryption();
        let headers = encryption.clone();
        Ok(RegistryBucket {
            bucket: connect(self.backend.network, self.backend.identities, connection, name)?,
            encryption,
            must_delete_versions: self.request.must_delete_versions(),
            copied: exercise::UPLOADED.len(),
            remedy: Box::new(move |error| remedy_of(&headers, sts.as_deref(), error)),
        })
    }

    /// Encryption headers of the registry's uploads. The registry sends the key even if `encrypt` is off.
    fn registry_encryption(&self) -> ObjectEncryption {
        let encrypt = self.effective.spec.encrypt == Some(true);
        match self.key_id() {
            Some(key) if !encrypt => ObjectEncryption::KeyOnly(key),
            _ => self.object_encryption(encrypt),
        }
    }
}

/// See [`DataPlane::remedy`](crate::storage::traits::DataPlane::remedy). `sts`: address at which the registry calls STS, if
/// the operator uses another one.
fn remedy_of(encryption: &ObjectEncryption, sts: Option<&str>, error: &CallError) -> String {
    if let Some(remedy) = remedy::of_encryption(encryption, error) {
        return remedy;
    }
    match sts {
        Some(address) if error.of_identity => format!(
            " (the registry has no setting for STS, and calls it at {address}: use an access key instead of a role, or \
             storage whose STS has that address)"
        ),
        _ => String::new(),
    }
}
