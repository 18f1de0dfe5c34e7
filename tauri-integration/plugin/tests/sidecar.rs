//! The plugin with a real sidecar and a real service, in an app on Tauri's mock runtime.
//!
//! The sidecar is the one of this repository, run by `SIDECAR_PYTHON` (default: `python3`), or the binary that
//! `SIDECAR_BINARY` names. That a process is dead is seen by the end of a connection to it.

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{channel, Receiver},
    sync::Once,
    thread,
    time::Duration,
};

use serde_json::{json, Value};
use tauri::{
    test::{mock_builder, mock_context, noop_assets, MockRuntime},
    App, Context, Listener, RunEvent, Url, WebviewUrl, WebviewWindowBuilder,
};
use tauri_plugin_sidecar::{
    models::{Event, OriginOwner, State},
    services::{
        BackoffConfig, HealthConfig, Isolation, LogFileConfig, Policy, PortConfig, Ready, RestartConfig, ServiceConfig,
        StopConfig,
    },
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

/// A service that answers HTTP.
fn web() -> Value {
    json!({
        "type": "command",
        "command": [python(), "-u", "-m", "http.server", "{port}", "--bind", "{host}"],
        "cwd": env!("CARGO_MANIFEST_DIR"),
        "port": {},
        "ready": {"type": "http"},
    })
}

fn context(service: Value) -> Context<MockRuntime> {
    let mut context = mock_context(noop_assets());
    let section = json!({"services": {"web": service}, "page": "web"});
    context.config_mut().plugins.0.insert("sidecar".into(), section);
    context
}

/// An app that is set up, and the address of its page.
fn app(service: Value) -> (App<MockRuntime>, Url) {
    let mut context = context(service);
    let plugin = builder().build(&mut context);
    let url = context.config().build.dev_url.clone().expect("the page has an address");
    (mock_builder().plugin(plugin).build(context).unwrap(), url)
}

/// As [`app`], once its page answers.
fn ready_app(service: Value) -> (App<MockRuntime>, Url) {
    let (app, url) = app(service);
    app.sidecar().service("web").start_blocking().unwrap();
    assert_eq!(app.sidecar().service("web").url(), Some(url.clone()));
    (app, url)
}

fn connection(url: &Url) -> TcpStream {
    let stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

/// A connection that lives as long as the service: it is passed on, and the server waits for the rest of a request.
fn connected(url: &Url) -> TcpStream {
    let mut stream = connection(url);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n")
        .unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.0 200");
    stream
}

/// What the address answers to a window.
fn document(url: &Url) -> String {
    let mut stream = connection(url);
    stream
        .write_all(b"GET / HTTP/1.1\r\nSec-Fetch-Dest: document\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Whether the plugin's own page is there.
fn shows_the_page(url: &Url) -> bool {
    document(url).contains("X-Sidecar: page")
}

fn assert_dies(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            other => break other,
        }
    };
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
fn the_page_has_its_address_before_the_app_is_built() {
    let mut context = context(web());
    let plugin = builder().build(&mut context);
    let url = context.config().build.dev_url.clone().unwrap();
    // no other program can take it, and nothing has been started
    let port = url.port().unwrap();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let sidecar = app.sidecar();
    assert_eq!(sidecar.service("web").origin(), Some(url.clone()));
    assert_eq!(sidecar.page(), Some("web"));
    let status = sidecar.service("web").start_blocking().unwrap();
    assert_eq!((status.state, status.port), (State::Ready, Some(port)));
    assert_eq!(status.url.as_deref(), Some(url.as_str()));
    assert_eq!(
        sidecar.status_blocking().unwrap()["web"].url.as_deref(),
        Some(url.as_str())
    );
    assert!(document(&url).starts_with("HTTP/1.0 200"));
}

#[test]
fn building_the_plugin_starts_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut service = web();
    service["port"] = json!({"preferred": free}); // the tests beside this one try other ports
    let mut context = context(service);
    let mut words = vec!["no-such-program"];
    words.push("at-all");
    drop(builder().program(words).build(&mut context));
    let port = context.config().build.dev_url.as_ref().unwrap().port().unwrap();
    // an app that is never built, as a second instance, lets go of the address
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_second_instance_that_ends_in_an_earlier_plugins_setup_starts_nothing() {
    let started = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("second-{}", std::process::id()));
    let mut context = context(web());
    let plugin = Builder::new()
        .program(["touch".into(), started.clone().into_os_string()])
        .build(&mut context);
    // the single-instance plugin ends the process here
    let single = tauri::plugin::Builder::<MockRuntime>::new("single").setup(|_, _| Err("the first one has it".into()));
    let second = mock_builder().plugin(single.build()).plugin(plugin).build(context);
    assert!(second.is_err());
    assert!(!started.exists());
}

#[test]
fn output_is_no_event_that_every_page_could_hear() {
    let (app, url) = ready_app(web());
    let (sender, heard) = channel();
    for name in ["log", "state"] {
        let sender = sender.clone();
        app.listen_any(format!("sidecar://{name}"), move |_| sender.send(name).unwrap());
    }
    let events = events(&app);
    connected(&url);
    await_event(&events, |event| matches!(event, Event::Log(_)).then_some(()));
    app.sidecar().service("web").stop_blocking().unwrap();
    await_event(&events, |event| matches!(event, Event::Exited(_)).then_some(()));
    let heard: Vec<_> = heard.try_iter().collect();
    assert!(heard.contains(&"state") && !heard.contains(&"log"), "{heard:?}");
}

#[test]
fn the_events_tell_the_address_that_everybody_uses() {
    let (app, url) = app(web());
    let events = events(&app);
    app.sidecar().service("web").restart_blocking().unwrap();
    let (told, port) = await_event(&events, |event| match event {
        Event::Ready(ready) => Some((ready.url.clone(), ready.port)),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some(url.as_str()));
    assert_eq!(port, url.port());
}

#[test]
fn a_preferred_port_that_is_taken_is_not_the_pages() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    let mut service = web();
    service["port"] = json!({"preferred": taken});
    let (_app, url) = ready_app(service);
    assert_ne!(url.port(), Some(taken));
    held.set_nonblocking(true).unwrap();
    assert!(held.accept().is_err(), "its holder was asked for the page");
}

#[test]
fn without_services_nothing_listens_and_dev_url_stays() {
    let mut context: Context<MockRuntime> = mock_context(noop_assets());
    let own: Url = "http://localhost:1420/".parse().unwrap();
    context.config_mut().build.dev_url = Some(own.clone());
    let plugin = builder().build(&mut context);
    assert_eq!(context.config().build.dev_url, Some(own));
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    assert_eq!(app.sidecar().pid(), None);
    assert_eq!(app.sidecar().service("web").origin(), None);
}

#[test]
fn a_failed_service_is_the_page_that_says_so_until_it_is_tried_again() {
    let mut service = web();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("late-{}", std::process::id()));
    service["cwd"] = folder.to_str().unwrap().into();
    let (app, url) = app(service);
    app.sidecar().service("web").start_blocking().unwrap_err();
    assert!(shows_the_page(&url));
    std::fs::create_dir_all(&folder).unwrap();
    let events = events(&app);
    app.sidecar().retry();
    await_event(&events, ready);
    assert!(document(&url).starts_with("HTTP/1.0 200"));
    app.sidecar().shutdown();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn closing_the_last_window_ends_the_services_in_an_orderly_way() {
    let (app, url) = ready_app(web());
    let connection = connected(&url);
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
    let (app, url) = app(web());
    let events = events(&app);
    if app.sidecar().service("web").url().is_none() {
        await_event(&events, ready);
    }
    connected(&url);
}

/// A service that answers with its port, and gives it up once it is asked for /leave.
const LEAVES: &str = r#"
import socket, sys
port = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", port))
left = False
while not left:
    with listener.accept()[0] as client:
        left = b"/leave" in client.recv(4096)
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\n%d" % port)
listener.close()
print("left", flush=True)
input()
"#;

#[test]
fn a_program_that_takes_a_services_port_gets_no_byte() {
    let (app, url) = ready_app(
        json!({"type": "command", "command": [python(), "-c", LEAVES, "{port}"], "port": {},
        "ready": {"type": "http"}, "health": {"intervalMs": 3_600_000}}),
    );
    let events = events(&app);
    let mut asked = connection(&url);
    asked.write_all(b"GET /leave HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    let (_, port) = answer.rsplit_once('\n').unwrap();
    await_event(&events, |event| match event {
        Event::Log(log) if log.lines.iter().any(|line| line == "left") => Some(()),
        _ => None,
    });
    // this process is of the service's user, so only the sidecar can tell them apart
    let stranger = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    let (sender, told) = channel();
    thread::spawn(move || {
        for client in stranger.incoming() {
            let mut said = Vec::new();
            client.unwrap().take(1).read_to_end(&mut said).unwrap();
            sender.send(said).unwrap();
        }
    });
    assert!(shows_the_page(&url));
    assert_eq!(
        told.recv_timeout(BOUND).unwrap(),
        b"",
        "the front has to find out what listens"
    );
    assert!(told.try_iter().all(|said| said.is_empty()));
}

#[test]
fn an_origin_is_the_services_only_where_the_app_or_the_service_listens() {
    let (app, url) = ready_app(web());
    let own = url.origin().ascii_serialization();
    let check = |origin: &str| app.sidecar().check_origin_blocking(origin).unwrap();
    let found = check(&own);
    assert_eq!(
        (found.owner, found.service.as_deref()),
        (OriginOwner::Service, Some("web"))
    );
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", stranger.local_addr().unwrap());
    assert_eq!(check(&origin).owner, OriginOwner::Foreign);
    drop(stranger);
    assert_eq!(check(&origin).owner, OriginOwner::Nobody);
    let error = app.sidecar().check_origin_blocking("tauri://localhost").unwrap_err();
    assert_eq!(error.kind(), "InvalidParams");
    app.sidecar().shutdown();
    let error = app.sidecar().check_origin_blocking(&origin).unwrap_err();
    assert_eq!(error.kind(), "SidecarGone");
}

#[test]
fn a_restart_keeps_the_address_and_a_stop_ends_the_service() {
    let (app, url) = ready_app(web());
    let first = app.sidecar().status_blocking().unwrap()["web"].pid;
    let connection = connected(&url);
    let status = app.sidecar().service("web").restart_blocking().unwrap();
    assert_dies(connection);
    assert_eq!(status.port, url.port());
    assert_ne!(status.pid, first);

    let connection = connected(&url);
    assert_eq!(
        app.sidecar().service("web").stop_blocking().unwrap().state,
        State::Stopped
    );
    assert_dies(connection);
    assert!(shows_the_page(&url));
    assert!(!app.sidecar().service("web").logs_blocking(100).unwrap().is_empty());
}

#[test]
fn the_async_methods_answer_the_same() {
    let (app, url) = ready_app(web());
    let status = tauri::async_runtime::block_on(async { app.sidecar().status().await }).unwrap();
    assert_eq!(status["web"].url.as_deref(), Some(url.as_str()));
}

#[test]
fn url_and_status_say_the_same_in_every_state() {
    let (app, url) = ready_app(web());
    let service = app.sidecar().service("web");
    let agree = || {
        let told = service.status_blocking().unwrap().url.map(|url| url.parse().unwrap());
        assert_eq!(told, service.url());
        told
    };
    assert_eq!(agree(), Some(url.clone()));
    service.stop_blocking().unwrap();
    assert_eq!(agree(), None);
    assert_eq!(service.origin(), Some(url), "it is the same until the app ends");
}

#[test]
fn ready_waits_for_a_service_that_is_on_its_way() {
    let (app, url) = app(web());
    let service = app.sidecar().service("web");
    let status = tauri::async_runtime::block_on(service.ready()).unwrap();
    assert_eq!(status.url.as_deref(), Some(url.as_str()));
    assert_eq!(service.ready_blocking().unwrap().url, status.url);
}

#[test]
fn ready_fails_where_there_is_nothing_to_wait_for() {
    let (app, _) = ready_app(web());
    let kinds = |name: &str| {
        let service = app.sidecar().service(name);
        let error = tauri::async_runtime::block_on(service.ready()).unwrap_err();
        assert_eq!(service.ready_blocking().unwrap_err().kind(), error.kind());
        error.kind().to_string()
    };
    assert_eq!(kinds("no-such-service"), "UnknownService");
    app.sidecar().service("web").stop_blocking().unwrap();
    assert_eq!(kinds("web"), "ServiceStopped");
}

#[test]
fn ready_tells_why_a_service_failed() {
    let (app, _) = app(json!({"type": "command", "command": ["no-such-program"], "port": {}}));
    let error = app.sidecar().service("web").ready_blocking().unwrap_err();
    assert_eq!(error.kind(), "ProcessSpawnFailed");
}

#[test]
fn an_app_that_quits_ends_every_wait() {
    let silent = json!({"type": "command", "command": [python(), "-c", "input()"], "port": {},
        "ready": {"type": "tcp"}});
    let (app, _) = app(silent);
    let service = app.sidecar().service("web");
    let waiting = tauri::async_runtime::spawn({
        let service = service.clone();
        async move { service.ready().await }
    });
    let blocked = thread::spawn(move || service.ready_blocking());
    app.sidecar().shutdown();
    let ends = [
        tauri::async_runtime::block_on(waiting).unwrap(),
        blocked.join().unwrap(),
    ];
    for end in ends {
        assert_eq!(end.unwrap_err().kind(), "SidecarGone");
    }
}

#[test]
fn a_token_is_told_where_a_service_has_one() {
    let mut service = web();
    let (app, _) = ready_app(service.clone());
    let error = app.sidecar().service("web").token_blocking().unwrap_err();
    assert!(error.to_string().contains("web has no token"), "{error}");
    service["env"] = json!({"TOKEN": "{token}"});
    let (app, _) = ready_app(service);
    let token = tauri::async_runtime::block_on(app.sidecar().service("web").token()).unwrap();
    assert!(token.len() >= 32);
    assert_eq!(app.sidecar().service("web").token_blocking().unwrap(), token);
}

#[test]
fn a_service_that_is_set_in_rust_is_checked_and_started() {
    let mut context: Context<MockRuntime> = mock_context(noop_assets());
    let words = ["-u", "-m", "http.server", "{port}", "--bind", "{host}"].map(String::from);
    let api = ServiceConfig::command([python()].into_iter().chain(words))
        .cwd(env!("CARGO_MANIFEST_DIR"))
        .env("TOKEN", "{token}")
        .port(PortConfig::default().sticky(false).strict(false))
        .ready(Ready::http("/").status(200_u16))
        .ready_timeout(BOUND)
        .health(HealthConfig::default().interval(BOUND).failures(9_u32).restart(true))
        .restart(
            RestartConfig::default()
                .policy(Policy::OnFailure)
                .backoff(BackoffConfig::default().factor(3.0).initial(BOUND).max(BOUND)),
        )
        .stop(StopConfig::default().signal("SIGTERM").timeout(BOUND))
        .isolation(Isolation::None)
        .log_file(LogFileConfig::default().max_bytes(1_000_000_u64).keep(1_u32))
        .release(false);
    let plugin = builder().service("api", api).build(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let status = app.sidecar().service("api").ready_blocking().unwrap();
    assert_eq!(status.state, State::Ready);
}

#[test]
fn services_are_set_in_one_place() {
    let mut context = context(web());
    let plugin = builder().service("api", ServiceConfig::vite()).build(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let error = app.sidecar().status_blocking().unwrap_err();
    assert!(error.to_string().contains("Leave one of them out"), "{error}");
}

#[test]
fn a_listener_that_is_taken_off_hears_nothing_more() {
    let (app, _) = ready_app(web());
    let (sender, receiver) = channel();
    let id = app.sidecar().on_event(move |event| drop(sender.send(event.clone())));
    app.sidecar().unlisten(id);
    let others = events(&app);
    app.sidecar().service("web").restart_blocking().unwrap();
    await_event(&others, ready);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn several_services_start_in_their_order_each_at_an_address_of_its_own() {
    let mut context: Context<MockRuntime> = mock_context(noop_assets());
    let mut api = web();
    api["dependsOn"] = json!(["migrate"]);
    api["release"] = json!({"command": ["api/api"], "cwd": "."});
    let mut page = web();
    page["dependsOn"] = json!(["api"]);
    page["command"]
        .as_array_mut()
        .unwrap()
        .extend(["--directory".into(), ".".into()]);
    page["env"] = json!({"API": "{services.api.origin}"});
    let migrate = json!({"type": "task", "command": [python(), "-c", "pass"]});
    let left_out = json!({"type": "command", "command": ["no-such-program"], "dev": false, "port": {}});
    let services = json!({"migrate": migrate, "api": api, "web": page, "left-out": left_out});
    let section = json!({"services": services, "page": "web"});
    context.config_mut().plugins.0.insert("sidecar".into(), section);
    let plugin = builder().build(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    app.sidecar().service("web").start_blocking().unwrap();
    let status = app.sidecar().status_blocking().unwrap();
    assert_eq!(status.keys().collect::<Vec<_>>(), ["api", "migrate", "web"]);
    assert_eq!(
        (status["migrate"].state, status["migrate"].exit_code),
        (State::Ready, Some(0))
    );
    for name in ["api", "web"] {
        let url = app.sidecar().service(name).origin().unwrap();
        assert_eq!(status[name].url.as_deref(), Some(url.as_str()), "{name}");
        connected(&url);
    }
    assert_eq!(app.sidecar().service("left-out").origin(), None);
}

#[test]
fn a_page_whose_dependency_fails_is_the_page_that_says_so() {
    let mut context = context(web());
    let services = &mut context.config_mut().plugins.0.get_mut("sidecar").unwrap()["services"];
    services["web"]["dependsOn"] = json!(["api"]);
    services["api"] = json!({"type": "command", "command": ["no-such-program"]});
    let plugin = builder().build(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let error = app.sidecar().service("web").start_blocking().unwrap_err();
    assert_eq!(error.kind(), "DependencyFailed");
    assert!(shows_the_page(&app.sidecar().service("web").origin().unwrap()));
}

#[test]
fn a_wrong_field_is_named_and_the_app_comes_up_all_the_same() {
    let (app, url) = app(json!({"type": "command", "command": ["true"], "port": {}, "readyTimeoutMs": "soon"}));
    let error = app.sidecar().service("web").start_blocking().unwrap_err();
    assert_eq!(error.kind(), "ConfigurationError");
    assert!(error.to_string().contains("services.web.readyTimeoutMs"), "{error}");
    assert!(shows_the_page(&url));
}

#[test]
fn a_section_that_cannot_be_read_is_told_by_the_page() {
    let mut context: Context<MockRuntime> = mock_context(noop_assets());
    let section = json!({"services": {}, "windw": "main"});
    context.config_mut().plugins.0.insert("sidecar".into(), section);
    let plugin = builder().build(&mut context);
    let url = context.config().build.dev_url.clone().unwrap();
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    assert!(shows_the_page(&url));
    let error = app.sidecar().status_blocking().unwrap_err();
    assert!(error.to_string().contains("windw"), "{error}");
}

#[test]
fn a_program_that_cannot_be_started_is_the_services_failure() {
    let (app, url) = app(json!({"type": "command", "command": ["no-such-program"], "port": {}}));
    let error = app.sidecar().service("web").start_blocking().unwrap_err();
    assert_eq!(error.kind(), "ProcessSpawnFailed");
    assert_eq!(app.sidecar().status_blocking().unwrap()["web"].state, State::Failed);
    assert!(shows_the_page(&url));
}

#[test]
fn without_the_binary_the_error_says_where_it_should_be() {
    let mut context = context(web());
    let plugin = tauri_plugin_sidecar::init(&mut context);
    let app = mock_builder().plugin(plugin).build(context).unwrap();
    let error = app.sidecar().status_blocking().unwrap_err();
    assert_eq!(error.kind(), "SidecarNotFound");
    assert!(error.to_string().contains("externalBin"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_sidecar_that_was_killed_is_started_again_with_its_services() {
    let (app, url) = ready_app(web());
    let connection = connected(&url);
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
    connected(&url);
}

#[test]
fn shutdown_ends_the_services_in_an_orderly_way() {
    let (app, url) = ready_app(web());
    let connection = connected(&url);
    let events = events(&app);
    app.sidecar().shutdown();
    assert_dies(connection);
    assert_eq!(await_event(&events, exited), "stopped");
    assert_eq!(app.sidecar().pid(), None);
    let error = app.sidecar().status_blocking().unwrap_err();
    assert!(error.to_string().contains("the app is quitting"), "{error}");
}

/// Where the app of the next test tells its address; a variable that only that app has.
#[cfg(unix)]
const TELLS: &str = "SIDECAR_TEST_TELLS";

/// The app of the next test, in a process of its own. Started with all other tests it does nothing.
#[test]
#[cfg(unix)]
fn an_app_that_waits_for_a_signal() {
    let Some(listener) = env::var_os(TELLS) else { return };
    let mut service = web();
    let code = "import http.server as h, pathlib, signal, sys\n\
                def asked(*_): pathlib.Path(sys.argv[3]).touch(); sys.exit()\n\
                signal.signal(signal.SIGTERM, asked)\n\
                at = (sys.argv[2], int(sys.argv[1]))\n\
                h.ThreadingHTTPServer(at, h.SimpleHTTPRequestHandler).serve_forever()";
    let asked = env::var("SIDECAR_TEST_ASKED").unwrap();
    service["command"] = json!([python(), "-c", code, "{port}", "{host}", asked]);
    let (_app, url) = ready_app(service);
    let mut told = TcpStream::connect(listener.to_str().unwrap()).unwrap();
    told.write_all(url.as_str().as_bytes()).unwrap();
    drop(told);
    loop {
        std::thread::park();
    }
}

#[test]
#[cfg(unix)]
fn a_signal_that_asks_gives_the_services_their_grace_and_then_ends_the_app() {
    use std::{
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Command, Stdio},
    };

    for (name, signal) in [("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("TERM", libc::SIGTERM)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("asked-{}-{name}", std::process::id()));
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "an_app_that_waits_for_a_signal"])
            .env(TELLS, listener.local_addr().unwrap().to_string())
            .env("SIDECAR_TEST_ASKED", &asked)
            .stdout(Stdio::null());
        // SAFETY: signal() may be called there. The tests may have been started to ignore some signals (nohup, `&`).
        unsafe {
            command.pre_exec(move || match libc::signal(signal, libc::SIG_DFL) {
                libc::SIG_ERR => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let mut app = command.spawn().unwrap();
        let mut url = String::new();
        listener.accept().unwrap().0.read_to_string(&mut url).unwrap();
        let service = connected(&url.parse().unwrap());
        // SAFETY: the process is ours, and was not waited for yet.
        assert_eq!(unsafe { libc::kill(app.id().try_into().unwrap(), signal) }, 0);
        assert_dies(service);
        assert_eq!(app.wait().unwrap().signal(), Some(signal), "{name}");
        std::fs::remove_file(asked).expect("the service was asked to end");
    }
}
