//! Supervises a Tauri app's dev server, and any other service it needs, through the `tauri-sidecar` that the app ships
//! as an `externalBin`. However the app dies, no process of a service outlives it.
//!
//! `tauri.conf.json` says what is to run:
//!
//! ```json
//! {
//!   "bundle": { "externalBin": ["binaries/sidecar"] },
//!   "plugins": { "sidecar": { "services": { "web": { "type": "vite", "root": ".." } } } }
//! }
//! ```
//!
//! `services` is the object of the sidecar's protocol; its paths are relative to the folder of `tauri.conf.json` (in a
//! release: to the app's resources). Beside it there may be `page`, the service that the windows show (default: the
//! only dev server).
//!
//! One line starts it:
//!
//! ```no_run
//! # fn run<R: tauri::Runtime>(builder: tauri::Builder<R>, mut context: tauri::Context<R>) {
//! // let mut context = tauri::generate_context!();
//! // tauri::Builder::default()
//! builder
//!     .plugin(tauri_plugin_sidecar::init(&mut context))
//!     .run(context)
//!     .expect("the app could not be run");
//! # }
//! ```
//!
//! [`init`] takes an address for each service that listens, before the app is built, and starts nothing. The page's
//! becomes `build.devUrl`: to Tauri it is the app's own, and its commands work as in any app. The services start when
//! the app is set up, behind these addresses. They stay the same until the app ends, whatever happens to a service, and
//! no other user can take them.
//!
//! While the page does not answer, its address shows that it starts; or what failed, why, the last lines of output, and
//! a button to retry. In a release dev servers are left out, the page is built in, and a failure is an event and part of
//! the status. Without services nothing is started and nothing listens. On phones there are never any.

mod api;
mod commands;
mod error;
mod logs;
pub mod models;
pub mod services;

#[cfg(desktop)]
mod client;
#[cfg(desktop)]
mod config;
#[cfg(windows)]
mod console;
#[cfg(desktop)]
mod core;
#[cfg(desktop)]
mod ends;
#[cfg(desktop)]
mod front;
#[cfg(desktop)]
mod gate;
#[cfg(desktop)]
mod joint;
#[cfg(mobile)]
mod mobile;
#[cfg(desktop)]
mod news;
#[cfg(desktop)]
mod notice;
#[cfg(desktop)]
mod origins;
#[cfg(desktop)]
mod outward;
#[cfg(desktop)]
mod page;
#[cfg(desktop)]
mod process;
#[cfg(desktop)]
mod setup;
#[cfg(desktop)]
mod terminal;
#[cfg(all(desktop, unix))]
mod unpacking;
#[cfg(desktop)]
mod variants;
#[cfg(desktop)]
mod view;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use tauri::{
    plugin::{Builder as PluginBuilder, TauriPlugin},
    webview::PageLoadEvent,
    Context, Manager, Runtime,
};

#[cfg(mobile)]
use mobile::{complete, Core};
#[cfg(desktop)]
use {core::Core, setup::complete};

pub use api::{ListenerId, Service, Sidecar};
pub use error::{Error, Result};
use services::ServiceConfig;

/// `plugins.sidecar`, as it is written. The window tells a mistake in it, and the app goes on.
pub type Section = serde_json::Value;

/// Gives [`AppHandle`](tauri::AppHandle) and all that is like it [`sidecar`](SidecarExt::sidecar).
pub trait SidecarExt<R: Runtime> {
    /// The app's services.
    ///
    /// # Panics
    ///
    /// If the plugin is not registered.
    fn sidecar(&self) -> &Sidecar;
}

impl<R: Runtime, T: Manager<R>> SidecarExt<R> for T {
    fn sidecar(&self) -> &Sidecar {
        self.state::<Sidecar>().inner()
    }
}

/// The plugin with its defaults: see [`Builder::build`].
pub fn init<R: Runtime>(context: &mut Context<R>) -> TauriPlugin<R, Section> {
    Builder::new().build(context)
}

/// The plugin with options.
#[derive(Debug, Default)]
#[cfg_attr(mobile, allow(dead_code))]
pub struct Builder {
    services: BTreeMap<String, ServiceConfig>,
    page: Option<String>,
    words: Option<Vec<OsString>>,
    folder: Option<PathBuf>,
    leave_signals: bool,
    leave_panics: bool,
}

impl Builder {
    /// The defaults: the `externalBin` beside the app, in the folder of its `tauri.conf.json`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, as if it stood in `plugins.sidecar.services` of `tauri.conf.json`: an error names its place
    /// there. With one that is set here, `tauri.conf.json` must have none.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>, service: ServiceConfig) -> Self {
        self.services.insert(name.into(), service);
        self
    }

    /// The service that the windows show, if [`Builder::service`] adds more than one dev server.
    #[must_use]
    pub fn page(mut self, service: impl Into<String>) -> Self {
        self.page = Some(service.into());
        self
    }

    /// Another sidecar: the program and its arguments.
    #[must_use]
    pub fn program<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// The folder that the paths in the configuration are relative to.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Whether SIGHUP, SIGINT and SIGTERM give the services their grace, where the app leaves them alone. They do
    /// (`true`). On Windows the same holds for Ctrl-C, Ctrl-Break and the closing of the console. There an app with a
    /// handler of its own that lets it live on adds that handler after the plugin, or says `false` here.
    #[must_use]
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.leave_signals = !handle;
        self
    }

    /// Whether a panic while the app is set up gives the services their grace, by a panic hook. It does (`true`).
    #[must_use]
    pub fn handle_panics(mut self, handle: bool) -> Self {
        self.leave_panics = !handle;
        self
    }

    /// Takes the addresses, and makes the page's the app's `build.devUrl`. Nothing is started before the app is set up:
    /// register the single-instance plugin first, and a second instance starts nothing.
    pub fn build<R: Runtime>(self, context: &mut Context<R>) -> TauriPlugin<R, Section> {
        let plugin = PluginBuilder::<R, Section>::new("sidecar")
            .invoke_handler(tauri::generate_handler![
                commands::start,
                commands::stop,
                commands::restart,
                commands::status,
                commands::logs,
                commands::follow_logs,
                commands::unfollow_logs,
                commands::url,
                commands::when_ready,
                commands::token,
                commands::retry,
                commands::page_state
            ])
            .on_page_load(|webview, load| {
                if load.event() == PageLoadEvent::Started {
                    webview.state::<logs::Followers>().forget(webview.label());
                }
                #[cfg(desktop)]
                if load.event() == PageLoadEvent::Finished {
                    notice::greet(webview, load.url());
                }
            });
        complete(self, plugin, context).build()
    }
}
