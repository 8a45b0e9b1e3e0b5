//! PURE: names that the operator chooses. The Go operator draws their last letters; here they follow from the cluster, so that
//! a second attempt finds the same name.

use aws_lc_rs::digest;

use crate::config::snapshot::Snapshot;
use crate::storage::inputs::name;
use crate::storage::model::error::StorageError;

/// Letters and digits at the end of an account's name, without those that form words or look alike.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Beginning of the names of accounts.
pub const PREFIX: &str = "imageregistry";
/// Number of characters before the last ones.
const STEM: usize = 19;
/// Number of characters at the end that follow from the cluster.
const TAIL: usize = 5;

/// Name of the storage account.
///
/// # Errors
/// The name of the cluster is not known.
pub fn account(snapshot: &Snapshot) -> Result<String, StorageError> {
    Ok(of(
        &name::infrastructure_name(snapshot)?,
        snapshot.namespace_uid(),
        "account",
    ))
}

/// Name of the private endpoint.
///
/// # Errors
/// The name of the cluster is not known.
pub fn private_endpoint(snapshot: &Snapshot) -> Result<String, StorageError> {
    Ok(of(
        &name::infrastructure_name(snapshot)?,
        snapshot.namespace_uid(),
        "private endpoint",
    ))
}

/// Name of the container: 62 characters.
///
/// # Errors
/// The name of the cluster is not known.
pub fn container(snapshot: &Snapshot) -> Result<String, StorageError> {
    let infrastructure = name::infrastructure_name(snapshot)?;
    let mut bytes = drawn(&infrastructure, snapshot.namespace_uid(), "container")
        .into_iter()
        .cycle();
    Ok(name::random(&infrastructure, &[], || {
        char::from(b'a' + bytes.next().unwrap_or_default() % 26)
    }))
}

/// Whether the operator, or the Go operator, may have chosen this name of an account or of a private endpoint.
pub fn is_generated(name: &str, snapshot: &Snapshot) -> bool {
    let Ok(infrastructure) = name::infrastructure_name(snapshot) else {
        return false;
    };
    let stem = stem(&infrastructure);
    let tail = name.strip_prefix(&stem);
    tail.is_some_and(|tail| tail.len() == TAIL && tail.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// Whether the Go operator may have chosen this name of a container: 62 characters, those of the cluster and then letters.
pub fn is_generated_container(name: &str, snapshot: &Snapshot) -> bool {
    let Ok(infrastructure) = name::infrastructure_name(snapshot) else {
        return false;
    };
    let [one, other] = ['a', 'b'].map(|letter| name::random(&infrastructure, &[], || letter));
    // Where both differ, a letter is drawn.
    let fits = |(found, (one, other)): (u8, (u8, u8))| {
        if one == other {
            found == one
        } else {
            found.is_ascii_lowercase()
        }
    };
    name.len() == one.len() && name.bytes().zip(one.bytes().zip(other.bytes())).all(fits)
}

fn stem(infrastructure: &str) -> String {
    let letters = infrastructure.chars().filter(char::is_ascii_alphanumeric);
    let mut stem: String = PREFIX.chars().chain(letters).collect();
    stem.truncate(STEM);
    stem.to_ascii_lowercase()
}

fn of(infrastructure: &str, uid: &str, purpose: &str) -> String {
    let drawn = drawn(infrastructure, uid, purpose);
    let tail = drawn.iter().take(TAIL).map(|byte| {
        let place = usize::from(*byte) % ALPHABET.len();
        char::from(ALPHABET[place])
    });
    stem(infrastructure).chars().chain(tail).collect()
}

fn drawn(infrastructure: &str, uid: &str, purpose: &str) -> Vec<u8> {
    let text = format!("{infrastructure}\n{uid}\n{purpose}");
    digest::digest(&digest::SHA512, text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-azure 8
    #[test]
    fn names_of_accounts_are_legal_for_every_cluster() {
        for infrastructure in ["", "foo", "FOO-BAR-3000", "123456789012345678901234", "blüe_x7.k2p"] {
            for purpose in ["account", "private endpoint"] {
                let name = of(infrastructure, "1b4e28ba-2fa1-11d2-883f-0016d3cca427", purpose);
                assert!(name.starts_with(PREFIX), "{name}");
                assert!((3..=24).contains(&name.len()), "{name}");
                assert!(
                    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                    "{name}"
                );
            }
        }
        let one = of("blue-x7k2p", "u", "account");
        assert!(one.starts_with("imageregistrybluex7"), "{one}");
        assert_eq!(one, of("blue-x7k2p", "u", "account"));
        for other in [
            of("blue-x7k2q", "u", "account"),
            of("blue-x7k2p", "v", "account"),
            of("blue-x7k2p", "u", "private endpoint"),
        ] {
            assert_ne!(one, other);
        }
    }
}
