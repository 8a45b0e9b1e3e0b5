//! The stock `distribution` registry, v3.1 and later of its line. It refuses to start with a value that it cannot read, and
//! ignores variables that it does not know.

pub mod regions;

use super::platform::{self, raw, text};
use super::{AzureLogin, AzureStorage, GcsStorage, RegistryProgram, RegistryStorage, S3Storage, S3Wire};
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::resolve::{Reason, Rejection};
use crate::names::NO_REDIRECT;

/// Realm of Azure's public cloud.
const PUBLIC_REALM: &str = "core.windows.net";
/// The universe of Google's public cloud, to which the driver uploads.
const PUBLIC_UNIVERSE: &str = "googleapis.com";

/// The stock registry, as its project ships it: aws-sdk-go v1, and no driver for Swift.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distribution;

impl RegistryProgram for Distribution {
    fn render(&self, storage: &RegistryStorage) -> Result<StorageFacts, Rejection> {
        match storage {
            RegistryStorage::Filesystem(volume) => Ok(platform::filesystem(volume)),
            RegistryStorage::S3(s3) => Ok(s3_storage(&in_its_region(s3)?)),
            RegistryStorage::IbmCos(cos) => Ok(StorageFacts {
                backend: "IBMCOS",
                ..s3_storage(cos)
            }),
            RegistryStorage::Gcs(gcs) => gcs_storage(gcs),
            RegistryStorage::Azure(azure) => Ok(azure_storage(azure)),
            RegistryStorage::Swift(_) => Err(Rejection::new(
                Reason::StorageNotConfigured,
                "spec.storage.swift: the registry program distribution (REGISTRY_PROGRAM) has no driver for Swift. Choose another \
                 backend, such as s3 or pvc, or run the platform's registry (REGISTRY_PROGRAM=platform and its IMAGE)",
            )),
        }
    }

    /// The driver gives its endpoint to the library's session, as the platform's does: STS is asked there too.
    fn s3_wire(&self) -> S3Wire {
        S3Wire {
            has_sts_endpoint: false,
        }
    }
}

/// The bucket with its public endpoint, if the registry does not know the region. With an endpoint the library sends its STS calls there,
/// too, so that a role does not work.
fn in_its_region(s3: &S3Storage) -> Result<S3Storage, Rejection> {
    let unknown = s3.public.as_ref().filter(|_| !regions::is_known(&s3.region));
    let Some(public) = unknown else {
        return Ok(s3.clone());
    };
    if public.needs_sts {
        let message = format!(
            "spec.storage.s3.region: the registry program distribution (REGISTRY_PROGRAM) does not know region {}, where it works with \
             an access key only, and the credentials name a role. Use an access key, a bucket in another region, or the platform's \
             registry (REGISTRY_PROGRAM=platform and its IMAGE)",
            s3.region
        );
        return Err(Rejection::new(Reason::StorageNotConfigured, message));
    }
    Ok(S3Storage {
        endpoint: Some(public.url.clone()),
        path_style: false,
        ..s3.clone()
    })
}

fn s3_storage(s3: &S3Storage) -> StorageFacts {
    StorageFacts {
        env: s3_variables(s3),
        ..platform::s3_storage(s3)
    }
}

/// Environment of the registry, in order.
fn s3_variables(s3: &S3Storage) -> Vec<EnvVar> {
    let given = |member: &Option<String>| member.clone().map(EnvValue::Text);
    let text = |value: &str| Some(EnvValue::Text(value.to_owned()));
    // The driver would have the bucket in the path at Amazon's own addresses too, which do not serve every bucket that way.
    let path_style = s3.endpoint.as_ref().map(|_| EnvValue::Flag(s3.path_style));
    let credentials = format!("{}/{}", platform::CREDENTIALS_MOUNT, platform::CREDENTIALS_FILE);
    let variables = [
        ("REGISTRY_STORAGE", text("s3")),
        (platform::S3_BUCKET, text(&s3.bucket)),
        ("REGISTRY_STORAGE_S3_REGION", text(&s3.region)),
        (platform::S3_ENDPOINT, given(&s3.endpoint)),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", path_style),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", s3.dual_stack.map(EnvValue::Flag)),
        ("REGISTRY_STORAGE_S3_ENCRYPT", Some(EnvValue::Flag(s3.encrypt))),
        ("REGISTRY_STORAGE_S3_KEYID", given(&s3.key_id)),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", s3.chunk_size.map(EnvValue::Number)),
        ("AWS_SHARED_CREDENTIALS_FILE", Some(EnvValue::Raw(credentials))),
        // Without it the library ignores roles and token files.
        ("AWS_SDK_LOAD_CONFIG", Some(EnvValue::Raw("1".to_owned()))),
        (
            "REGISTRY_MIDDLEWARE_STORAGE",
            s3.cloud_front.as_ref().map(|c| EnvValue::Raw(platform::middleware(c))),
        ),
    ];
    platform::given_variables(variables)
}

/// The driver takes only the key of a service account as its key file. Google's library finds any other file by its own variable;
/// without a private key the driver signs no URLs.
fn gcs_storage(gcs: &GcsStorage) -> Result<StorageFacts, Rejection> {
    let mut facts = platform::gcs_storage(gcs);
    let file: serde_json::Value = serde_json::from_str(gcs.key_file.expose()).unwrap_or_default();
    let member = |name: &str| file.get(name).and_then(serde_json::Value::as_str);
    if let Some(universe) = member("universe_domain").filter(|universe| *universe != PUBLIC_UNIVERSE) {
        let message = format!(
            "spec.storage.gcs: the registry program distribution (REGISTRY_PROGRAM) uploads to {PUBLIC_UNIVERSE} only, and the \
             credentials belong to {universe:?}. Choose another backend, or run the platform's registry"
        );
        return Err(Rejection::new(Reason::StorageNotConfigured, message));
    }
    if member("type").is_some_and(|kind| kind != "service_account") {
        let path = format!("{}/{}", platform::GCS_MOUNT, platform::GCS_FILE);
        facts.env = vec![
            text("REGISTRY_STORAGE", "gcs"),
            text("REGISTRY_STORAGE_GCS_BUCKET", &gcs.bucket),
            raw("GOOGLE_APPLICATION_CREDENTIALS", &path),
            EnvVar {
                name: NO_REDIRECT,
                value: EnvValue::Flag(true),
            },
        ];
    }
    Ok(facts)
}

/// The driver has to be told which kind of login it has.
fn azure_storage(azure: &AzureStorage) -> StorageFacts {
    let kind = match &azure.login {
        AzureLogin::Key(_) => "shared_key",
        AzureLogin::WorkloadIdentity { .. } => "default_credentials",
    };
    let realm = azure.realm.as_deref().unwrap_or(PUBLIC_REALM);
    let own = [
        text("REGISTRY_STORAGE", "azure"),
        text("REGISTRY_STORAGE_AZURE_CONTAINER", &azure.container),
        text(platform::AZURE_ACCOUNT_NAME, &azure.account),
        text(platform::AZURE_REALM, realm),
        text(
            "REGISTRY_STORAGE_AZURE_SERVICEURL",
            &format!("https://{}.blob.{realm}", azure.account),
        ),
        text("REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE", kind),
    ];
    StorageFacts {
        backend: "Azure",
        env: own.into_iter().chain(platform::azure_login(&azure.login)).collect(),
        ..StorageFacts::default()
    }
}

#[cfg(test)]
mod tests;
