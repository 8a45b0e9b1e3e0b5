//! IDs of resources, as they stand in paths of Resource Manager.

/// A path below a subscription: `/subscriptions/S[/resourceGroups/G][/providers/N/TYPE[/NAME[/TYPE[/NAME]]]...]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub subscription: String,
    pub group: Option<String>,
    /// Such as `Microsoft.Storage`; empty for groups.
    pub namespace: String,
    /// Types and names in turn; a type at the end is a list, or what POST does.
    pub parts: Vec<String>,
}

impl Address {
    /// Nothing for another path.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').map(crate::stores::form::unescape);
        let mut address = Self::default();
        if !parts.next()?.eq_ignore_ascii_case("subscriptions") {
            return None;
        }
        address.subscription = parts.next()?.to_lowercase();
        let Some(mut next) = parts.next() else {
            return Some(address);
        };
        if next.eq_ignore_ascii_case("resourceGroups") {
            address.group = parts.next();
            match parts.next() {
                Some(after) => next = after,
                None => return Some(address),
            }
        }
        if !next.eq_ignore_ascii_case("providers") {
            return None;
        }
        address.namespace = parts.next()?;
        address.parts = parts.collect();
        Some(address)
    }

    /// `Microsoft.Storage/storageAccounts/blobServices`, as the request spells it.
    pub fn kind(&self) -> String {
        let types = self.parts.iter().step_by(2).cloned();
        let all: Vec<String> = std::iter::once(self.namespace.clone()).chain(types).collect();
        all.join("/")
    }

    /// Whether it is a single resource.
    pub fn is_single(&self) -> bool {
        !self.parts.is_empty() && self.parts.len().is_multiple_of(2)
    }

    /// The same without its last part.
    pub fn parent(&self) -> Self {
        let mut parent = self.clone();
        parent.parts.pop();
        parent
    }

    /// The name of the resource.
    pub fn name(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    pub fn group_id(&self) -> String {
        let group = self.group.as_deref().unwrap_or_default();
        group_id(&self.subscription, group)
    }

    /// The ID, with the types in the spelling of `kind`.
    pub fn id(&self, kind: &str) -> String {
        let mut id = match &self.group {
            Some(group) => group_id(&self.subscription, group),
            None => format!("/subscriptions/{}", self.subscription),
        };
        let mut types = kind.split('/');
        let Some(namespace) = types.next().filter(|_| !self.namespace.is_empty()) else {
            return id;
        };
        id.push_str("/providers/");
        id.push_str(namespace);
        for pair in self.parts.chunks(2) {
            for part in types.next().into_iter().chain(pair.get(1).map(String::as_str)) {
                id.push('/');
                id.push_str(part);
            }
        }
        id
    }
}

/// The ID of a resource group.
pub(super) fn group_id(subscription: &str, group: &str) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_and_put_together() {
        let path =
            "/Subscriptions/S/resourcegroups/g/providers/microsoft.network/PrivateDnsZones/a.example/a/rec%20ord";
        let address = Address::parse(path).unwrap();
        assert_eq!(address.kind(), "microsoft.network/PrivateDnsZones/a");
        assert_eq!(
            address.id("Microsoft.Network/privateDnsZones/A"),
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/a.example/A/rec ord"
        );
        assert!(address.is_single() && !address.parent().is_single());
        let list = Address::parse("/subscriptions/s/providers/Microsoft.Storage/storageAccounts").unwrap();
        assert_eq!((list.is_single(), list.group.clone()), (false, None));
        assert_eq!(list.kind(), "Microsoft.Storage/storageAccounts");
        let group = Address::parse("/subscriptions/s/resourcegroups/g").unwrap();
        assert_eq!(group.id(""), "/subscriptions/s/resourceGroups/g");
        assert_eq!(Address::parse("/tenants/s"), None);
    }
}
