use super::*;
use crate::runtime::fake_api::{FakeApi, Fault};

/// A world whose watches can do nothing, but have told that there is nothing.
fn synced() -> World {
    let api = FakeApi::default();
    api.fault(Fault::NoWatch);
    let world = World::start(api.client(), Environment::default());
    for interest in interests() {
        world.initialised(&interest, &BTreeSet::new());
    }
    world
}

fn secret(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Secret, crate::names::NAMESPACE, name)
}

// workload 66, 73
#[tokio::test]
async fn a_name_that_no_object_can_have_is_not_waited_for() {
    let world = synced();
    let wanted = ["tls,metadata.namespace=x", "a=b", "a\\b", "No Name", "-a", ""];
    world.follow(&wanted.map(secret).into(), &[Controller::Registry]);
    assert!(world.is_synced(Controller::Registry));
}

#[tokio::test]
async fn a_loop_waits_for_its_own_watches_only() {
    let world = synced();
    world.follow(&[secret("tls")].into(), &[Controller::Registry]);
    assert!(!world.is_synced(Controller::Registry));
    assert!(world.is_synced(Controller::Certificates));
}
