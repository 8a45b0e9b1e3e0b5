//! PURE: names of containers that the operator chooses.

use crate::api::Kind;
use crate::api::openshift::InfrastructureStatus;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::model::error::StorageError;

/// Longest name, in bytes. S3 allows one more; the Go operator uses 62.
const LONGEST: usize = 62;
/// Number of hexadecimal digits of the namespace's uid in the replacement for an empty infrastructure name.
const UID_DIGITS: usize = 10;

/// Name of the cluster in container names and tags: `infrastructureName`. If it is empty, or the cluster is on no platform, `ns-` and
/// ten hexadecimal digits of the uid of the registry's namespace, so that two clusters in one account never have the same name.
///
/// # Errors
/// Transient: neither name is known, or the Infrastructure of a platform is missing or cannot be read. With another name the operator
/// would not recognize its own storage.
pub fn infrastructure_name(snapshot: &Snapshot) -> Result<String, StorageError> {
    let name = stored_name(snapshot)?;
    if !name.is_empty() {
        return Ok(name);
    }
    let uid: String = snapshot
        .namespace_uid()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(UID_DIGITS)
        .collect();
    if uid.len() < UID_DIGITS {
        return Err(StorageError::transient(format!(
            "the cluster has no infrastructureName, and the uid of Namespace {} is not known yet, so that no name can be \
             chosen for the storage",
            names::NAMESPACE
        )));
    }
    Ok(format!("ns-{}", uid.to_ascii_lowercase()))
}

/// `infrastructureName` of the Infrastructure; empty where there is none.
fn stored_name(snapshot: &Snapshot) -> Result<String, StorageError> {
    if snapshot.has_no_platform() {
        return Ok(String::new());
    }
    let unknown = |why: &str| {
        StorageError::transient(format!(
            "infrastructures/cluster {why}, so that the name of the cluster and of its storage is not known: restore it"
        ))
    };
    let object = snapshot.objects.cluster(Kind::Infrastructure, names::CLUSTER);
    let object = object.ok_or_else(|| unknown("does not exist"))?;
    let status = object.get("status").ok_or_else(|| unknown("has no status"))?;
    let status: InfrastructureStatus = serde_json::from_value(status.clone())
        .map_err(|error| unknown(&format!("has a status that cannot be read ({error})")))?;
    Ok(status.infrastructure_name.unwrap_or_default())
}

/// The deterministic name: `<infrastructure name>-image-registry[-<info>...]` without empty infos, at most 62 bytes. It
/// equals the name of the Go operator, except that characters which a bucket name may not contain become dashes.
pub fn deterministic(infrastructure_name: &str, infos: &[&str]) -> String {
    let mut name = base(infrastructure_name, infos);
    name.truncate(LONGEST);
    if name.ends_with('-') {
        name.pop();
        name.push('s');
    }
    name
}

/// A name of exactly 62 bytes: the deterministic name, padded with letters. `letter` returns the next lower-case
/// letter.
pub fn random(infrastructure_name: &str, infos: &[&str], mut letter: impl FnMut() -> char) -> String {
    let mut name = base(infrastructure_name, infos);
    name.truncate(LONGEST);
    if name.len() < LONGEST - 1 && !name.ends_with('-') {
        name.push('-');
    }
    while name.len() < LONGEST {
        name.push(letter());
    }
    if name.ends_with('-') {
        name.pop();
        name.push(letter());
    }
    name
}

/// The parts joined with dashes, reduced to lower-case letters, digits and single dashes, without a leading dash.
fn base(infrastructure_name: &str, infos: &[&str]) -> String {
    let parts = [infrastructure_name, "image-registry"];
    let parts: Vec<&str> = parts.iter().chain(infos).copied().filter(|p| !p.is_empty()).collect();
    let mut name = String::new();
    for c in parts.join("-").chars() {
        let c = if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        };
        if c != '-' || !(name.is_empty() || name.ends_with('-')) {
            name.push(c);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ObjectRef;
    use crate::config::snapshot::Objects;
    use crate::storage::model::error::ErrorClass;

    fn cluster(name: Option<&str>, uid: &str) -> Snapshot {
        let infrastructure = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"infrastructureName": name},
        });
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names::NAMESPACE, "uid": uid},
        });
        Snapshot {
            objects: Objects::from_values([infrastructure, namespace]).unwrap(),
            ..Snapshot::empty()
        }
    }

    #[test]
    fn names_are_those_of_the_go_operator() {
        let x46 = "x".repeat(46);
        let long = "a-very-long-infrastructure-name-that-exceeds";
        for (infrastructure, info, expected) in [
            // storage-core 35
            (
                "my-cluster-abc12",
                "us-east-1",
                "my-cluster-abc12-image-registry-us-east-1".to_owned(),
            ),
            // storage-core 36
            ("MY--CLUSTER", "", "my-cluster-image-registry".to_owned()),
            // storage-core 37
            (
                "a-very-long-infrastructure-name-that-exceeds",
                "us-gov-west-1",
                format!("{long}-image-registry-us"),
            ),
            // storage-core 38
            (&x46, "us-east-1", format!("{x46}-image-registrys")),
        ] {
            assert_eq!(deterministic(infrastructure, &[info]), expected);
        }
        let cut = deterministic(&"y".repeat(99), &["us-east-1"]);
        assert_eq!(cut, "y".repeat(62));
    }

    #[test]
    fn characters_that_no_bucket_may_have_become_dashes() {
        assert_eq!(deterministic("Blue_x7.k2p", &["a.b"]), "blue-x7-k2p-image-registry-a-b");
        assert_eq!(deterministic("_blüe_", &[]), "bl-e-image-registry");
    }

    // storage-core 39
    #[test]
    fn a_random_name_is_exactly_as_long_as_it_may_be() {
        let mut next = 0_u8;
        let mut letter = || {
            next = (next + 7) % 25;
            char::from(b'a' + next)
        };
        for length in 0..80 {
            for infrastructure in ["x".repeat(length), "X-".repeat(length), "a_-.b".repeat(length)] {
                let name = random(&infrastructure, &["us-south"], &mut letter);
                let bad = name.contains("--") || name.ends_with('-') || name.starts_with('-');
                assert!(name.len() == 62 && !bad && name == name.to_lowercase(), "{name}");
            }
        }
        assert!(random("blue", &["us-south"], &mut letter).starts_with("blue-image-registry-us-south-"));
    }

    #[test]
    fn a_cluster_without_a_name_gets_one_of_its_own() {
        let uid = "1B4E28BA-2fa1-11d2-883f-0016d3cca427";
        assert_eq!(
            infrastructure_name(&cluster(Some("blue-x7k2p"), uid)).unwrap(),
            "blue-x7k2p"
        );
        assert_eq!(infrastructure_name(&cluster(Some(""), uid)).unwrap(), "ns-1b4e28ba2f");
        assert_eq!(infrastructure_name(&cluster(None, uid)).unwrap(), "ns-1b4e28ba2f");
        let unknown = infrastructure_name(&cluster(None, "")).unwrap_err();
        assert!(unknown.message.contains("openshift-image-registry"), "{unknown}");
    }

    // kubernetes 2, the name of the storage
    #[test]
    fn a_cluster_on_no_platform_is_named_after_its_namespace() {
        let mut plain = cluster(None, "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        plain
            .objects
            .remove(&ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER));
        // OpenShift without the object, or with the API not there yet, is a fault.
        for absent in [&[][..], &[Kind::ClusterVersion], &[Kind::Infrastructure]] {
            let mut platform = plain.clone();
            platform.objects.set_absent_kinds(absent.iter().copied().collect());
            let error = infrastructure_name(&platform).unwrap_err();
            assert_eq!(error.class, ErrorClass::Transient, "{absent:?}");
        }
        plain
            .objects
            .set_absent_kinds([Kind::ClusterVersion, Kind::Infrastructure].into());
        assert_eq!(infrastructure_name(&plain).unwrap(), "ns-1b4e28ba2f");
    }

    // storage-decisions T2: only an empty name is replaced
    #[test]
    fn a_cluster_whose_infrastructure_is_not_known_gets_no_name() {
        let known = cluster(Some("blue-x7k2p"), "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        let object = known.objects.find(&reference).unwrap();
        let mut unreadable = (**object).clone();
        unreadable["status"]["platformStatus"] = json!("AWS");
        let mut unfilled = (**object).clone();
        unfilled.as_object_mut().unwrap().remove("status");
        for (instead, why) in [
            (None, "does not exist"),
            (Some(unreadable), "cannot be read"),
            (Some(unfilled), "has no status"),
        ] {
            let mut snapshot = known.clone();
            match instead {
                None => snapshot.objects.remove(&reference),
                Some(object) => snapshot.objects.insert(reference.clone(), object),
            }
            let error = infrastructure_name(&snapshot).unwrap_err();
            assert_eq!(error.class, ErrorClass::Transient);
            assert!(error.message.contains(why), "{error}");
        }
    }
}
