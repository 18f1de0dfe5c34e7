//! What the sidecar says unasked.

use serde::{Deserialize, Serialize};

use super::{Failure, Holder, State, Stream, SweptProcess};

/// What happened, as the sidecar tells it unasked; [`Event::name`] is the Tauri event it is emitted as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params")]
#[non_exhaustive]
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

messages! {
    StateChanged {
        service: String,
        state: State,
        host?: String,
        port?: u16,
        pid?: u32,
        error?: Failure,
        /// While it is unhealthy: what its last health check saw.
        detail?: String,
        /// While it is starting: the services that it depends on and that are not ready yet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting_for: Vec<String>,
    }

    Waiting {
        service: String,
        /// Since its program was started.
        elapsed_ms: u64,
        /// What was found so far, for people.
        detail: String,
    }

    Ready {
        service: String,
        url: Option<String>,
        host: Option<String>,
        port: Option<u16>,
        pid: u32,
        /// Since the request, or the crash, that led here.
        elapsed_ms: u64,
    }

    Log {
        service: String,
        stream: Stream,
        lines: Vec<String>,
        /// Lines before these that were lost because a reader was too slow.
        #[serde(default)]
        dropped: u64,
        /// The stream's last line, which has not ended yet: a question, or a progress bar's frame. The stream's next
        /// `partial` replaces it, and so do its next `lines`, which have it whole.
        partial?: String,
        /// The number of the first of `lines`, or of the next line if there is none. A service's lines count from 1.
        #[serde(default)]
        seq: u64,
    }

    Exited {
        service: String,
        reason: String,
        code?: i64,
        signal?: String,
        /// Why it ended, for programs, such as `requested` or `crashed`; `reason` is for people.
        cause?: String,
    }

    Restarting {
        service: String,
        attempt: u64,
        delay_ms: u64,
        reason: String,
        /// Why the run before ended, as in [`Exited::cause`].
        cause?: String,
    }

    PortChanged {
        service: String,
        from: u16,
        to: u16,
        holder?: Holder,
    }

    Swept {
        processes: Vec<SweptProcess>,
        groups: u64,
        records: u64,
        folders: u64,
        problems: Vec<String>,
    }

    SupervisorError {
        error: Failure,
    }

    Gone {
        message: String,
        /// Whether the plugin starts it again; if not, a [`start`](crate::Service::start) does.
        restarting: bool,
    }
}
