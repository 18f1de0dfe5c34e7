//! What can go wrong, in words that say what to do.

use std::path::PathBuf;

use serde::{ser::SerializeStruct, Serialize, Serializer};

use crate::models::Failure;

/// The result of what this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that this crate fails with.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
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
    /// The sidecar ended at once, and there is no folder that it could unpack itself into.
    #[error(
        "The sidecar ended before it answered. One that is a single file unpacks itself first, and no folder for that \
         will do: {0}. Make room there, or set TMPDIR to a folder that programs can run from, and start the app again."
    )]
    Unpacking(String),
    /// The sidecar ended, or was never started.
    #[error("The sidecar is not running: {0}. Start a service to start it again.")]
    Gone(String),
    /// The sidecar lives, but does not answer.
    #[error("The sidecar did not answer {method} within {seconds} s.")]
    Timeout { method: &'static str, seconds: u64 },
    /// The sidecar lives, but reads nothing.
    #[error(
        "The sidecar was not asked for {method}: it has not read the requests before. Let it go on if a debugger has \
         stopped it, or start the app again."
    )]
    Busy { method: &'static str },
    /// The sidecar said something that this crate does not understand.
    #[error(
        "The sidecar answered {method} with something else than the protocol says: {reason}. Are plugin and sidecar of \
         one version?"
    )]
    Protocol { method: &'static str, reason: String },
    /// The sidecar answered with an error.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// There is no such service.
    #[error("There is no service {0} in this build of the app: see plugins.sidecar in tauri.conf.json.")]
    UnknownService(String),
    /// A service that is waited for is stopped.
    #[error("{0} is stopped. Start it.")]
    Stopped(String),
    /// There is no address for a service: every port that was tried is taken, or the one that it insists on.
    #[error("The address of {service} could not be taken: {reason}.")]
    Address { service: String, reason: String },
    /// Phones start no programs.
    #[error("Services do not run on this platform: the sidecar is a program for desktops.")]
    Unsupported,
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
            Error::Unpacking(_) => "SidecarUnpackingFailed",
            Error::Gone(_) => "SidecarGone",
            Error::Timeout { .. } => "SidecarTimeout",
            Error::Busy { .. } => "SidecarBusy",
            Error::Protocol { .. } => "ProtocolError",
            Error::Refused(failure) => failure.kind(),
            Error::UnknownService(_) => "UnknownService",
            Error::Stopped(_) => "ServiceStopped",
            Error::Address { .. } => "AddressUnavailable",
            Error::Unsupported => "UnsupportedPlatform",
            Error::Tauri(_) => "TauriError",
        }
    }

    /// Names a place in `tauri.conf.json` where the sidecar names one in its request. Its advice, which follows the
    /// reason, is for programs that send requests, and is replaced.
    #[cfg(desktop)]
    pub(crate) fn in_terms_of_the_configuration(self) -> Self {
        const PLACE: &str = "$.params.services";
        let said = |failure: &Failure, name: &str| failure.data.get(name).and_then(|it| Some(it.as_str()?.to_string()));
        match self {
            Error::Refused(failure) if said(&failure, "path").is_some_and(|path| path.starts_with(PLACE)) => {
                let told = match said(&failure, "reason") {
                    Some(reason) => format!("{reason} Correct that field and build the app again."),
                    None => failure.message,
                };
                Error::Config(told.replace(PLACE, "services"))
            }
            other => other,
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
