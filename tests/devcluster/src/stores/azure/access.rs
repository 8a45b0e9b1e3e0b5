//! Who asks, and whether a role of theirs permits it.

use super::state::{Needed, State, Token, now};
use crate::stores::asked::Asked;

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// There is none.
    Missing,
    /// Nobody issued it, or to an application that is gone.
    Unknown,
    Expired,
}

impl State {
    /// The token of a request.
    pub fn bearer(&self, asked: &Asked) -> Result<Token, Invalid> {
        let header = asked.header("authorization").ok_or(Invalid::Missing)?;
        let token = header.strip_prefix("Bearer ").ok_or(Invalid::Unknown)?;
        let token = self.tokens.get(token).ok_or(Invalid::Unknown)?;
        if !self.applications.contains_key(&token.client_id) {
            return Err(Invalid::Unknown);
        }
        if token.expires <= now() {
            return Err(Invalid::Expired);
        }
        Ok(token.clone())
    }

    /// Whether somebody may do that at a scope; recorded for the request at hand.
    pub fn need(&mut self, client_id: &str, action: &str, data: bool, scope: &str) -> bool {
        let granted = self.may(client_id, action, data, scope);
        self.needed.push(Needed {
            action: action.to_owned(),
            data,
            scope: scope.to_owned(),
            granted,
        });
        granted
    }

    fn may(&self, client_id: &str, action: &str, data: bool, scope: &str) -> bool {
        let scope = scope.to_lowercase();
        self.assignments.iter().any(|one| {
            let role = &one.role;
            let granted = if data { &role.data_actions } else { &role.actions };
            one.client_id == client_id
                && covers(&one.scope, &scope)
                && granted.iter().any(|pattern| fits(pattern, action))
                && (data || !role.not_actions.iter().any(|pattern| fits(pattern, action)))
        })
    }
}

/// Whether a scope is another one or stands above it; both in lower case.
fn covers(scope: &str, of: &str) -> bool {
    let scope = scope.trim_end_matches('/');
    of.strip_prefix(scope)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an action is meant by a pattern, in which `*` stands for any text.
fn fits(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = action.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_roles() {
        let action = "Microsoft.Storage/storageAccounts/listKeys/action";
        for pattern in [
            "*",
            "microsoft.storage/*",
            "*/action",
            "Microsoft.Storage/*/listKeys/*",
            action,
        ] {
            assert!(fits(pattern, action), "{pattern}");
        }
        for pattern in [
            "",
            "Microsoft.Storage",
            "*/read",
            "Microsoft.Network/*",
            "Microsoft.Storage/storageAccounts/read",
        ] {
            assert!(!fits(pattern, action), "{pattern}");
        }
    }

    #[test]
    fn scopes_stand_above_others() {
        assert!(covers("/", "/subscriptions/a"));
        assert!(covers("/subscriptions/a", "/subscriptions/a/resourcegroups/b"));
        assert!(covers("/subscriptions/a", "/subscriptions/a"));
        assert!(!covers("/subscriptions/a", "/subscriptions/ab"));
    }
}
