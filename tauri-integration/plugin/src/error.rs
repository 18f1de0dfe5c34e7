//! What can go wrong, in words that say what to do.

use std::path::PathBuf;

use serde::{ser::SerializeStruct, Serialize, Serializer};

use crate::models::Failure;

/// The result of what this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that this crate fails with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// `plugins.sidecar` in `tauri.conf.json` is wrong.
    #[error("plugins.sidecar in tauri.conf.json: {0}")]
    Config(String),
    /// There is no sidecar beside the app.
    #[error(
        "The sidecar is missing: there is no {}. Name it in bundle.externalBin of tauri.conf.json and put the binary \
         in place, then build the app again.", .0.display()
    )]
    NotFound(PathBuf),
    /// The build script's stand-in lies where the sidecar should be.
    #[error(
        "{} is an empty placeholder. Put the sidecar's binary into src-tauri/binaries, then build the app again.",
        .0.display()
    )]
    Placeholder(PathBuf),
    /// The sidecar could not be started.
    #[error("The sidecar {program} could not be started: {reason}.")]
    Spawn { program: String, reason: String },
    /// The sidecar ended, or was never started.
    #[error("The sidecar is not running: {0}. Start a service to start it again.")]
    Gone(String),
    /// The sidecar lives, but does not answer.
    #[error("The sidecar did not answer {method} within {seconds} s.")]
    Timeout { method: &'static str, seconds: u64 },
    /// The sidecar said something that this crate does not understand.
    #[error(
        "The sidecar answered {method} with something else than the protocol says: {reason}. Are plugin and sidecar of \
         one version?"
    )]
    Protocol { method: &'static str, reason: String },
    /// The sidecar answered with an error.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// Tauri answered with an error.
    #[error("{0}")]
    Tauri(String),
}

impl Error {
    /// The error's name, for programs.
    pub fn kind(&self) -> &str {
        match self {
            Error::Config(_) => "ConfigurationError",
            Error::NotFound(_) => "SidecarNotFound",
            Error::Placeholder(_) => "SidecarPlaceholder",
            Error::Spawn { .. } => "SidecarSpawnFailed",
            Error::Gone(_) => "SidecarGone",
            Error::Timeout { .. } => "SidecarTimeout",
            Error::Protocol { .. } => "ProtocolError",
            Error::Refused(failure) => failure.kind(),
            Error::Tauri(_) => "TauriError",
        }
    }
}

impl From<tauri::Error> for Error {
    fn from(error: tauri::Error) -> Self {
        Error::Tauri(error.to_string())
    }
}

/// As a webview gets it: `{kind, message}`, and `{code, data}` where the sidecar answered.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Error", 4)?;
        object.serialize_field("kind", self.kind())?;
        object.serialize_field("message", &self.to_string())?;
        if let Error::Refused(failure) = self {
            object.serialize_field("code", &failure.code)?;
            object.serialize_field("data", &failure.data)?;
        }
        object.end()
    }
}
