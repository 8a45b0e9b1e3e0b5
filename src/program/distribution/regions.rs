//! PURE: regions of Amazon that the stock registry knows. It is built with aws-sdk-go v1, whose list no release will change any more, and
//! refuses to start with any other region unless it has an endpoint.

/// Regions of all partitions in aws-sdk-go v1.55.5 (`aws/endpoints/defaults.go`), with which distribution v3.1.2 is built.
pub const REGIONS: [&str; 37] = [
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-west-1",
    "us-west-2",
];

/// Whether the registry starts with this region and no endpoint.
pub(super) fn is_known(region: &str) -> bool {
    REGIONS.contains(&region)
}
