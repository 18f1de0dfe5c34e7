//! The commands that guest-js calls; each has a permission of its name.

use std::collections::BTreeMap;

use tauri::{command, ipc::Channel, AppHandle, Runtime, State, Url, Webview};

use crate::{
    error::Result,
    logs::Followers,
    models::{Log, LogLine, ServiceStatus},
    SidecarExt,
};

#[command]
pub(crate) async fn start<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    app.sidecar().service(service).start().await
}

#[command]
pub(crate) async fn stop<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    app.sidecar().service(service).stop().await
}

#[command]
pub(crate) async fn restart<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    app.sidecar().service(service).restart().await
}

#[command]
pub(crate) async fn status<R: Runtime>(app: AppHandle<R>) -> Result<BTreeMap<String, ServiceStatus>> {
    app.sidecar().status().await
}

#[command]
pub(crate) async fn logs<R: Runtime>(app: AppHandle<R>, service: String, tail: usize) -> Result<Vec<LogLine>> {
    app.sidecar().service(service).logs(tail).await
}

/// Sends every line of output through the channel, until the page goes or [`unfollow_logs`].
#[command]
pub(crate) fn follow_logs<R: Runtime>(webview: Webview<R>, followers: State<'_, Followers>, channel: Channel<Log>) {
    followers.add(webview.label(), channel);
}

/// `channel` is its id.
#[command]
pub(crate) fn unfollow_logs<R: Runtime>(webview: Webview<R>, followers: State<'_, Followers>, channel: u32) {
    followers.remove(webview.label(), channel);
}

#[command]
pub(crate) fn url<R: Runtime>(app: AppHandle<R>, service: String) -> Option<Url> {
    app.sidecar().service(service).url()
}

#[command]
pub(crate) async fn when_ready<R: Runtime>(app: AppHandle<R>, service: String) -> Result<ServiceStatus> {
    app.sidecar().service(service).ready().await
}

#[command]
pub(crate) async fn token<R: Runtime>(app: AppHandle<R>, service: String) -> Result<String> {
    app.sidecar().service(service).token().await
}

/// Starts the services that do not run: the button on the failure page.
#[command]
pub(crate) fn retry<R: Runtime>(app: AppHandle<R>) {
    app.sidecar().retry();
}

/// What the loading page shows.
#[cfg(desktop)]
#[command]
pub(crate) fn page_state<R: Runtime>(app: AppHandle<R>, window: tauri::WebviewWindow<R>) -> crate::page::PageState {
    use crate::page::{self, PageState, Phase};

    let core = &app.sidecar().core;
    let page = core.config.page();
    let wanted = page.is_some_and(|page| core.wants(page));
    let state = core.news.look(|view| PageState::new(page, view, wanted));
    if state.phase == Phase::Failed {
        page::show(&window);
    }
    state
}

/// There is no such page here.
#[cfg(mobile)]
#[command]
pub(crate) fn page_state() -> Result<()> {
    Err(crate::Error::Unsupported)
}
