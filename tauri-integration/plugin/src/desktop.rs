//! The Rust API.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tauri::Url;

use crate::{
    core::Core,
    error::Result,
    models::{Event, LogLine, LogsResult, ServiceResult, ServiceStatus, StatusResult},
};

/// The sidecar answers these from what it knows, at once.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// `start` and the like are answered when the deed is done; the services' own bounds, such as `readyTimeoutMs`, end
/// them earlier. This is for a sidecar that is stopped by a debugger.
const DEED_PATIENCE: Duration = Duration::from_secs(600);

/// The app's services; [`app.sidecar()`](crate::SidecarExt::sidecar) has it.
///
/// The methods that return a [`Result`] ask the sidecar and wait for its answer: in a command, call them in
/// `tauri::async_runtime::spawn_blocking`. If the sidecar does not run, they start it.
pub struct Sidecar {
    pub(crate) core: Arc<Core>,
}

impl Sidecar {
    /// Starts a service and waits until it is ready or has failed; what runs already is left alone.
    pub fn start(&self, service: &str) -> Result<ServiceStatus> {
        self.core.want(service, true);
        self.deed("start", service)
    }

    /// Stops a service and waits until its whole tree is gone.
    pub fn stop(&self, service: &str) -> Result<ServiceStatus> {
        self.core.want(service, false);
        self.deed("stop", service)
    }

    /// Stops and starts a service, on the same port.
    pub fn restart(&self, service: &str) -> Result<ServiceStatus> {
        self.core.want(service, true);
        self.deed("restart", service)
    }

    /// All services as they are now.
    pub fn status(&self) -> Result<BTreeMap<String, ServiceStatus>> {
        let answer: StatusResult = self.core.client()?.request("status", json!({}), ANSWER_PATIENCE)?;
        Ok(answer.services)
    }

    /// The last lines of a service's output, at most `tail`, oldest first.
    pub fn logs(&self, service: &str, tail: usize) -> Result<Vec<LogLine>> {
        let params = json!({"service": service, "tail": tail});
        let answer: LogsResult = self.core.client()?.request("logs", params, ANSWER_PATIENCE)?;
        Ok(answer.lines)
    }

    /// Where a service answers, if it does. Asks nobody.
    pub fn url(&self, service: &str) -> Option<Url> {
        self.core.look(|view| view.url(service)?.parse().ok())
    }

    /// The service that the window shows.
    pub fn page(&self) -> Option<&str> {
        self.core.config.page()
    }

    /// The process that this app started as its sidecar, while it runs. (A frozen one has more below it.)
    pub fn pid(&self) -> Option<u32> {
        self.core.pid()
    }

    /// Calls `listener` with everything that happens, on a thread of the plugin, as long as the app lives.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        self.core.on_event(listener);
    }

    /// Stops everything and ends the sidecar, within seconds. The plugin does this when the app exits.
    pub fn shutdown(&self) {
        self.core.shutdown();
    }

    fn deed(&self, method: &'static str, service: &str) -> Result<ServiceStatus> {
        let params = json!({"service": service});
        let answer: ServiceResult = self.core.client()?.request(method, params, DEED_PATIENCE)?;
        Ok(answer.status)
    }
}
