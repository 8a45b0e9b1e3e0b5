//! Settings of the process for the storage room.

use std::path::PathBuf;
use std::sync::Arc;

use crate::program::Proxies;
use crate::runtime::environment::ProxyVariables;
use crate::storage::net::network;

/// Settings for clients of cloud APIs. Each request reads the proxy variables of the process again.
pub(super) fn cloud_settings(version: &str, leading: Arc<dyn Fn() -> bool + Send + Sync>) -> network::Settings {
    network::Settings {
        version: version.to_owned(),
        proxies: Arc::new(|| {
            let ProxyVariables { http, https, no_proxy } = ProxyVariables::from_process();
            Proxies { http, https, no_proxy }
        }),
        leading,
        fips: std::env::var("AWS_USE_FIPS_ENDPOINT").is_ok_and(|set| set.eq_ignore_ascii_case("true")),
        root: PathBuf::new(),
    }
}
