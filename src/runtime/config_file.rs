//! The file of `--config`: a `GenericControllerConfig` of `config.openshift.io/v1`. Only `servingInfo` is used; its leader
//! election and client settings are ignored, as in the Go operator.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("cannot read config file {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: io::Error,
    },
    /// It is no such configuration.
    #[error("cannot parse config file {}: {error}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Box<serde_saphyr::Error>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    serving_info: Option<WireServingInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireServingInfo {
    bind_address: Option<String>,
    #[serde(rename = "minTLSVersion")]
    min_tls_version: Option<String>,
    cipher_suites: Option<Vec<String>>,
}

/// Settings of the metrics server. An empty field means the default. [`crate::runtime::server`] validates them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingInfo {
    /// `host:port` or `:port`; empty is `:60000`.
    pub bind_address: String,
    /// `VersionTLS10` to `VersionTLS13`; empty is `VersionTLS12`.
    pub min_tls_version: String,
    /// IANA names; empty means the library's defaults.
    pub cipher_suites: Vec<String>,
}

/// Reads the file. An empty document is all defaults.
pub(crate) fn read(path: &Path) -> Result<ServingInfo, ConfigFileError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigFileError::Read {
        path: path.to_owned(),
        error,
    })?;
    let file: Option<ConfigFile> = serde_saphyr::from_str(&text).map_err(|error| ConfigFileError::Parse {
        path: path.to_owned(),
        error: Box::new(error),
    })?;
    let Some(info) = file.and_then(|file| file.serving_info) else {
        return Ok(ServingInfo::default());
    };
    Ok(ServingInfo {
        bind_address: info.bind_address.unwrap_or_default(),
        min_tls_version: info.min_tls_version.unwrap_or_default(),
        cipher_suites: info.cipher_suites.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServingInfo, ConfigFileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    // lifecycle 6: `ServingInfo` has no durations, so that nothing can carry those of the file to the election
    #[test]
    fn only_serving_info_is_used() {
        let info = parse(
            "apiVersion: config.openshift.io/v1\nkind: GenericControllerConfig\nleaderElection:\n  leaseDuration: 3s\n  \
             renewDeadline: 2s\n  retryPeriod: 1s\nkubeClientConfig: {kubeConfig: /x}\nservingInfo:\n  bindAddress: 127.0.0.1:7\n  bindNetwork: tcp4\n  \
             minTLSVersion: VersionTLS13\n  cipherSuites: [TLS_A, TLS_B]\n",
        )
        .unwrap();
        assert_eq!(
            info,
            ServingInfo {
                bind_address: "127.0.0.1:7".to_owned(),
                min_tls_version: "VersionTLS13".to_owned(),
                cipher_suites: vec!["TLS_A".to_owned(), "TLS_B".to_owned()],
            }
        );
    }

    #[test]
    fn an_absent_or_null_field_is_the_default() {
        for text in [
            "",
            "# nothing\n",
            "{}",
            "servingInfo:\n",
            "servingInfo: {cipherSuites: null, bindAddress: \"\"}",
        ] {
            assert_eq!(parse(text).unwrap(), ServingInfo::default(), "{text}");
        }
    }

    // deploy 20, 21
    #[test]
    fn an_error_names_a_missing_or_malformed_file() {
        for text in ["{{{", "hello", "servingInfo: 3", "servingInfo: [a"] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains("config.yaml"), "{text}: {message}");
        }
        assert!(
            read(Path::new("/nonexistent/c.yaml"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/c.yaml")
        );
    }
}
