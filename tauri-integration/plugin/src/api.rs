//! The Rust API, the same on every platform: what differs is in [`Core`].

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde_json::json;
use tauri::Url;

use crate::{
    error::{Error, Result},
    models::{Event, LogLine, LogsResult, OriginCheck, ServiceResult, ServiceStatus, State, StatusResult, TokenResult},
    Core,
};

/// The sidecar answers these from what it knows, at once.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// `start` and the like are answered when the deed is done; the services' own bounds, such as `readyTimeoutMs`, end
/// them earlier. This is for a sidecar that is stopped by a debugger.
const DEED_PATIENCE: Duration = Duration::from_secs(600);

/// The app's services; [`app.sidecar()`](crate::SidecarExt::sidecar) has it.
///
/// What asks the sidecar waits for its answer. In a command use the `async` methods; their `_blocking` twins are for
/// threads of your own. If the sidecar does not run, it is started. On phones there are no services, and what would
/// need one fails with [`Error::Unsupported`].
#[derive(Clone)]
pub struct Sidecar {
    pub(crate) core: Arc<Core>,
}

/// One of the app's services, or a name that none has: then what it is asked fails with kind `UnknownService`.
///
/// Keep it, clone it and send it to other threads as you like.
#[derive(Debug, Clone)]
pub struct Service {
    sidecar: Sidecar,
    name: String,
}

/// Names a listener of [`Sidecar::on_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerId(u64);

impl fmt::Debug for Sidecar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sidecar").finish_non_exhaustive()
    }
}

impl Sidecar {
    /// The service with this name.
    pub fn service(&self, name: impl Into<String>) -> Service {
        Service {
            sidecar: self.clone(),
            name: name.into(),
        }
    }

    /// All services as they are now.
    pub async fn status(&self) -> Result<BTreeMap<String, ServiceStatus>> {
        self.spawn_blocking(Self::status_blocking).await
    }

    /// As [`Sidecar::status`].
    pub fn status_blocking(&self) -> Result<BTreeMap<String, ServiceStatus>> {
        let answer: StatusResult = self.core.ask("status", json!({}), ANSWER_PATIENCE)?;
        let outward = |(name, status): (String, ServiceStatus)| {
            let status = self.core.outward(&name, status);
            (name, status)
        };
        Ok(answer.services.into_iter().map(outward).collect())
    }

    /// Finds out what listens at a web origin (`http://127.0.0.1:8000`) at this moment.
    ///
    /// The addresses of the app's own services are theirs as long as the app lives: the app itself holds them. Of any
    /// other one the answer is as old as the call; ask again before the next decision. Starts no sidecar: if none runs,
    /// that is an error.
    pub async fn check_origin(&self, origin: &str) -> Result<OriginCheck> {
        let origin = origin.to_string();
        self.spawn_blocking(move |sidecar| sidecar.check_origin_blocking(&origin))
            .await
    }

    /// As [`Sidecar::check_origin`].
    pub fn check_origin_blocking(&self, origin: &str) -> Result<OriginCheck> {
        self.core.check_origin(origin, ANSWER_PATIENCE)
    }

    /// The service that the windows show.
    pub fn page(&self) -> Option<&str> {
        self.core.page()
    }

    /// The process that this app started as its sidecar, while it runs. (A frozen one has more below it.)
    pub fn pid(&self) -> Option<u32> {
        self.core.pid()
    }

    /// Calls `listener` with everything that happens, on a thread of the plugin, until it is
    /// [taken off](Sidecar::unlisten) or the app ends.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> ListenerId {
        ListenerId(self.core.on_event(listener))
    }

    /// Calls a listener no more. One that is being called finishes.
    pub fn unlisten(&self, id: ListenerId) {
        self.core.unlisten(id.0);
    }

    /// Starts the services that do not run, and restarts those that have lost their port. Does not wait for them.
    pub fn retry(&self) {
        self.core.retry();
    }

    /// Stops everything and ends the sidecar for good, within seconds, and returns when it has ended. The plugin does
    /// this when the app exits.
    pub fn shutdown(&self) {
        self.core.shutdown();
    }

    /// Runs a question that waits on a thread for blocking work.
    async fn spawn_blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let sidecar = self.clone();
        tauri::async_runtime::spawn_blocking(move || ask(&sidecar))
            .await
            .map_err(|error| Error::Tauri(error.to_string()))?
    }
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, whether it answers or not: the same until the app ends. One that does not listen has none.
    pub fn origin(&self) -> Option<Url> {
        self.sidecar.core.origin(&self.name).cloned()
    }

    /// Where it answers, if it is ready: what [`ServiceStatus::url`] says. Does not ask the sidecar.
    pub fn url(&self) -> Option<Url> {
        self.sidecar.core.url(&self.name)
    }

    /// The service as it is now.
    pub async fn status(&self) -> Result<ServiceStatus> {
        self.spawn_blocking(Self::status_blocking).await
    }

    /// As [`Service::status`].
    pub fn status_blocking(&self) -> Result<ServiceStatus> {
        let found = self.sidecar.status_blocking()?.remove(&self.name);
        found.ok_or_else(|| Error::UnknownService(self.name.clone()))
    }

    /// Waits until it is ready, without starting it. Fails once it has failed, or is stopped and will not be started
    /// by itself. What bounds its start, such as `readyTimeoutMs`, bounds this.
    pub async fn ready(&self) -> Result<ServiceStatus> {
        loop {
            self.sidecar.core.on_its_way(&self.name).await?;
            let status = self.status().await?;
            if status.state == State::Ready {
                return Ok(status);
            }
        }
    }

    /// As [`Service::ready`].
    pub fn ready_blocking(&self) -> Result<ServiceStatus> {
        loop {
            self.sidecar.core.on_its_way_blocking(&self.name)?;
            let status = self.status_blocking()?;
            if status.state == State::Ready {
                return Ok(status);
            }
        }
    }

    /// Starts it and waits until it is ready or has failed. If it runs already, it is left alone.
    pub async fn start(&self) -> Result<ServiceStatus> {
        self.spawn_blocking(Self::start_blocking).await
    }

    /// As [`Service::start`].
    pub fn start_blocking(&self) -> Result<ServiceStatus> {
        self.deed("start", true)
    }

    /// Stops it and waits until its whole tree is gone.
    pub async fn stop(&self) -> Result<ServiceStatus> {
        self.spawn_blocking(Self::stop_blocking).await
    }

    /// As [`Service::stop`].
    pub fn stop_blocking(&self) -> Result<ServiceStatus> {
        self.deed("stop", false)
    }

    /// Stops and starts it.
    pub async fn restart(&self) -> Result<ServiceStatus> {
        self.spawn_blocking(Self::restart_blocking).await
    }

    /// As [`Service::restart`].
    pub fn restart_blocking(&self) -> Result<ServiceStatus> {
        self.deed("restart", true)
    }

    /// The last lines of its output, at most `tail`, oldest first.
    pub async fn logs(&self, tail: usize) -> Result<Vec<LogLine>> {
        self.spawn_blocking(move |service| service.logs_blocking(tail)).await
    }

    /// As [`Service::logs`].
    pub fn logs_blocking(&self, tail: usize) -> Result<Vec<LogLine>> {
        let params = json!({"service": self.name, "tail": tail});
        let answer: LogsResult = self.sidecar.core.ask("logs", params, ANSWER_PATIENCE)?;
        Ok(answer.lines)
    }

    /// The secret that a service was given as `{token}`, new with each sidecar. It is in no log, event or status.
    pub async fn token(&self) -> Result<String> {
        self.spawn_blocking(Self::token_blocking).await
    }

    /// As [`Service::token`].
    pub fn token_blocking(&self) -> Result<String> {
        let params = json!({"service": self.name});
        let answer: TokenResult = self.sidecar.core.ask("token", params, ANSWER_PATIENCE)?;
        Ok(answer.token)
    }

    fn deed(&self, method: &'static str, wanted: bool) -> Result<ServiceStatus> {
        self.sidecar.core.want(&self.name, wanted);
        let params = json!({"service": self.name});
        let answer: ServiceResult = self.sidecar.core.ask(method, params, DEED_PATIENCE)?;
        Ok(self.sidecar.core.outward(&self.name, answer.status))
    }

    async fn spawn_blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let service = self.clone();
        self.sidecar.spawn_blocking(move |_| ask(&service)).await
    }
}
