//! The storage backends of the API.

/// A backend: one member of `spec.storage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `spec.storage.emptyDir`.
    EmptyDir,
    /// `spec.storage.s3`.
    S3,
    /// `spec.storage.swift`.
    Swift,
    /// `spec.storage.gcs`.
    Gcs,
    /// `spec.storage.ibmcos`.
    IbmCos,
    /// `spec.storage.pvc`.
    Pvc,
    /// `spec.storage.azure`.
    Azure,
    /// `spec.storage.oss`.
    Oss,
}

impl Backend {
    /// Every backend, in the order of the API's documentation.
    pub const ALL: [Self; 8] = [
        Self::EmptyDir,
        Self::S3,
        Self::Swift,
        Self::Gcs,
        Self::IbmCos,
        Self::Pvc,
        Self::Azure,
        Self::Oss,
    ];

    /// Name as in the API's documentation, in messages and as metric label: `S3`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyDir => "EmptyDir",
            Self::S3 => "S3",
            Self::Swift => "Swift",
            Self::Gcs => "GCS",
            Self::IbmCos => "IBMCOS",
            Self::Pvc => "PVC",
            Self::Azure => "Azure",
            Self::Oss => "OSS",
        }
    }

    /// Member of `spec.storage`: `s3`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::EmptyDir => "emptyDir",
            Self::S3 => "s3",
            Self::Swift => "swift",
            Self::Gcs => "gcs",
            Self::IbmCos => "ibmcos",
            Self::Pvc => "pvc",
            Self::Azure => "azure",
            Self::Oss => "oss",
        }
    }

    /// The backend of this name ([`Self::name`]).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}
