//! Who asks: credentials for the SDK, from our own provider. No environment, no profile files, no instance metadata.

use std::path::PathBuf;

use crate::api::Sensitive;

/// Where a web identity token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The file that the credentials name, read anew for each call: it rotates.
    File(PathBuf),
    /// This one, of the registry's ServiceAccount.
    Given(Sensitive),
}
