//! The seam for another registry program: the same typed data, other variables; and the preflight asks the program how it
//! speaks.

use std::collections::BTreeMap;

use image_registry_operator::api::Sensitive;
use image_registry_operator::config::error_class::ErrorClass;
use image_registry_operator::config::facts::{EnvValue, EnvVar, StorageFacts};
use image_registry_operator::config::resolve::{Reason, Rejection};
use image_registry_operator::program::platform::Platform;
use image_registry_operator::program::{FilesystemVolume, RegistryProgram, RegistryStorage, S3Wire};
use serde_json::json;

use crate::site::Site;

/// A program with the names of the stock distribution registry.
struct Stock;

impl RegistryProgram for Stock {
    fn render(&self, storage: &RegistryStorage) -> Result<StorageFacts, Rejection> {
        let text = |name, value: &str| EnvVar {
            name,
            value: EnvValue::Text(value.to_owned()),
        };
        match storage {
            RegistryStorage::S3(s3) => Ok(StorageFacts {
                env: vec![
                    text("REGISTRY_STORAGE_S3_BUCKET", &s3.bucket),
                    EnvVar {
                        name: "REGISTRY_STORAGE_S3_FORCEPATHSTYLE",
                        value: EnvValue::Flag(s3.path_style),
                    },
                    text("AWS_SHARED_CREDENTIALS_FILE", "/creds/credentials"),
                ],
                files: BTreeMap::from([("credentials".to_owned(), Sensitive::new(s3.credentials.expose()))]),
                ..StorageFacts::default()
            }),
            other => Platform.render(other),
        }
    }

    fn s3_wire(&self) -> S3Wire {
        S3Wire { has_sts_endpoint: true }
    }
}

#[tokio::test]
async fn a_second_program_renders_the_same_storage_with_its_own_variables() {
    let mut site = Site::new(json!({"s3": {}}));
    site.program = Box::new(Stock);
    site.settle().await;
    let names: Vec<_> = site
        .running
        .as_ref()
        .unwrap()
        .env
        .iter()
        .map(|variable| variable.name)
        .collect();
    assert_eq!(
        names,
        [
            "REGISTRY_STORAGE_S3_BUCKET",
            "REGISTRY_STORAGE_S3_FORCEPATHSTYLE",
            "AWS_SHARED_CREDENTIALS_FILE"
        ]
    );
    assert_eq!(site.running.as_ref().unwrap().backend, "S3");
    // Another program is another rendering: it passes a preflight before the pods get it.
    site.preflights();
    site.program = Box::new(Platform);
    site.settle().await;
    assert_eq!(site.preflights().len(), 1);
}

/// A program without a driver for S3.
struct WithoutS3;

impl RegistryProgram for WithoutS3 {
    fn render(&self, storage: &RegistryStorage) -> Result<StorageFacts, Rejection> {
        match storage {
            RegistryStorage::S3(_) => {
                let message = "the program has no driver for S3".to_owned();
                Err(Rejection::new(Reason::StorageNotConfigured, message))
            }
            other => Platform.render(other),
        }
    }

    fn s3_wire(&self) -> S3Wire {
        Platform.s3_wire()
    }
}

#[tokio::test]
async fn storage_that_the_program_cannot_use_is_rejected_before_any_call() {
    let mut site = Site::new(json!({"s3": {}}));
    site.program = Box::new(WithoutS3);
    for _ in 0..3 {
        let outcome = site.pass().await;
        assert_eq!(
            outcome.error.unwrap().class,
            ErrorClass::Invalid(Reason::StorageNotConfigured)
        );
    }
    assert!(site.calls().is_empty() && site.intent().is_none());
    assert_eq!(site.looks(), 0);
}

#[test]
fn both_programs_render_volumes_alike() {
    for volume in [FilesystemVolume::EmptyDir, FilesystemVolume::Claim("blue".to_owned())] {
        let storage = RegistryStorage::Filesystem(volume);
        assert_eq!(Platform.render(&storage), Stock.render(&storage));
    }
}
