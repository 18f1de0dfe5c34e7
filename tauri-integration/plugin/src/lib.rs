//! Supervises a Tauri app's dev server, and any other service it needs, through the `tauri-sidecar` that the app ships
//! as an `externalBin`. However the app dies, no process of a service outlives it.
//!
//! What is to run is said in `tauri.conf.json`:
//!
//! ```json
//! {
//!   "bundle": { "externalBin": ["binaries/sidecar"] },
//!   "plugins": { "sidecar": { "services": { "web": { "type": "vite", "root": ".." } } } }
//! }
//! ```
//!
//! `services` is the object of the sidecar's protocol; its paths are relative to the folder of `tauri.conf.json` (in a
//! release: to the app's resources). Beside it there may be `page`, the service that the window shows (default: the
//! only dev server), `window`, the label of that window (`main`), and `permissions`, see [`init`].
//!
//! There are two ways to start. [`launch`] starts the services before the app is built, so that the page's origin is
//! the app's own and its commands work as in any Tauri app:
//!
//! ```no_run
//! # fn run<R: tauri::Runtime>(builder: tauri::Builder<R>, mut context: tauri::Context<R>) {
//! // let mut context = tauri::generate_context!();
//! // tauri::Builder::default()
//! builder
//!     .plugin(tauri_plugin_sidecar::launch(&mut context))
//!     .run(context)
//!     .expect("the app could not be run");
//! # }
//! ```
//!
//! [`init`] starts them in the plugin's setup hook; the window shows a loading page meanwhile.
//!
//! With either, what fails is a page in the window: what, why, the last lines of output, and a button to retry. In a
//! release dev servers are left out, and without others nothing is started.

mod client;
mod commands;
mod config;
mod core;
mod desktop;
mod ends;
mod error;
pub mod models;
mod page;
mod process;
mod view;
mod windows;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tauri::{
    plugin::{Builder as PluginBuilder, TauriPlugin},
    utils::config::WebviewUrl,
    AppHandle, Context, Emitter, Manager, RunEvent, Runtime,
};

pub use desktop::Sidecar;
pub use error::{Error, Result};

use crate::{config::Config, core::Core, ends::LastWish, models::State, process::Program, windows::Windows};

/// `plugins.sidecar`, as it is written: what is wrong in it is told in the window, and does not end the app.
pub type Section = serde_json::Value;

/// Longer than this nobody waits for a window; one that shows the loading page comes up then.
const WINDOW_PATIENCE: Duration = Duration::from_secs(10);

/// Gives [`AppHandle`] and all that is like it [`sidecar`](SidecarExt::sidecar).
pub trait SidecarExt<R: Runtime> {
    /// The app's services.
    ///
    /// # Panics
    ///
    /// If the plugin is not registered.
    fn sidecar(&self) -> tauri::State<'_, Sidecar>;
}

impl<R: Runtime, T: Manager<R>> SidecarExt<R> for T {
    fn sidecar(&self) -> tauri::State<'_, Sidecar> {
        self.state::<Sidecar>()
    }
}

/// The plugin, started before the app is built: see [`Builder::launch`].
pub fn launch<R: Runtime>(context: &mut Context<R>) -> TauriPlugin<R, Section> {
    Builder::new().launch(context)
}

/// The plugin, started in its setup hook: see [`Builder::build`].
pub fn init<R: Runtime>() -> TauriPlugin<R, Section> {
    Builder::new().build()
}

/// For what differs from the usual.
#[derive(Debug, Default)]
pub struct Builder {
    program: Program,
}

impl Builder {
    /// The usual: the `externalBin` beside the app, in the folder of its `tauri.conf.json`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another sidecar: the program and its arguments.
    #[must_use]
    pub fn program<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program.words = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// The folder that the paths in the configuration are relative to.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.program.folder = Some(folder.into());
        self
    }

    /// Starts the services now, waits until the page's answers, and makes its URL the app's `build.devUrl`: the page is
    /// local, and may call the app's commands as if it were built in.
    ///
    /// If it fails, or takes long, the window shows the plugin's own page until it is ready. If its port is then
    /// another one than it was to be, the page is let in as with [`Builder::build`].
    pub fn launch<R: Runtime>(self, context: &mut Context<R>) -> TauriPlugin<R, Section> {
        let section = context.config().plugins.0.get("sidecar").unwrap_or(&Section::Null);
        let config = Config::read(section, tauri::is_dev());
        let core = self.core(config, context.package_info());
        if !core.config.services.is_empty() {
            // the sidecar is started here and now; that it could not be is the page's to tell
            let started = Instant::now();
            core.start_all();
            if let Some(page) = core.config.page() {
                core.wait(WINDOW_PATIENCE.saturating_sub(started.elapsed()), |view| {
                    let failed = view
                        .services
                        .get(page)
                        .is_some_and(|service| service.state == State::Failed);
                    (failed || view.problem.is_some() || view.url(page).is_some()).then_some(())
                });
                take_over(context, &core, page);
            }
        }
        plugin(move |_, _| core, false)
    }

    /// Starts the services when the app is set up. The window shows a loading page, then goes to the page's URL.
    ///
    /// Give the window `"create": false` in `tauri.conf.json`: the plugin creates it, and it never shows anything else.
    /// Tauri takes a dev server that it did not know when the app was built for a foreign site. The plugin lets it use
    /// `plugins.sidecar.permissions` (`core:default` and `sidecar:default`). An app that has commands of its own also
    /// has to declare them in its build script, and name them there:
    ///
    /// ```ignore
    /// .app_manifest(tauri_build::AppManifest::new().commands(&["greet"]))   // build.rs
    /// "permissions": ["core:default", "sidecar:default", "allow-greet"]     // tauri.conf.json, plugins.sidecar
    /// ```
    pub fn build<R: Runtime>(self) -> TauriPlugin<R, Section> {
        plugin(
            move |app: &AppHandle<R>, section| {
                let config = Config::read(section, tauri::is_dev());
                self.core(config, app.package_info())
            },
            true,
        )
    }

    fn core(mut self, config: Result<Config>, package: &tauri::PackageInfo) -> Arc<Core> {
        if self.program.folder.is_none() {
            self.program.folder = match tauri::is_dev() {
                true => process::project(),
                false => tauri::utils::platform::resource_dir(package, &tauri::Env::default()).ok(),
            };
        }
        let core = Core::new(config, self.program);
        if !core.config.services.is_empty() {
            ends::watch_signals(&core);
            ends::watch_panics(&core);
        }
        core
    }
}

/// Makes the page's origin the app's own, and sends windows to the loading page if there is nothing there yet.
fn take_over<R: Runtime>(context: &mut Context<R>, core: &Core, page: &str) {
    let (url, port) = core.look(|view| {
        let url = view.url(page).and_then(|url| url.parse::<tauri::Url>().ok());
        (url, view.services.get(page).and_then(|service| service.port))
    });
    let ready = url.is_some();
    let likely = || {
        let mut url = core.config.likely_url()?;
        port.map_or(Ok(()), |port| url.set_port(Some(port))).ok()?;
        Some(url)
    };
    let config = context.config_mut();
    config.build.dev_url = url.or_else(likely);
    if ready {
        return;
    }
    for window in config
        .app
        .windows
        .iter_mut()
        .filter(|window| window.label == core.config.window)
    {
        window.url = WebviewUrl::CustomProtocol(page::url());
    }
}

fn plugin<R, F>(core: F, start: bool) -> TauriPlugin<R, Section>
where
    R: Runtime,
    F: FnOnce(&AppHandle<R>, &Section) -> Arc<Core> + Send + 'static,
{
    PluginBuilder::<R, Section>::new("sidecar")
        .invoke_handler(tauri::generate_handler![
            commands::start,
            commands::stop,
            commands::restart,
            commands::status,
            commands::logs,
            commands::url
        ])
        .register_uri_scheme_protocol(page::SCHEME, |context, request| {
            let app = context.app_handle();
            let windows = app.state::<Arc<Windows<R>>>();
            page::serve(&app.sidecar().core, &request, |url| {
                windows.destination(context.webview_label(), url)
            })
        })
        .setup(move |app, api| {
            let core = core(app, api.config());
            let windows = Arc::new(Windows::new(app.clone(), core.clone()));
            if core.config.page().is_some() {
                windows.check_permissions()?;
            }
            app.manage(Sidecar { core: core.clone() });
            app.resources_table().add(LastWish(core.clone()));
            app.manage(windows.clone());
            let handle = app.clone();
            core.on_event(move |event| {
                emit(&handle, event);
                windows.follow(event);
            });
            if start && !core.config.services.is_empty() {
                thread::spawn(move || core.start_all());
            }
            Ok(())
        })
        .on_webview_ready(|webview| {
            let windows = webview.state::<Arc<Windows<R>>>().inner().clone();
            aside(move || windows.adopt(&webview));
        })
        .on_event(|app, event| match event {
            RunEvent::Ready => {
                app.sidecar().core.app_runs();
                let windows = app.state::<Arc<Windows<R>>>().inner().clone();
                aside(move || windows.create());
            }
            // not at ExitRequested: an app may still decide to live on without a window
            RunEvent::Exit => app.sidecar().shutdown(),
            _ => {}
        })
        .build()
}

/// Tauri holds the lock on its plugins while it calls them, and takes it again to make or move a window.
fn aside(deed: impl FnOnce() + Send + 'static) {
    thread::spawn(deed);
}

/// A webview gets what the sidecar said: the notification's params.
fn emit<R: Runtime>(app: &AppHandle<R>, event: &models::Event) {
    let told = serde_json::to_value(event).ok();
    if let Some(params) = told.as_ref().and_then(|told| told.get("params")) {
        if let Err(error) = app.emit(event.name(), params) {
            log::warn!("sidecar: {} could not be emitted: {error}", event.name());
        }
    }
}
