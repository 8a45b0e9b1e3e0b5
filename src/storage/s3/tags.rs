//! Tags of a bucket: which are ours, which the platform asks for, and whose the bucket is. PURE.

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// Whose a bucket is, as its tags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `kubernetes.io/cluster/<infra>=owned` and `Name=<infra>-image-registry`, and no other cluster's.
    Ours,
    /// Another cluster's mark is there: its name.
    Other(String),
    /// No mark, or half of one: what is missing.
    Nobody(String),
}
