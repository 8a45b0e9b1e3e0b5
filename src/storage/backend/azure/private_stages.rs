//! The stages of a private storage account: endpoint, DNS zone, record, zone group, link, and then no public access.

use std::time::Duration;

use crate::storage::model::stage::Stage;

/// Longest time of an operation.
const DEADLINE: Duration = Duration::from_mins(10);
const fn stage(name: &'static str) -> Stage {
    Stage {
        name,
        deadline: DEADLINE,
    }
}

/// The private endpoint.
pub const ENDPOINT: Stage = stage("private endpoint");
/// The private DNS zone.
pub const ZONE: Stage = stage("private DNS zone");
/// The DNS record of the account.
pub const RECORD: Stage = stage("DNS record");
/// The DNS zone group of the endpoint.
pub const GROUP: Stage = stage("DNS zone group");
/// The link of the virtual network to the zone.
pub const LINK: Stage = stage("virtual network link");
/// The account without public access.
pub const ACCESS: Stage = stage("private access");

/// All stages, in the order of creation.
pub const ALL: [Stage; 6] = [ENDPOINT, ZONE, RECORD, GROUP, LINK, ACCESS];
/// The stages whose objects a removal deletes, in this order.
pub const REMOVED: [Stage; 5] = [RECORD, GROUP, LINK, ENDPOINT, ZONE];
/// The same for an account that becomes public again, and that pods use meanwhile: a linked zone without the record would hide
/// the account from them.
pub const RETIRED: [Stage; 6] = [ACCESS, LINK, RECORD, GROUP, ENDPOINT, ZONE];
