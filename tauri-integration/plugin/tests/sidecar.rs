//! The plugin with a real sidecar and a real service, in an app on Tauri's mock runtime.
//!
//! The sidecar is the one of this repository, run by `SIDECAR_PYTHON` (default: `python3`), or the binary that
//! `SIDECAR_BINARY` names. That a process is dead is seen by the end of a connection to it.

use std::{
    env,
    io::Read,
    net::TcpStream,
    path::Path,
    sync::mpsc::{channel, Receiver},
    sync::Once,
    time::Duration,
};

use serde_json::{json, Value};
use tauri::{
    test::{mock_builder, mock_context, noop_assets, MockRuntime},
    utils::config::WindowConfig,
    App, Context, RunEvent, Url, WebviewUrl, WebviewWindowBuilder,
};
use tauri_plugin_sidecar::{
    models::{Event, State},
    Builder, SidecarExt,
};

/// For what must happen: far more than it takes on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// The plugin, with the sidecar under test.
fn builder() -> Builder {
    static ENVIRONMENT: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    ENVIRONMENT.call_once(|| {
        env::set_var("PYTHONPATH", &root);
        env::set_var("SIDECAR_STATE_DIR", env!("CARGO_TARGET_TMPDIR"));
    });
    match env::var_os("SIDECAR_BINARY") {
        Some(binary) => Builder::new().program([binary]),
        None => Builder::new().program([python(), "-m".into(), "sidecar".into()]),
    }
    .folder(root)
}

fn python() -> String {
    env::var("SIDECAR_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// A service that answers HTTP, on a port that the system chooses.
fn web() -> Value {
    json!({
        "type": "command",
        "command": [python(), "-u", "-m", "http.server", "{port}", "--bind", "{host}"],
        "cwd": env!("CARGO_MANIFEST_DIR"),
        "port": {"sticky": false},
        "ready": {"type": "http"},
    })
}

fn context(service: Value) -> Context<MockRuntime> {
    let mut context = mock_context(noop_assets());
    let section = json!({"services": {"web": service}, "page": "web", "permissions": []});
    context.config_mut().plugins.0.insert("sidecar".into(), section);
    context
}

fn launched(service: Value) -> (App<MockRuntime>, Option<Url>) {
    let mut context = context(service);
    let plugin = builder().launch(&mut context);
    let url = context.config().build.dev_url.clone();
    (mock_builder().plugin(plugin).build(context).unwrap(), url)
}

/// A connection that lives as long as the service.
fn connected(url: &Url) -> TcpStream {
    let stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn assert_dies(mut stream: TcpStream) {
    let ended = stream.read(&mut [0]);
    // a reset is what a killed process leaves where something was unread
    assert!(
        matches!(&ended, Ok(0))
            || ended
                .as_ref()
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "{ended:?}"
    );
}

fn events(app: &App<MockRuntime>) -> Receiver<Event> {
    let (sender, receiver) = channel();
    app.sidecar().on_event(move |event| drop(sender.send(event.clone())));
    receiver
}

fn await_event<T>(events: &Receiver<Event>, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    loop {
        let event = events.recv_timeout(BOUND).expect("the event did not come");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

fn ready(event: &Event) -> Option<u32> {
    match event {
        Event::Ready(ready) => Some(ready.pid),
        _ => None,
    }
}

fn exited(event: &Event) -> Option<String> {
    match event {
        Event::Exited(exited) => Some(exited.reason.clone()),
        Event::Gone(gone) => panic!("{}", gone.message),
        _ => None,
    }
}

#[test]
fn launch_makes_the_url_that_answers_the_apps_own() {
    let (app, url) = launched(web());
    let url = url.unwrap();
    drop(connected(&url));
    assert_eq!(app.sidecar().url("web"), Some(url));
    assert_eq!(app.sidecar().page(), Some("web"));
    assert_eq!(app.sidecar().status().unwrap()["web"].state, State::Ready);
}

#[test]
fn a_window_starts_at_the_app_if_it_is_ready_and_else_at_the_page_that_says_why_not() {
    let window_of = |service| {
        let mut context = context(service);
        context.config_mut().app.windows.push(WindowConfig::default());
        let _plugin = builder().launch(&mut context);
        context.config().app.windows[0].url.clone()
    };
    assert_eq!(window_of(web()), WebviewUrl::default());
    let failing = json!({"type": "command", "command": ["no-such-program"]});
    assert!(matches!(window_of(failing), WebviewUrl::CustomProtocol(_)));
}

#[test]
fn closing_the_last_window_ends_the_services_in_an_orderly_way() {
    let (app, url) = launched(web());
    let connection = connected(&url.unwrap());
    let events = events(&app);
    let window = WebviewWindowBuilder::new(&app, "main", WebviewUrl::default())
        .build()
        .unwrap();
    app.run_return(move |_, event| {
        if let RunEvent::Ready = event {
            window.close().unwrap();
        }
    });
    assert_dies(connection);
    assert_eq!(await_event(&events, exited), "stopped");
}

#[test]
fn set_up_by_the_app_the_service_starts_by_itself_and_tells() {
    let app = mock_builder().plugin(builder().build()).build(context(web())).unwrap();
    let events = events(&app);
    if app.sidecar().url("web").is_none() {
        await_event(&events, ready);
    }
    connected(&app.sidecar().url("web").unwrap());
}

#[test]
fn a_restart_keeps_the_port_and_a_stop_ends_the_service() {
    let (app, url) = launched(web());
    let url = url.unwrap();
    let first = app.sidecar().status().unwrap()["web"].pid;
    let connection = connected(&url);
    let status = app.sidecar().restart("web").unwrap();
    assert_dies(connection);
    assert_eq!(status.port, url.port());
    assert_ne!(status.pid, first);

    let connection = connected(&url);
    assert_eq!(app.sidecar().stop("web").unwrap().state, State::Stopped);
    assert_dies(connection);
    assert!(!app.sidecar().logs("web", 100).unwrap().is_empty());
}

#[test]
fn a_wrong_field_is_named_and_the_app_comes_up_all_the_same() {
    let (app, _) = launched(json!({"type": "command", "command": ["true"], "readyTimeoutMs": "soon"}));
    let error = app.sidecar().start("web").unwrap_err();
    assert_eq!(error.kind(), "ConfigurationError");
    assert!(error.to_string().contains("services.web.readyTimeoutMs"), "{error}");
}

#[test]
fn a_program_that_cannot_be_started_is_the_services_failure() {
    let (app, _) = launched(json!({"type": "command", "command": ["no-such-program"]}));
    let error = app.sidecar().start("web").unwrap_err();
    assert_eq!(error.kind(), "ProcessSpawnFailed");
    assert_eq!(app.sidecar().status().unwrap()["web"].state, State::Failed);
}

#[test]
fn without_the_binary_the_error_says_where_it_should_be() {
    let mut context = context(web());
    let plugin = tauri_plugin_sidecar::launch(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let error = app.sidecar().status().unwrap_err();
    assert_eq!(error.kind(), "SidecarNotFound");
    assert!(error.to_string().contains("externalBin"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_sidecar_that_was_killed_is_started_again_with_its_services() {
    let (app, url) = launched(web());
    let connection = connected(&url.unwrap());
    let events = events(&app);
    let pid = app.sidecar().pid().unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_dies(connection);
    let restarting = await_event(&events, |event| match event {
        Event::Gone(gone) => Some(gone.restarting),
        _ => None,
    });
    assert!(restarting);
    await_event(&events, ready);
    assert_ne!(app.sidecar().pid(), Some(pid));
    connected(&app.sidecar().url("web").unwrap());
}

#[test]
fn shutdown_ends_the_services_in_an_orderly_way() {
    let (app, url) = launched(web());
    let connection = connected(&url.unwrap());
    let events = events(&app);
    app.sidecar().shutdown();
    assert_dies(connection);
    assert_eq!(await_event(&events, exited), "stopped");
    assert_eq!(app.sidecar().pid(), None);
    assert!(app.sidecar().status().is_err(), "an app that quits starts nothing");
}
