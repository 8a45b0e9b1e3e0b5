//! PURE: addresses of the APIs, and the encoding of names in them.

use super::effective::PUBLIC_UNIVERSE;

/// Other addresses than those of Google Cloud, as absolute URLs without a trailing slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Instead of `https://storage.<universe>`.
    pub storage: Option<String>,
    /// Instead of `https://<location>-cloudresourcemanager.<universe>`.
    pub resource_manager: Option<String>,
    /// The storage is an emulator: requests carry no token.
    pub emulator: bool,
}

impl Endpoints {
    /// The addresses for this value of `STORAGE_EMULATOR_HOST` (`host:port` or a URL), which Google's own libraries read.
    pub fn of_emulator(host: Option<&str>) -> Self {
        let Some(host) = host.map(str::trim).filter(|host| !host.is_empty()) else {
            return Self::default();
        };
        let url = if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        };
        Self {
            storage: Some(url.trim_end_matches('/').to_owned()),
            resource_manager: None,
            emulator: true,
        }
    }

    /// Address of Cloud Storage, without a trailing slash.
    pub fn storage(&self, universe: &str) -> String {
        self.storage
            .clone()
            .unwrap_or_else(|| format!("https://storage.{universe}"))
    }

    /// Address to which the registry's driver starts its uploads: one that does not depend on the universe.
    pub fn registry_uploads(&self) -> String {
        self.storage
            .clone()
            .unwrap_or_else(|| format!("https://www.{PUBLIC_UNIVERSE}"))
    }

    /// Address of Resource Manager for resources at this location. Tag bindings of a bucket are regional.
    pub fn resource_manager(&self, location: &str, universe: &str) -> String {
        let location = location.to_ascii_lowercase();
        let own = || format!("https://{location}-cloudresourcemanager.{universe}");
        self.resource_manager.clone().unwrap_or_else(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-gcs 25, 48
    #[test]
    fn hosts_follow_universe_and_location() {
        let endpoints = Endpoints::default();
        assert_eq!(endpoints.storage("googleapis.com"), "https://storage.googleapis.com");
        assert_eq!(
            endpoints.storage("example-universe.goog"),
            "https://storage.example-universe.goog"
        );
        let manager = endpoints.resource_manager("EUROPE-WEST3", "example-universe.goog");
        assert_eq!(
            manager,
            "https://europe-west3-cloudresourcemanager.example-universe.goog"
        );
        assert_eq!(endpoints.registry_uploads(), "https://www.googleapis.com");
    }

    #[test]
    fn an_emulator_replaces_the_storage_alone() {
        for (host, expected) in [
            ("localhost:9023", Some("http://localhost:9023")),
            ("https://gcs.example:4443/", Some("https://gcs.example:4443")),
            (" ", None),
        ] {
            let endpoints = Endpoints::of_emulator(Some(host));
            assert_eq!(endpoints.storage.as_deref(), expected);
            assert_eq!(endpoints.emulator, expected.is_some());
            assert_eq!(endpoints.resource_manager, None);
        }
        assert_eq!(Endpoints::of_emulator(None), Endpoints::default());
    }
}
