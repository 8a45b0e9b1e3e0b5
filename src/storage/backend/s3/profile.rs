//! The identity in a profile of the credentials. Source: AWS SDKs and Tools Reference Guide, "Shared config and
//! credentials files".

use crate::api::Sensitive;

/// Identity of a profile in the credentials text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A static access key.
    Static {
        /// `aws_access_key_id`.
        id: String,
        /// `aws_secret_access_key`.
        secret: Sensitive,
        /// `aws_session_token`.
        session: Option<Sensitive>,
    },
    /// AssumeRoleWithWebIdentity.
    WebIdentity {
        /// `role_arn`.
        role: String,
        /// `web_identity_token_file`.
        token_file: String,
        /// `role_session_name`.
        session_name: Option<String>,
    },
    /// AssumeRole with the credentials of another profile.
    AssumeRole {
        /// `role_arn`.
        role: String,
        /// `source_profile`.
        by: Box<Profile>,
        /// `external_id`.
        external_id: Option<String>,
        /// `duration_seconds`.
        seconds: Option<i32>,
        /// `role_session_name`.
        session_name: Option<String>,
    },
}
