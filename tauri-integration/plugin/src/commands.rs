//! The commands that guest-js calls; each has a permission of its name.

use std::collections::BTreeMap;

use tauri::{command, AppHandle, Runtime, Url};

use crate::{
    error::{Error, Result},
    models::{LogLine, ServiceStatus},
    Sidecar, SidecarExt,
};

#[command]
pub(crate) async fn start<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    aside(app, move |sidecar| sidecar.start(&service)).await
}

#[command]
pub(crate) async fn stop<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    aside(app, move |sidecar| sidecar.stop(&service)).await
}

#[command]
pub(crate) async fn restart<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    aside(app, move |sidecar| sidecar.restart(&service)).await
}

#[command]
pub(crate) async fn status<R: Runtime>(app: AppHandle<R>) -> Result<BTreeMap<String, ServiceStatus>> {
    aside(app, Sidecar::status).await
}

#[command]
pub(crate) async fn logs<R: Runtime>(app: AppHandle<R>, service: String, tail: usize) -> Result<Vec<LogLine>> {
    aside(app, move |sidecar| sidecar.logs(&service, tail)).await
}

#[command]
pub(crate) fn url<R: Runtime>(app: AppHandle<R>, service: String) -> Option<Url> {
    app.sidecar().url(&service)
}

/// Runs what waits for the sidecar where waiting blocks nobody.
async fn aside<R: Runtime, T: Send + 'static>(
    app: AppHandle<R>,
    ask: impl FnOnce(&Sidecar) -> Result<T> + Send + 'static,
) -> Result<T> {
    tauri::async_runtime::spawn_blocking(move || ask(&app.sidecar()))
        .await
        .map_err(|error| Error::Tauri(error.to_string()))?
}
