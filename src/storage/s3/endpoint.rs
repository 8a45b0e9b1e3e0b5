//! Where S3 and STS are, by partition. PURE. Source: the AWS General Reference, "Amazon S3 endpoints and quotas".

/// A partition of AWS.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// `aws`, `aws-cn`, `aws-us-gov`...
    pub name: &'static str,
    /// DNS suffix: `amazonaws.com`.
    pub suffix: &'static str,
    /// Whether S3 has dual-stack endpoints.
    pub dual_stack: bool,
}
