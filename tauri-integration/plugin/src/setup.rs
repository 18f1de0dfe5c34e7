//! Sets the plugin up on desktops: takes the addresses, then starts the services behind them and follows their events.

use std::{mem, sync::Arc, thread};

use serde_json::json;
use tauri::{
    plugin::Builder as PluginBuilder, utils::config::Config as AppConfig, AppHandle, Context, Emitter, Manager,
    PackageInfo, RunEvent, Runtime, Url,
};

use crate::{
    config::Config,
    core::Core,
    ends::{self, ShutdownGuard},
    error::{Error, Result},
    gate::Gate,
    logs::Followers,
    models::{Event, State},
    notice,
    origins::{self, Origins},
    page, process,
    process::Program,
    terminal::Terminal,
    variants::Variant,
    Builder, Section, Sidecar, SidecarExt,
};

#[cfg(unix)]
use crate::unpacking::Places;

/// Everything that is known before the app is built.
struct Prepared {
    config: Config,
    problem: Option<Error>,
    origins: Origins,
    /// The name of the address that the windows show, if there is one.
    page: Option<String>,
}

impl Prepared {
    fn new(builder: &Builder, context: &AppConfig, variant: Variant) -> Self {
        let (app, dev_url) = (&context.identifier, context.build.dev_url.as_ref());
        let taken = section(builder, context)
            .and_then(|section| Config::read(&section, variant))
            .and_then(|config| Origins::take(&config, app, dev_url).map(|origins| (config, origins)));
        match taken {
            Ok((config, origins)) => {
                let page = config.page().map(String::from);
                let page = page.filter(|page| origins.urls.contains_key(page));
                Self {
                    config,
                    problem: None,
                    origins,
                    page,
                }
            }
            Err(problem) => {
                log::error!("{problem}");
                // a release has a page of its own; else the window says what is wrong
                let shown = variant == Variant::Dev;
                let taken = shown.then(|| Origins::take_for_the_page(app)).and_then(Result::ok);
                let (origins, page) = taken.map_or_else(Default::default, |(origins, page)| (origins, Some(page)));
                Self {
                    config: Config::default(),
                    problem: Some(problem),
                    origins,
                    page,
                }
            }
        }
    }
}

/// `plugins.sidecar`, or what the builder has in its place.
fn section(builder: &Builder, context: &AppConfig) -> Result<Section> {
    let written = context.plugins.0.get("sidecar").unwrap_or(&Section::Null);
    let both = "services are set in Rust, by Builder::service, and here. Leave one of them out";
    match written.get("services").or(written.get("page")) {
        _ if builder.services.is_empty() && builder.page.is_none() => Ok(written.clone()),
        Some(_) => Err(Error::Config(both.into())),
        None => {
            let mut section = written.as_object().cloned().unwrap_or_default();
            section.insert("services".into(), json!(builder.services));
            section.insert("page".into(), json!(builder.page));
            Ok(section.into())
        }
    }
}

pub(crate) fn complete<R: Runtime>(
    builder: Builder,
    plugin: PluginBuilder<R, Section>,
    context: &mut Context<R>,
) -> PluginBuilder<R, Section> {
    let Prepared {
        config,
        problem,
        mut origins,
        page,
    } = Prepared::new(&builder, context.config(), Variant::of_this_build());
    let page = page.and_then(|page| origins.urls.get(&page)).cloned();
    if page.is_some() {
        context.config_mut().build.dev_url.clone_from(&page);
    }
    let script = origins::script(&origins.urls, context.config().build.dev_url.as_ref());
    let watched = (!builder.leave_signals, !builder.leave_panics);
    let package = context.package_info();
    let name = process::name_in(context.config().bundle.external_bin.as_ref(), package.crate_name);
    let program = program(builder, name, package, config.services.is_empty());
    let urls = mem::take(&mut origins.urls);
    plugin
        .js_init_script(script)
        .setup(move |app, _| {
            #[cfg(unix)]
            let program = Program {
                // there is none without a home folder
                places: Places::new(app.path().app_cache_dir().ok().map(|it| it.join("sidecar"))),
                ..program
            };
            let core = Core::new(config, problem, urls, program);
            start(app, core, origins, page, watched)?;
            Ok(())
        })
        .on_event(|app, event| match event {
            RunEvent::Ready => app.sidecar().core.app_runs(),
            // not at ExitRequested: an app may still decide to live on without a window
            RunEvent::Exit => app.sidecar().shutdown(),
            _ => {}
        })
}

/// `idle` is whether there is nothing to start: then no folder is made for it.
fn program(builder: Builder, name: String, package: &PackageInfo, idle: bool) -> Program {
    let folder = builder.folder.or_else(|| match tauri::is_dev() {
        true => process::project(),
        false if idle => None,
        false => tauri::utils::platform::resource_dir(package, &tauri::Env::default())
            .ok()
            .and_then(process::resources),
    });
    Program {
        words: builder.words,
        name,
        folder,
        #[cfg(unix)]
        places: Places::default(), // known when there is an app
    }
}

fn start<R: Runtime>(
    app: &AppHandle<R>,
    core: Arc<Core>,
    origins: Origins,
    page: Option<Url>,
    (signals, panics): (bool, bool),
) -> std::io::Result<()> {
    app.manage(Followers::default());
    app.manage(Sidecar { core: core.clone() });
    if !origins.fronts.is_empty() {
        let response: &'static [u8] = page::response().leak(); // once for an app's life
        for (service, front) in origins.fronts {
            core.keep(front.serve(Arc::new(Gate::new(&core, service)), response)?);
        }
    }
    if core.config.services.is_empty() {
        return Ok(());
    }
    if signals {
        ends::watch_signals(&core);
    }
    if panics {
        ends::watch_panics(&core);
    }
    app.resources_table().add(ShutdownGuard(core.clone()));
    let print = core.config.print;
    let terminal = print.then(|| Arc::new(Terminal::new(core.config.services.keys())));
    if let Some(terminal) = terminal.clone() {
        core.on_event(move |event| terminal.show(event));
    }
    let handle = app.clone();
    let service = core.config.page().map(String::from);
    core.on_event(move |event| {
        emit(&handle, event);
        let failed = match event {
            Event::State(told) => told.state == State::Failed && service.as_ref() == Some(&told.service),
            Event::Gone(gone) => !gone.restarting,
            _ => false,
        };
        if let Some(page) = page.as_ref().filter(|_| failed) {
            page::bring(&handle, page);
        }
        if let (Some(page), Event::State(told)) = (&page, event) {
            if service.as_ref() != Some(&told.service) {
                notice::show(&handle, page, told);
            }
        }
    });
    // not on the main thread: a terminal may stand still, and a disk or a virus scanner may be slow
    thread::spawn(move || {
        if let Some(terminal) = terminal {
            for (service, word) in core.config.only_in_a_checkout() {
                let what = format!(
                    "a release of the app would start {word:?}, which only a checkout has. Say in its field release \
                     what it is there, or \"release\": false"
                );
                terminal.warn(service, &what);
            }
        }
        for moved in &origins.moved {
            core.tell(moved);
        }
        core.start_all();
    });
    Ok(())
}

/// A webview gets what the sidecar said: the notification's params. Output goes only to those that may have it.
fn emit<R: Runtime>(app: &AppHandle<R>, event: &Event) {
    if let Event::Log(log) = event {
        return app.state::<Followers>().send(log);
    }
    let told = serde_json::to_value(event).ok();
    if let Some(params) = told.as_ref().and_then(|told| told.get("params")) {
        if let Err(error) = app.emit(event.name(), params) {
            log::warn!("sidecar: {} could not be emitted: {error}", event.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(section: serde_json::Value, variant: Variant) -> Prepared {
        let context: Context<tauri::test::MockRuntime> = tauri::test::mock_context(tauri::test::noop_assets());
        let mut config = context.config().clone();
        config.plugins.0.insert("sidecar".into(), section);
        Prepared::new(&Builder::new(), &config, variant)
    }

    #[test]
    fn what_is_wrong_is_shown_in_development_and_never_in_place_of_a_releases_page() {
        let wrong = json!({"services": {}, "pages": "web"});
        let dev = prepared(wrong.clone(), Variant::Dev);
        assert!(dev.problem.is_some() && dev.page.is_some());
        let release = prepared(wrong, Variant::Release);
        assert!(release.problem.is_some());
        assert_eq!(release.page, None);
        assert!(release.origins.fronts.is_empty());
    }

    #[test]
    fn a_release_has_addresses_and_no_page_of_ours() {
        let services = json!({"services": {"web": {"type": "vite"}, "api": {"type": "command", "port": {}}}});
        let release = prepared(services, Variant::Release);
        assert_eq!(release.page, None);
        assert_eq!(release.origins.urls.keys().collect::<Vec<_>>(), ["api"]);
    }
}
