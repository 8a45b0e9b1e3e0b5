//! The preflight is a push in small, and each response is compared with what was written.

use std::time::Duration;

use image_registry_operator::status::judge::Preflight;
use serde_json::json;

use super::fake::{CHOSEN, Quirk, Refusal};
use super::site::Site;

/// A site whose new storage misbehaves, after some preflights.
async fn tried(quirk: Quirk, refusal: Option<Refusal>) -> (Site, Option<Preflight>) {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().quirk.set(quirk);
    *site.cloud().denied.borrow_mut() = refusal;
    let mut last = None;
    for _ in 0..12 {
        let outcome = site.pass().await;
        last = outcome.preflight;
    }
    (site, last)
}

// storage-decisions 25, T14: an answer that shows something else is a refusal, which names the operation
#[tokio::test]
async fn a_store_that_answers_and_does_not_do_it_is_refused() {
    for (quirk, action, code) in [
        (Quirk::OtherBytes, "fake:Content", "WrongContent"),
        (Quirk::IgnoresCopies, "fake:Content", "NotCopied"),
        (Quirk::NoDeletion, "fake:Deletion", "NotDeleted"),
        (Quirk::NoObjects, "fake:Objects", "NotListed"),
        (Quirk::NoUploads, "fake:Uploads", "NotListed"),
        (Quirk::NoParts, "fake:Parts", "NotListed"),
    ] {
        let (site, last) = tried(quirk, None).await;
        let Some(Preflight::Failed(message)) = last else {
            panic!("{quirk:?}: {last:?}")
        };
        assert!(
            message.starts_with(action) && message.contains(code),
            "{quirk:?}: {message}"
        );
        assert!(site.running.is_none(), "{quirk:?}");
        // Where other bytes come back, a deletion cannot be seen.
        let unsure = matches!(quirk, Quirk::NoDeletion | Quirk::OtherBytes);
        assert_eq!(site.probe_record().is_some(), unsure, "{quirk:?}");
        let left = quirk == Quirk::NoDeletion;
        let probes = site.cloud().container(CHOSEN).unwrap().probes;
        assert_eq!(probes.is_empty(), !left, "{quirk:?}");
    }
}

// storage-decisions 25: each call of a push is made
#[tokio::test]
async fn a_store_that_refuses_a_call_of_a_push_is_refused_and_nothing_is_left() {
    for action in ["fake:Complete", "fake:Copy", "fake:CopyPart"] {
        let (site, last) = tried(Quirk::None, Some(Refusal::Denied(action, false))).await;
        let Some(Preflight::Failed(message)) = last else {
            panic!("{action}: {last:?}")
        };
        assert!(message.starts_with(action), "{message}");
        assert!(site.running.is_none(), "{action}");
        assert_eq!(site.cloud().container(CHOSEN).unwrap().probes.len(), 0, "{action}");
    }
}

#[tokio::test]
async fn a_store_without_joint_deletion_is_used_with_a_warning() {
    let (site, _) = tried(Quirk::NoJointDeletion, None).await;
    assert!(site.running.is_some());
    let warned = site
        .events
        .iter()
        .filter(|event| event.reason == "StorageDeletionUnsupported");
    assert_eq!(warned.count(), 1);
    assert_eq!(site.cloud().container(CHOSEN).unwrap().probes.len(), 0);
}

// storage-decisions 26: default retention
#[tokio::test]
async fn a_version_that_nobody_may_delete_is_told_once_and_each_further_try_waits_longer() {
    let (site, _) = tried(Quirk::Retention, None).await;
    assert!(site.running.is_some() && site.probe_record().is_none());
    let kept = |site: &Site| {
        let events = site.events.iter().filter(|event| event.reason == "StorageProbeKept");
        events.count()
    };
    assert_eq!(kept(&site), 1);
    // Another call is refused, so that the preflight is repeated.
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().quirk.set(Quirk::Retention);
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("fake:CopyPart", false));
    site.tick = Duration::from_mins(1);
    for _ in 0..60 {
        site.pass().await;
    }
    let first_hour = site.preflights().len();
    assert!((5..=10).contains(&first_hour), "{first_hour}");
    for _ in 0..10 * 60 {
        site.pass().await;
    }
    let later = site.preflights().len();
    assert!((19..=20).contains(&later), "two in each of ten hours: {later}");
    assert_eq!(kept(&site), 1);
}

// storage-decisions T17, 26: the version that stays delays the registry by seconds, not by half an hour
#[tokio::test]
async fn a_new_key_is_tried_again_soon_also_where_a_version_stays() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().quirk.set(Quirk::Retention);
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("fake:CopyPart", true));
    site.tick = Duration::from_secs(10);
    for _ in 0..6 {
        site.pass().await;
    }
    assert!(site.running.is_none());
    *site.cloud().denied.borrow_mut() = None;
    for _ in 0..6 {
        site.pass().await;
    }
    assert!(site.running.is_some(), "within a minute after the key became valid");
}
