pub(super) mod cluster;
mod lasting_failures;

use super::*;
use crate::testing::fake_api::{FakeApi, Fault};

// The exit status is that of any error of the controllers.
#[tokio::test(start_paused = true)]
async fn forbidden_watches_end_the_process_after_ten_minutes_and_the_error_names_them() {
    let api = FakeApi::default();
    api.fault(Fault::NoWatch);
    let caches = Caches::start(api.client(), Environment::default(), Arc::new(jiff::Timestamp::now));
    let began = tokio::time::Instant::now();
    let limit = SYNC_TIMEOUT * 2;
    let ended = tokio::time::timeout(limit, wait_synced(&caches)).await;
    let error = ended.expect("wait_synced never returns").unwrap_err();
    assert_eq!(began.elapsed(), SYNC_TIMEOUT);
    for named in [
        "Config cluster",
        "Deployment of openshift-image-registry",
        "StorageClass.",
    ] {
        assert!(error.contains(named), "{error}");
    }
}
