//! Access to the bucket as the registry has it: identity, proxy, CA, endpoint and headers.

use super::bucket::Store;
use super::connect::{Connection, connect};
use super::credentials::Credentials;
use super::effective::Effective;
use super::session::Token;
use crate::program::S3Wire;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::Probe;
use crate::storage::model::state::State;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::preflight;
use crate::storage::s3api::client::{Bucket, ObjectEncryption, Upload};
use crate::storage::traits::{Cluster, DataPlane};

/// The bucket with the registry's identity.
pub struct RegistryBucket {
    bucket: Bucket,
    encryption: ObjectEncryption,
    managed: bool,
    /// Address at which the registry calls STS, if the operator uses another one.
    sts: Option<String>,
}

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
        let trust = Trust {
            bundle: probe.roots.to_owned(),
            system: true,
        };
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
        Ok(RegistryBucket {
            bucket: connect(self.backend.network, self.backend.identities, connection, name)?,
            encryption: self.registry_encryption(),
            managed: self.request.effective_state() == Some(State::Managed),
            sts,
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

impl DataPlane for RegistryBucket {
    type Upload = Upload;

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        self.bucket.put(key, body.to_vec(), &self.encryption).await
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        self.bucket.get(key).await
    }

    async fn list(&self, prefix: &str) -> Called<()> {
        self.bucket.objects(prefix, 1).await.map(drop)
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()> {
        self.bucket.delete_object(key, version).await
    }

    async fn begin_upload(&self, key: &str) -> Called<Upload> {
        self.bucket.begin_upload(key, &self.encryption).await
    }

    async fn continue_upload(&self, upload: &Upload, body: &[u8]) -> Called<()> {
        self.bucket.upload_part(upload, 1, body.to_vec()).await?;
        self.bucket.uploads(&upload.key).await?;
        self.bucket.parts(upload).await?;
        Ok(())
    }

    async fn abort_upload(&self, upload: &Upload) -> Called<()> {
        self.bucket.abort(upload).await
    }

    fn is_unsure(&self) -> bool {
        self.bucket.is_unsure()
    }

    fn must_delete_versions(&self) -> bool {
        self.managed
    }

    /// With a customer-managed key, the missing permission may be one of KMS.
    fn action(&self, error: &CallError) -> String {
        let key = match &self.encryption {
            ObjectEncryption::Kms(key) if error.is_denied() => key,
            _ => return error.action.to_owned(),
        };
        match error.action {
            "s3:PutObject" => format!("s3:PutObject, or kms:GenerateDataKey and kms:Decrypt with key {key},"),
            "s3:GetObject" => format!("s3:GetObject, or kms:Decrypt with key {key},"),
            other => other.to_owned(),
        }
    }

    fn remedy(&self, error: &CallError) -> String {
        if let ObjectEncryption::KeyOnly(key) = &self.encryption
            && error.cause == Cause::Answer(400)
            && !error.is_undecided()
            && error.action == "s3:PutObject"
        {
            return format!(
                " (the registry sends key {key} of spec.storage.s3.keyID without an encryption algorithm: set \
                 spec.storage.s3.encrypt, or remove keyID)"
            );
        }
        match &self.sts {
            Some(address) if error.of_identity => format!(
                " (the registry has no setting for STS, and calls it at {address}: use an access key instead of a role, \
                 or storage whose STS has that address)"
            ),
            _ => String::new(),
        }
    }
}
