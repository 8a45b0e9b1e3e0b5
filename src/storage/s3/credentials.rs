//! The credentials' text, from one of the two Secrets, and what it says. PURE.

use crate::api::Sensitive;

/// Credentials of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The shared-config text that operator and registry read.
    pub text: Sensitive,
    /// Which Secret it is from, for messages: `Secret openshift-image-registry/installer-cloud-credentials`.
    pub source: String,
    /// Who to be.
    pub profile: Profile,
    /// `region` of the text; counts only where nothing else says one.
    pub region: Option<String>,
    /// `use_fips_endpoint`.
    pub fips: bool,
}

/// Who to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A key.
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
    /// AssumeRole, asked for by another profile.
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
