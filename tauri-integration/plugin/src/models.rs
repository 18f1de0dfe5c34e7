//! The sidecar's protocol and the plugin's section of `tauri.conf.json`, as serde types.
//!
//! A field that they do not know is left out: a newer sidecar may say more. The golden conversations in
//! `tests/protocol/golden` are decoded by these in a test, so that both sides mean the same.

/// Writes structs of the protocol: `field: T` is always there, `field?: T` may be absent.
macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$what:meta])* $field:ident $(?: $optional:ty)? $(: $type:ty)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[non_exhaustive]
        pub struct $name {$(
            $(#[$what])*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$optional>,)?
            $(pub $field: $type,)?
        )*}
    )*};
}

mod events;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use events::*;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum State {
    #[default]
    Stopped,
    Starting,
    Ready,
    Unhealthy,
    BackingOff,
    Stopping,
    Failed,
    /// One that this crate does not know: the sidecar is newer.
    #[serde(other)]
    Unknown,
}

/// Where a line of output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Stream {
    Stdout,
    Stderr,
    /// One that this crate does not know: the sidecar is newer.
    #[serde(other)]
    Unknown,
}

/// What went wrong: a sentence for people, and data for programs (`data.kind` names the error).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Failure {
    pub code: i64,
    pub message: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

impl Failure {
    /// The error's name in the table on the protocol's page, such as `PortUnavailable`.
    pub fn kind(&self) -> &str {
        self.data.get("kind").and_then(Value::as_str).unwrap_or_default()
    }
}

messages! {
    /// The process that has a port; what could not be read is absent.
    Holder {
        pid?: u32,
        command?: String,
        user?: String,
        /// A process of the sidecar: of an earlier run, or of another one.
        #[serde(default)]
        ours: bool,
    }

    /// One service as it is now.
    ServiceStatus {
        state: State,
        #[serde(rename = "type")]
        kind: String,
        url?: String,
        host?: String,
        port?: u16,
        pid?: u32,
        /// Since it became ready.
        uptime_ms?: u64,
        /// Since it was started.
        #[serde(default)]
        restarts: u64,
        error?: Failure,
        /// While it is unhealthy: what its last health check saw.
        detail?: String,
        /// While it is starting: the services that it depends on and that are not ready yet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting_for: Vec<String>,
        /// Of a task: how its last run ended.
        exit_code?: i64,
        /// Where its output is written, once it has been started.
        log_file?: String,
    }

    /// The layers of the kill that are active on this machine.
    Guarantees {
        platform: String,
        guard: bool,
        subreaper: bool,
        parent_death_signal: bool,
        parent_watch: String,
        control_group: bool,
        job_object: bool,
        run_cookie: bool,
        #[serde(default)]
        stdin_guard: bool,
    }

    /// A program's name and version.
    Program {
        name: String,
        #[serde(default)]
        version: String,
    }

    /// What a sidecar may be asked for. One that is older than this field names nothing.
    #[derive(Default)]
    Capabilities {
        methods: Vec<String>,
        /// The types that a service can have.
        #[serde(default)]
        types: Vec<String>,
    }

    /// The answer to `initialize`.
    Initialized {
        protocol_version: u32,
        server: Program,
        pid: u32,
        #[serde(default)]
        capabilities: Capabilities,
        guarantees: Guarantees,
        services: BTreeMap<String, ServiceStatus>,
    }

    /// The answer to `start`, `stop` and `restart`.
    ServiceResult {
        service: String,
        status: ServiceStatus,
    }

    /// The answer to `status`.
    StatusResult {
        services: BTreeMap<String, ServiceStatus>,
    }

    /// One line of a service's output.
    LogLine {
        stream: Stream,
        text: String,
        /// Its number, as in [`Log::seq`]; a line that has not ended has none yet.
        seq?: u64,
    }

    /// The answer to `logs`, oldest line first.
    LogsResult {
        service: String,
        lines: Vec<LogLine>,
    }
}

/// What listens at an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum OriginOwner {
    /// A service of this sidecar, and no other program.
    Service,
    /// Some other program; perhaps a service, too.
    Foreign,
    /// No program.
    Nobody,
    /// That cannot be found out.
    #[serde(other)]
    Unknown,
}

messages! {
    /// The answer to `checkOrigin`.
    OriginCheck {
        origin: String,
        owner: OriginOwner,
        /// The service, if the owner is one.
        service?: String,
    }

    /// The answer to `token`.
    TokenResult {
        service: String,
        token: String,
    }

    /// The answer to `shutdown`.
    ShutdownResult {
        stopped: Vec<String>,
    }

    /// A process that an earlier run had left.
    SweptProcess {
        pid: u32,
        command?: String,
    }
}

/// One line from the sidecar.
#[cfg(desktop)]
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Event(Event),
    Error { id: Option<u64>, error: Failure },
    Result { id: u64, result: Value },
}
