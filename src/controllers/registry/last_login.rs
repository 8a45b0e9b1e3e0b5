//! What the controller remembers of the login of the stock registry.

use crate::apply::Failure;
use crate::plan::stock::Account;

/// The last attempt to make a login, if it failed.
#[derive(Debug, Default)]
pub(super) struct LastLogin {
    pub(super) failure: Option<Failure>,
    /// A user with a line in the Secret with the users, and without a login Secret.
    pub(super) account: Option<Account>,
}
