//! PURE: public endpoints of S3 and STS by partition. Source: AWS General Reference, "Amazon S3 endpoints and quotas".

use crate::config::host;
use crate::storage::model::error::StorageError;

/// A partition of AWS.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// `aws`, `aws-cn`, `aws-us-gov`...
    pub name: &'static str,
    /// DNS suffix: `amazonaws.com`.
    pub suffix: &'static str,
    /// Whether S3 has dual-stack endpoints.
    pub dual_stack: bool,
    /// Prefixes of its regions; a word and a number follow.
    regions: &'static [&'static str],
    /// Prefixes of its regions with FIPS endpoints.
    fips: &'static [&'static str],
    /// Whether FIPS endpoints of STS have another name than the other endpoints.
    sts_fips: bool,
}

/// The partition for all regions that do not match another partition.
const COMMERCIAL: Partition = Partition {
    name: "aws",
    suffix: "amazonaws.com",
    dual_stack: true,
    regions: &["us-", "eu-", "ap-", "sa-", "ca-", "me-", "af-", "il-", "mx-"],
    fips: &["us-", "ca-"],
    sts_fips: true,
};

const PARTITIONS: &[Partition] = &[
    Partition {
        name: "aws-us-gov",
        regions: &["us-gov-"],
        fips: &["us-gov-"],
        // The plain endpoints are FIPS endpoints.
        sts_fips: false,
        ..COMMERCIAL
    },
    isolated("aws-iso", "c2s.ic.gov", &["us-iso-"]),
    isolated("aws-iso-b", "sc2s.sgov.gov", &["us-isob-"]),
    isolated("aws-iso-e", "cloud.adc-e.uk", &["eu-isoe-"]),
    isolated("aws-iso-f", "csp.hci.ic.gov", &["us-isof-"]),
    Partition {
        name: "aws-cn",
        suffix: "amazonaws.com.cn",
        regions: &["cn-"],
        fips: &[],
        ..COMMERCIAL
    },
    Partition {
        name: "aws-eusc",
        suffix: "amazonaws.eu",
        regions: &["eusc-de-"],
        fips: &[],
        ..COMMERCIAL
    },
    COMMERCIAL,
];

const fn isolated(name: &'static str, suffix: &'static str, regions: &'static [&'static str]) -> Partition {
    Partition {
        name,
        suffix,
        dual_stack: false,
        regions,
        fips: regions,
        sts_fips: false,
    }
}

/// The partition of a region; `aws` for unknown regions.
pub fn partition(region: &str) -> &'static Partition {
    const UNKNOWN: &Partition = &COMMERCIAL;
    let known = PARTITIONS
        .iter()
        .find(|partition| partition.regions.iter().any(|beginning| matches(region, beginning)));
    known.unwrap_or(UNKNOWN)
}

/// Whether the region is `<prefix><word>-<number>`.
fn matches(region: &str, beginning: &str) -> bool {
    let parts = region.strip_prefix(beginning).and_then(|rest| rest.rsplit_once('-'));
    parts.is_some_and(|(word, number)| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !word.is_empty()
            && word.chars().all(is_word)
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

/// Region for the signature of requests. Pseudo-regions such as `aws-global` map to the region of their endpoint.
pub fn signing_region(region: &str) -> &str {
    match region {
        "aws-global" | "s3-external-1" => "us-east-1",
        _ => region
            .strip_prefix("fips-")
            .or_else(|| region.strip_suffix("-fips"))
            .unwrap_or(region),
    }
}

/// Host of the public endpoint of S3; dual-stack if the partition has dual-stack endpoints.
///
/// # Errors
/// `fips` is set and the region has no FIPS endpoint.
pub fn s3_host(region: &str, fips: bool) -> Result<String, StorageError> {
    let partition = partition(region);
    if fips && !partition.fips.iter().any(|beginning| region.starts_with(beginning)) {
        return Err(no_fips(region));
    }
    let service = if fips { "s3-fips" } else { "s3" };
    let stack = if partition.dual_stack { ".dualstack" } else { "" };
    Ok(format!("{service}{stack}.{region}.{}", partition.suffix))
}

/// URL of the public endpoint of S3 ([`s3_host`]), without a trailing slash.
///
/// # Errors
/// Those of [`s3_host`].
pub fn s3_url(region: &str, fips: bool) -> Result<String, StorageError> {
    s3_host(region, fips).map(|host| format!("https://{host}"))
}

/// URL of STS, without a trailing slash: the cluster's service endpoint if it has one, otherwise the endpoint of the
/// region, never the global one.
///
/// # Errors
/// The region cannot be part of a host name, or `fips` is set and the region has no FIPS endpoint.
pub fn sts_url(region: &str, cluster: Option<&str>, fips: bool) -> Result<String, StorageError> {
    if let Some(url) = cluster {
        return Ok(url.to_owned());
    }
    let region = signing_region(region);
    if !host::is_label(region) {
        return Err(StorageError::action_required(format!(
            "region {region:?} has no STS, which the role of the credentials needs: set spec.storage.s3.region to a \
             region of AWS, or use an access key instead of the role"
        )));
    }
    let partition = partition(region);
    if fips && !partition.fips.iter().any(|beginning| region.starts_with(beginning)) {
        return Err(no_fips(region));
    }
    let service = if fips && partition.sts_fips { "sts-fips" } else { "sts" };
    Ok(format!("https://{service}.{region}.{}", partition.suffix))
}

fn no_fips(region: &str) -> StorageError {
    StorageError::action_required(format!(
        "region {region} has no FIPS endpoint: remove AWS_USE_FIPS_ENDPOINT of the operator and use_fips_endpoint of \
         the credentials, or use a region that has one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOV: &str = "us-gov-east-1";

    // storage-s3 6, storage-s3 7, storage-s3 8
    #[test]
    fn every_partition_has_its_hosts() {
        for (region, name, dual_stack, s3, sts) in [
            (
                "us-east-1",
                "aws",
                true,
                "s3.dualstack.us-east-1.amazonaws.com",
                "sts.us-east-1.amazonaws.com",
            ),
            (
                "ap-southeast-7",
                "aws",
                true,
                "s3.dualstack.ap-southeast-7.amazonaws.com",
                "sts.ap-southeast-7.amazonaws.com",
            ),
            (
                "mx-central-1",
                "aws",
                true,
                "s3.dualstack.mx-central-1.amazonaws.com",
                "sts.mx-central-1.amazonaws.com",
            ),
            (
                "cn-north-1",
                "aws-cn",
                true,
                "s3.dualstack.cn-north-1.amazonaws.com.cn",
                "sts.cn-north-1.amazonaws.com.cn",
            ),
            (
                GOV,
                "aws-us-gov",
                true,
                "s3.dualstack.us-gov-east-1.amazonaws.com",
                "sts.us-gov-east-1.amazonaws.com",
            ),
            (
                "us-iso-east-1",
                "aws-iso",
                false,
                "s3.us-iso-east-1.c2s.ic.gov",
                "sts.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "us-isob-east-1",
                "aws-iso-b",
                false,
                "s3.us-isob-east-1.sc2s.sgov.gov",
                "sts.us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                "eu-isoe-west-1",
                "aws-iso-e",
                false,
                "s3.eu-isoe-west-1.cloud.adc-e.uk",
                "sts.eu-isoe-west-1.cloud.adc-e.uk",
            ),
            (
                "us-isof-south-1",
                "aws-iso-f",
                false,
                "s3.us-isof-south-1.csp.hci.ic.gov",
                "sts.us-isof-south-1.csp.hci.ic.gov",
            ),
            (
                "eusc-de-east-1",
                "aws-eusc",
                true,
                "s3.dualstack.eusc-de-east-1.amazonaws.eu",
                "sts.eusc-de-east-1.amazonaws.eu",
            ),
            // Nobody knows these.
            (
                "example",
                "aws",
                true,
                "s3.dualstack.example.amazonaws.com",
                "sts.example.amazonaws.com",
            ),
            (
                "us-govern",
                "aws",
                true,
                "s3.dualstack.us-govern.amazonaws.com",
                "sts.us-govern.amazonaws.com",
            ),
        ] {
            let found = partition(region);
            assert_eq!((found.name, found.dual_stack), (name, dual_stack), "{region}");
            assert_eq!(s3_host(region, false).unwrap(), s3);
            assert_eq!(s3_url(region, false).unwrap(), format!("https://{s3}"));
            assert_eq!(sts_url(region, None, false).unwrap(), format!("https://{sts}"));
        }
    }

    #[test]
    fn fips_endpoints_are_used_where_there_are_some_and_refused_elsewhere() {
        for (region, s3, sts) in [
            (
                "us-west-2",
                "s3-fips.dualstack.us-west-2.amazonaws.com",
                "sts-fips.us-west-2.amazonaws.com",
            ),
            (
                "ca-central-1",
                "s3-fips.dualstack.ca-central-1.amazonaws.com",
                "sts-fips.ca-central-1.amazonaws.com",
            ),
            (
                GOV,
                "s3-fips.dualstack.us-gov-east-1.amazonaws.com",
                "sts.us-gov-east-1.amazonaws.com",
            ),
            (
                "us-iso-east-1",
                "s3-fips.us-iso-east-1.c2s.ic.gov",
                "sts.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "us-isob-east-1",
                "s3-fips.us-isob-east-1.sc2s.sgov.gov",
                "sts.us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                "eu-isoe-west-1",
                "s3-fips.eu-isoe-west-1.cloud.adc-e.uk",
                "sts.eu-isoe-west-1.cloud.adc-e.uk",
            ),
            (
                "us-isof-south-1",
                "s3-fips.us-isof-south-1.csp.hci.ic.gov",
                "sts.us-isof-south-1.csp.hci.ic.gov",
            ),
        ] {
            assert_eq!(s3_host(region, true).unwrap(), s3);
            assert_eq!(sts_url(region, None, true).unwrap(), format!("https://{sts}"));
        }
        for region in ["eu-central-1", "cn-north-1", "eusc-de-east-1", "sa-east-1", "example"] {
            assert!(s3_url(region, true).unwrap_err().message.contains(region));
            assert!(sts_url(region, None, true).unwrap_err().message.contains(region));
        }
    }

    // storage-decisions 29
    // In part: 29 (a role). A region of another store must not choose the host that gets the token.
    #[test]
    fn a_region_that_is_no_part_of_a_host_name_has_no_sts() {
        for region in [
            "test_region",
            "evil.example/",
            "a.b",
            "eu:west",
            "-a",
            "a b",
            "",
            "evil.example#",
            "x@evil",
            "ü",
        ] {
            let error = sts_url(region, None, false).unwrap_err();
            assert!(error.message.contains("spec.storage.s3.region"), "{error}");
            assert_eq!(sts_url(region, Some("https://sts"), false).unwrap(), "https://sts");
        }
    }

    // storage-s3 17
    // In part: 17 (which address).
    #[test]
    fn the_cluster_s_own_address_of_sts_wins() {
        let own = Some("https://sts.example.com");
        for fips in [false, true] {
            assert_eq!(sts_url("eu-central-1", own, fips).unwrap(), "https://sts.example.com");
        }
    }

    #[test]
    fn requests_are_signed_for_the_region_behind_another_name() {
        for (region, signed) in [
            ("eu-west-1", "eu-west-1"),
            ("aws-global", "us-east-1"),
            ("s3-external-1", "us-east-1"),
            ("fips-us-gov-west-1", "us-gov-west-1"),
            ("us-gov-west-1-fips", "us-gov-west-1"),
            ("example", "example"),
        ] {
            assert_eq!(signing_region(region), signed);
        }
    }
}
