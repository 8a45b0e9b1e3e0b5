//! Values that only the engine can create. A backend needs one to create or delete anything.

/// Permission to create storage and to write the ownership mark: managementState allows it, and a record in the Config
/// names the location or the object of a stage, or an administrator consents to the adoption. Only the engine grants
/// the permission; `tests/house` checks that.
#[derive(Debug)]
pub struct CreationPermit(());

impl CreationPermit {
    /// Only for the engine, after it checked the record.
    pub(in crate::storage) const fn granted() -> Self {
        Self(())
    }
}

/// Object of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// The container (bucket, claim) with the images.
    Container,
    /// The object of the stage with this name, and its identity.
    Stage(&'static str, String),
}

/// Proof that an object carries the operator's ownership mark, which the engine read in the same step.
#[derive(Debug)]
pub struct OwnershipProof {
    level: Level,
    pin: String,
}

impl OwnershipProof {
    /// Only for the engine, after it read the mark.
    pub(in crate::storage) const fn read(level: Level, pin: String) -> Self {
        Self { level, pin }
    }

    /// Object of the proof.
    pub const fn level(&self) -> &Level {
        &self.level
    }

    /// Identity of the object that carried the mark (a uid, an ETag); may be empty.
    pub fn pin(&self) -> &str {
        &self.pin
    }
}
