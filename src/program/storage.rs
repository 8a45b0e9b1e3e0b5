//! What a registry needs of its storage, as typed data, per backend.

use crate::api::Sensitive;

/// Storage as a registry sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryStorage {
    /// A directory on a volume of the pod.
    Filesystem(FilesystemVolume),
    /// A bucket that speaks the S3 protocol.
    S3(Box<S3Storage>),
    /// A bucket of IBM Cloud Object Storage, which speaks the S3 protocol.
    IbmCos(Box<S3Storage>),
    /// A container of OpenStack Swift.
    Swift(Box<SwiftStorage>),
    /// A bucket of Google Cloud Storage.
    Gcs(GcsStorage),
    /// A container of Azure Blob Storage.
    Azure(Box<AzureStorage>),
}

impl RegistryStorage {
    /// Everything that the registry gets, secrets included, for fingerprints.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Filesystem(volume) => vec![format!("{volume:?}")],
            // Debug output leaves the credentials out.
            Self::S3(s3) | Self::IbmCos(s3) => vec![format!("{s3:?}"), s3.credentials.expose().to_owned()],
            Self::Swift(swift) => {
                let secrets = swift.secrets().map(|secret| secret.expose().to_owned());
                [format!("{swift:?}")].into_iter().chain(secrets).collect()
            }
            Self::Gcs(gcs) => vec![gcs.bucket.clone(), gcs.key_file.expose().to_owned()],
            // Debug output leaves the key out.
            Self::Azure(azure) => {
                let key = match &azure.login {
                    AzureLogin::Key(key) => key.expose().to_owned(),
                    AzureLogin::WorkloadIdentity { .. } => String::new(),
                };
                vec![format!("{azure:?}"), key]
            }
        }
    }
}

/// The volume of a registry that keeps its images in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesystemVolume {
    /// The node's disk, as long as the pod lives.
    EmptyDir,
    /// A PersistentVolumeClaim of the registry's namespace.
    Claim(String),
}

/// A bucket that speaks the S3 protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Storage {
    /// Bucket.
    pub bucket: String,
    /// Region, for signatures and public endpoints.
    pub region: String,
    /// Custom endpoint as it was written; `None`: the public endpoint of the region.
    pub endpoint: Option<String>,
    /// The public endpoint, for a program that does not know the region; `None` with a custom endpoint.
    pub public: Option<PublicEndpoint>,
    /// The bucket goes into the path of the URL, not into the host name.
    pub path_style: bool,
    /// Dual-stack endpoints; `None`: not rendered.
    pub dual_stack: Option<bool>,
    /// Uploads ask for server-side encryption.
    pub encrypt: bool,
    /// KMS key of uploads.
    pub key_id: Option<String>,
    /// Size of upload parts in bytes; `None`: the program's default.
    pub chunk_size: Option<i64>,
    /// Credentials: the text of a shared config file of AWS.
    pub credentials: Sensitive,
    /// Signed URLs of CloudFront for pulls.
    pub cloud_front: Option<S3CloudFront>,
}

/// The public endpoint of a region of Amazon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicEndpoint {
    /// URL, without a trailing slash.
    pub url: String,
    /// Whether the credentials name a role, so that the registry calls STS.
    pub needs_sts: bool,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsStorage {
    /// Bucket.
    pub bucket: String,
    /// JSON text of a service-account key or of a workload identity federation.
    pub key_file: Sensitive,
}

/// A container of Azure Blob Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureStorage {
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Suffix of the storage endpoints; `None`: that of the public cloud.
    pub realm: Option<String>,
    /// How the registry authenticates.
    pub login: AzureLogin,
}

/// How a registry authenticates at Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureLogin {
    /// With a key of the storage account, base64.
    Key(Sensitive),
    /// With the token of its ServiceAccount.
    WorkloadIdentity {
        /// ID of the client.
        client: String,
        /// ID of the tenant.
        tenant: String,
        /// Path of the token.
        token_file: String,
        /// Authority host of Entra ID, with a trailing slash.
        authority: String,
    },
}

/// Signed URLs of CloudFront.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3CloudFront {
    /// URL of the distribution.
    pub base_url: String,
    /// ID of the key pair.
    pub keypair_id: String,
    /// Lifetime of a signed URL, as a Go duration: `1200s`.
    pub duration: String,
    /// The private key.
    pub key: CloudFrontKey,
}

/// Secret of the registry's namespace with the private key of CloudFront.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFrontKey {
    /// Name of the Secret.
    pub secret: String,
    /// Key in the Secret.
    pub key: String,
}

/// A domain or project, by name, by ID, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameAndId {
    /// Name.
    pub name: Option<String>,
    /// ID.
    pub id: Option<String>,
}

/// A container of OpenStack Swift. Of the credentials, those that are not given are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwiftStorage {
    /// Container.
    pub container: String,
    /// Keystone's URL, with the version of its API.
    pub auth_url: String,
    /// Version of Keystone's API.
    pub auth_version: i64,
    /// Name of the user.
    pub username: Sensitive,
    /// Password of the user.
    pub password: Sensitive,
    /// A token that was issued elsewhere.
    pub token: Sensitive,
    /// ID of the application credential.
    pub application_credential_id: Sensitive,
    /// Name of the application credential.
    pub application_credential_name: Sensitive,
    /// Secret of the application credential.
    pub application_credential_secret: Sensitive,
    /// Domain of the user.
    pub domain: NameAndId,
    /// Project.
    pub tenant: NameAndId,
    /// Domain of the project, if it is not that of the user.
    pub tenant_domain: NameAndId,
    /// Region; `None`: any.
    pub region: Option<String>,
}

impl SwiftStorage {
    /// The credentials: user name, password, token, and ID, name and secret of the application credential.
    pub fn secrets(&self) -> [&Sensitive; 6] {
        [
            &self.username,
            &self.password,
            &self.token,
            &self.application_credential_id,
            &self.application_credential_name,
            &self.application_credential_secret,
        ]
    }
}
