//! The sidecar's protocol and the plugin's section of `tauri.conf.json`, as serde types.
//!
//! A field that they do not know is left out: a newer sidecar may say more. The golden conversations in
//! `tests/wire/golden` are decoded by these in a test, so that both sides mean the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    Stopped,
    Starting,
    Ready,
    Unhealthy,
    BackingOff,
    Stopping,
    Failed,
}

/// Where a line of output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What went wrong: a sentence for people, and data for programs (`data.kind` names the error).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
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

/// Who has a port; what could not be read is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A process of the sidecar: of an earlier run, or of another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ours: bool,
}

/// One service as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    pub state: State,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since it became ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// Since it was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// While it is unhealthy: what its last health check saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The layers of the kill that are active on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guarantees {
    pub platform: String,
    pub guard: bool,
    pub subreaper: bool,
    pub parent_death_signal: bool,
    pub parent_watch: String,
    pub control_group: bool,
    pub job_object: bool,
    pub run_cookie: bool,
    #[serde(default)]
    pub stdin_guard: bool,
}

/// A program's name and version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub name: String,
    #[serde(default)]
    pub version: String,
}

/// The answer to `initialize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialized {
    pub protocol_version: u32,
    pub server: Program,
    pub pid: u32,
    pub guarantees: Guarantees,
    pub services: BTreeMap<String, ServiceStatus>,
}

/// The answer to `start`, `stop` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceResult {
    pub service: String,
    pub status: ServiceStatus,
}

/// The answer to `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    pub services: BTreeMap<String, ServiceStatus>,
}

/// One line of a service's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub stream: Stream,
    pub text: String,
}

/// The answer to `logs`, oldest line first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogsResult {
    pub service: String,
    pub lines: Vec<LogLine>,
}

/// The answer to `shutdown`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShutdownResult {
    pub stopped: Vec<String>,
}

/// A process that an earlier run had left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweptProcess {
    pub pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What happened, as the sidecar tells it unasked; [`Event::name`] is the Tauri event it is emitted as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params")]
pub enum Event {
    /// A service changed its state, or its port was chosen.
    #[serde(rename = "service/state")]
    State(StateChanged),
    /// A service runs and is not ready yet.
    #[serde(rename = "service/waiting")]
    Waiting(Waiting),
    /// A service answers.
    #[serde(rename = "service/ready")]
    Ready(Ready),
    /// Lines of output.
    #[serde(rename = "service/log")]
    Log(Log),
    /// A service's program and all it left behind are gone.
    #[serde(rename = "service/exited")]
    Exited(Exited),
    /// A service will be started again.
    #[serde(rename = "service/restarting")]
    Restarting(Restarting),
    /// The port is not the one wanted.
    #[serde(rename = "service/portChanged")]
    PortChanged(PortChanged),
    /// What earlier runs had left has been ended.
    #[serde(rename = "supervisor/swept")]
    Swept(Swept),
    /// Something went wrong that no answer can carry.
    #[serde(rename = "supervisor/error")]
    Error(SupervisorError),
    /// The sidecar itself ended without being asked to. Said by this plugin: the sidecar no longer can.
    #[serde(rename = "sidecar/gone")]
    Gone(Gone),
}

impl Event {
    /// The name that the event is emitted to the webviews with.
    pub fn name(&self) -> &'static str {
        match self {
            Event::State(_) => "sidecar://state",
            Event::Waiting(_) => "sidecar://waiting",
            Event::Ready(_) => "sidecar://ready",
            Event::Log(_) => "sidecar://log",
            Event::Exited(_) => "sidecar://exited",
            Event::Restarting(_) => "sidecar://restarting",
            Event::PortChanged(_) => "sidecar://port-changed",
            Event::Swept(_) => "sidecar://swept",
            Event::Error(_) => "sidecar://error",
            Event::Gone(_) => "sidecar://gone",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateChanged {
    pub service: String,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// While it is unhealthy: what its last health check saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub service: String,
    /// Since its program was started.
    pub elapsed_ms: u64,
    /// What was found so far, for people.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    pub service: String,
    pub url: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub pid: u32,
    /// Since the request, or the crash, that led here.
    pub elapsed_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub service: String,
    pub stream: Stream,
    pub lines: Vec<String>,
    /// Lines before these that were lost because somebody was too slow to take them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// The stream's last line, which has not ended yet: a question, or a progress bar's frame. The stream's next
    /// `partial` replaces it, and so do its next `lines`, which have it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    pub service: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarting {
    pub service: String,
    pub attempt: u64,
    pub delay_ms: u64,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortChanged {
    pub service: String,
    pub from: u16,
    pub to: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    pub processes: Vec<SweptProcess>,
    pub groups: u64,
    pub records: u64,
    pub folders: u64,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupervisorError {
    pub error: Failure,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gone {
    pub message: String,
    /// Whether the plugin starts it again; if not, a [`start`](crate::Sidecar::start) does.
    pub restarting: bool,
}

/// One line from the sidecar.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Event(Event),
    Error { id: Option<u64>, error: Failure },
    Result { id: u64, result: Value },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference
fn is_zero(number: &u64) -> bool {
    *number == 0
}
