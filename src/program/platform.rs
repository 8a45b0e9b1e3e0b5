//! The platform's registry. Names, order and values are those of the Go operator: any other rendering would replace the pods
//! at take-over.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    AzureLogin, AzureStorage, FilesystemVolume, GcsStorage, RegistryProgram, RegistryStorage, S3CloudFront, S3Storage,
    S3Wire, SwiftStorage,
};
use crate::api::Sensitive;
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::resolve::Rejection;
use crate::config::yaml;
use crate::names;

/// Variable of the bucket.
pub const S3_BUCKET: &str = "REGISTRY_STORAGE_S3_BUCKET";
/// Variable of a custom S3 endpoint.
pub const S3_ENDPOINT: &str = "REGISTRY_STORAGE_S3_REGIONENDPOINT";
/// Variable of the storage account.
pub const AZURE_ACCOUNT_NAME: &str = "REGISTRY_STORAGE_AZURE_ACCOUNTNAME";
/// Suffix of the storage endpoints; the registry's default is that of the public cloud.
pub const AZURE_REALM: &str = "REGISTRY_STORAGE_AZURE_REALM";
/// URL of Keystone.
pub const SWIFT_AUTH_URL: &str = "REGISTRY_STORAGE_SWIFT_AUTHURL";
/// Name of the registry's volume, as the Go operator has it.
pub const VOLUME: &str = "registry-storage";
/// Directory of the registry's files; the root file system of the container is read-only.
const DIRECTORY: &str = "/registry";
/// Mount path of the Secret with the credentials.
pub(super) const CREDENTIALS_MOUNT: &str = "/var/run/secrets/cloud";
/// Name of the credentials file in that Secret.
pub const CREDENTIALS_FILE: &str = "credentials";
/// Mount path of CloudFront's signing key.
const CLOUD_FRONT_MOUNT: &str = "/etc/docker/cloudfront";
const CLOUD_FRONT_VOLUME: &str = "registry-cloudfront";
const CLOUD_FRONT_FILE: &str = "private.pem";
/// Volume, directory and file of the credentials for Google Cloud.
const GCS_VOLUME: &str = "registry-storage-keyfile";
pub(super) const GCS_MOUNT: &str = "/gcs";
pub(super) const GCS_FILE: &str = "keyfile";
/// Variable of that file, and its key in the private Secret.
const GCS_KEY_FILE: &str = "REGISTRY_STORAGE_GCS_KEYFILE";

/// The registry of OKD and OpenShift: distribution v2 with the platform's extensions and aws-sdk-go v1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Platform;

impl RegistryProgram for Platform {
    fn render(&self, storage: &RegistryStorage) -> Result<StorageFacts, Rejection> {
        Ok(match storage {
            RegistryStorage::Filesystem(volume) => filesystem(volume),
            RegistryStorage::S3(s3) => s3_storage(s3),
            RegistryStorage::IbmCos(cos) => ibm_cos_storage(cos),
            RegistryStorage::Gcs(gcs) => gcs_storage(gcs),
            RegistryStorage::Swift(swift) => swift_storage(swift),
            RegistryStorage::Azure(azure) => azure_storage(azure),
        })
    }

    fn s3_wire(&self) -> S3Wire {
        S3Wire {
            has_sts_endpoint: false,
        }
    }
}

pub(super) fn text(name: &'static str, value: &str) -> EnvVar {
    EnvVar {
        name,
        value: EnvValue::Text(value.to_owned()),
    }
}

/// A variable that is not one of the registry's own, and is not read as YAML.
pub(super) fn raw(name: &'static str, value: &str) -> EnvVar {
    EnvVar {
        name,
        value: EnvValue::Raw(value.to_owned()),
    }
}

pub(super) fn filesystem(volume: &FilesystemVolume) -> StorageFacts {
    let (backend, volume) = match volume {
        FilesystemVolume::EmptyDir => ("EmptyDir", json!({"name": VOLUME, "emptyDir": {}})),
        FilesystemVolume::Claim(claim) => (
            "PVC",
            json!({"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}}),
        ),
    };
    StorageFacts {
        backend,
        env: vec![
            text("REGISTRY_STORAGE", "filesystem"),
            text("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", DIRECTORY),
        ],
        volumes: vec![volume],
        mounts: vec![json!({"name": VOLUME, "mountPath": DIRECTORY})],
        ..StorageFacts::default()
    }
}

pub(super) fn s3_storage(s3: &S3Storage) -> StorageFacts {
    let mut volumes = vec![json!({
        "name": names::PRIVATE_SECRET,
        "secret": {"secretName": names::PRIVATE_SECRET, "optional": false},
    })];
    let mut mounts = vec![mount(names::PRIVATE_SECRET, CREDENTIALS_MOUNT)];
    if let Some(cloud_front) = &s3.cloud_front {
        volumes.push(json!({
            "name": CLOUD_FRONT_VOLUME,
            "secret": {
                "secretName": cloud_front.key.secret,
                "items": [{"key": cloud_front.key.key, "path": CLOUD_FRONT_FILE}],
                "optional": false,
            },
        }));
        mounts.push(mount(CLOUD_FRONT_VOLUME, CLOUD_FRONT_MOUNT));
    }
    StorageFacts {
        backend: "S3",
        env: s3_variables(s3),
        volumes,
        mounts,
        files: BTreeMap::from([(CREDENTIALS_FILE.to_owned(), Sensitive::new(s3.credentials.expose()))]),
        ..StorageFacts::default()
    }
}

/// As for S3, with the order and the members of the Go operator for this backend.
fn ibm_cos_storage(cos: &S3Storage) -> StorageFacts {
    let credentials = format!("{CREDENTIALS_MOUNT}/{CREDENTIALS_FILE}");
    let flag = |name, set| EnvVar {
        name,
        value: EnvValue::Flag(set),
    };
    let env = vec![
        text("REGISTRY_STORAGE", "s3"),
        text(S3_BUCKET, &cos.bucket),
        text("REGISTRY_STORAGE_S3_REGION", &cos.region),
        text(S3_ENDPOINT, cos.endpoint.as_deref().unwrap_or_default()),
        flag("REGISTRY_STORAGE_S3_ENCRYPT", cos.encrypt),
        flag("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", cos.path_style),
        flag("REGISTRY_STORAGE_S3_USEDUALSTACK", cos.dual_stack == Some(true)),
        text("REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH", &credentials),
    ];
    StorageFacts {
        backend: "IBMCOS",
        env,
        ..s3_storage(cos)
    }
}

/// The registry's driver finds region, project and universe in the credentials and in the bucket.
pub(super) fn gcs_storage(gcs: &GcsStorage) -> StorageFacts {
    StorageFacts {
        backend: "GCS",
        env: vec![
            text("REGISTRY_STORAGE", "gcs"),
            text("REGISTRY_STORAGE_GCS_BUCKET", &gcs.bucket),
            text(GCS_KEY_FILE, &format!("{GCS_MOUNT}/{GCS_FILE}")),
        ],
        volumes: vec![json!({
            "name": GCS_VOLUME,
            "secret": {
                "secretName": names::PRIVATE_SECRET,
                "optional": false,
                "items": [{"key": GCS_KEY_FILE, "path": GCS_FILE}],
            },
        })],
        mounts: vec![json!({"name": GCS_VOLUME, "mountPath": GCS_MOUNT})],
        files: BTreeMap::from([(GCS_KEY_FILE.to_owned(), gcs.key_file.clone())]),
        ..StorageFacts::default()
    }
}

/// The registry's driver takes the key, or else finds the identity in the variables of Azure's own libraries, which do not read
/// them as YAML. The token is mounted in every registry pod.
fn azure_storage(azure: &AzureStorage) -> StorageFacts {
    let mut env = azure_login(&azure.login);
    env.extend([
        text("REGISTRY_STORAGE", "azure"),
        text("REGISTRY_STORAGE_AZURE_CONTAINER", &azure.container),
        text(AZURE_ACCOUNT_NAME, &azure.account),
    ]);
    env.extend(azure.realm.as_ref().map(|realm| text(AZURE_REALM, realm)));
    StorageFacts {
        backend: "Azure",
        env,
        ..StorageFacts::default()
    }
}

/// Variables of the login at Azure, in order.
pub(super) fn azure_login(login: &AzureLogin) -> Vec<EnvVar> {
    match login {
        AzureLogin::Key(key) => vec![EnvVar {
            name: "REGISTRY_STORAGE_AZURE_ACCOUNTKEY",
            value: EnvValue::Secret(key.clone()),
        }],
        AzureLogin::WorkloadIdentity {
            client,
            tenant,
            token_file,
            authority,
        } => vec![
            raw("AZURE_CLIENT_ID", client),
            raw("AZURE_TENANT_ID", tenant),
            raw("AZURE_FEDERATED_TOKEN_FILE", token_file),
            raw("AZURE_AUTHORITY_HOST", authority),
        ],
    }
}

fn mount(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path, "readOnly": true})
}

/// Environment of the registry, in order.
fn s3_variables(s3: &S3Storage) -> Vec<EnvVar> {
    let given = |member: &Option<String>| member.clone().map(EnvValue::Text);
    let text = |value: &str| Some(EnvValue::Text(value.to_owned()));
    let credentials = format!("{CREDENTIALS_MOUNT}/{CREDENTIALS_FILE}");
    let variables = [
        (S3_ENDPOINT, given(&s3.endpoint)),
        ("REGISTRY_STORAGE_S3_KEYID", given(&s3.key_id)),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", s3.chunk_size.map(EnvValue::Number)),
        ("REGISTRY_STORAGE", text("s3")),
        (S3_BUCKET, text(&s3.bucket)),
        ("REGISTRY_STORAGE_S3_REGION", text(&s3.region)),
        ("REGISTRY_STORAGE_S3_ENCRYPT", Some(EnvValue::Flag(s3.encrypt))),
        (
            "REGISTRY_STORAGE_S3_FORCEPATHSTYLE",
            Some(EnvValue::Flag(s3.path_style)),
        ),
        ("REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH", text(&credentials)),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", s3.dual_stack.map(EnvValue::Flag)),
        (
            "REGISTRY_MIDDLEWARE_STORAGE",
            s3.cloud_front.as_ref().map(|c| EnvValue::Raw(middleware(c))),
        ),
    ];
    given_variables(variables)
}

/// The variables that have a value, in order.
pub(super) fn given_variables(variables: impl IntoIterator<Item = (&'static str, Option<EnvValue>)>) -> Vec<EnvVar> {
    let variables = variables.into_iter();
    variables
        .filter_map(|(name, value)| Some(EnvVar { name, value: value? }))
        .collect()
}

/// The registry's list of storage middlewares, YAML.
pub(super) fn middleware(cloud_front: &S3CloudFront) -> String {
    let options = [
        ("baseurl", yaml::text(&cloud_front.base_url)),
        ("privatekey", format!("{CLOUD_FRONT_MOUNT}/{CLOUD_FRONT_FILE}")),
        ("keypairid", yaml::text(&cloud_front.keypair_id)),
        ("duration", cloud_front.duration.clone()),
        ("ipfilteredby", "none".to_owned()),
    ];
    let options = options.map(|(key, value)| format!("\n    {key}: {value}"));
    format!("- name: cloudfront\n  options:{}", options.concat())
}

/// Variables of the credentials, in order. All are always present: the registry reads `""` as an empty text.
const SWIFT_SECRETS: [&str; 6] = [
    "REGISTRY_STORAGE_SWIFT_USERNAME",
    "REGISTRY_STORAGE_SWIFT_PASSWORD",
    "REGISTRY_STORAGE_SWIFT_TOKENID",
    "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALID",
    "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALNAME",
    "REGISTRY_STORAGE_SWIFT_APPLICATIONCREDENTIALSECRET",
];

/// Variables of the cloud and its region, of the project, and of the domains of user and project.
const SWIFT_TENANT: [&str; 8] = [
    SWIFT_AUTH_URL,
    "REGISTRY_STORAGE_SWIFT_REGION",
    "REGISTRY_STORAGE_SWIFT_DOMAIN",
    "REGISTRY_STORAGE_SWIFT_DOMAINID",
    "REGISTRY_STORAGE_SWIFT_TENANT",
    "REGISTRY_STORAGE_SWIFT_TENANTID",
    "REGISTRY_STORAGE_SWIFT_TENANTDOMAIN",
    "REGISTRY_STORAGE_SWIFT_TENANTDOMAINID",
];

fn swift_storage(swift: &SwiftStorage) -> StorageFacts {
    let mut env = vec![
        text("REGISTRY_STORAGE", "swift"),
        text("REGISTRY_STORAGE_SWIFT_CONTAINER", &swift.container),
        text(SWIFT_AUTH_URL, &swift.auth_url),
    ];
    env.extend(
        SWIFT_SECRETS
            .into_iter()
            .zip(swift.secrets())
            .map(|(name, secret)| EnvVar {
                name,
                value: EnvValue::Secret(secret.clone()),
            }),
    );
    env.push(EnvVar {
        name: "REGISTRY_STORAGE_SWIFT_AUTHVERSION",
        value: EnvValue::Number(swift.auth_version),
    });
    let given = [
        ("REGISTRY_STORAGE_SWIFT_DOMAIN", &swift.domain.name),
        ("REGISTRY_STORAGE_SWIFT_DOMAINID", &swift.domain.id),
        ("REGISTRY_STORAGE_SWIFT_TENANT", &swift.tenant.name),
        ("REGISTRY_STORAGE_SWIFT_TENANTID", &swift.tenant.id),
        ("REGISTRY_STORAGE_SWIFT_REGION", &swift.region),
        // Not of the Go operator, so only where the registry would ask for the project in the wrong domain.
        ("REGISTRY_STORAGE_SWIFT_TENANTDOMAIN", &swift.tenant_domain.name),
        ("REGISTRY_STORAGE_SWIFT_TENANTDOMAINID", &swift.tenant_domain.id),
    ];
    let given = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)));
    env.extend(given.map(|(name, value)| text(name, value)));
    StorageFacts {
        backend: "Swift",
        env,
        tenant: &SWIFT_TENANT,
        ..StorageFacts::default()
    }
}
