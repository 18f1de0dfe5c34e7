//! The core with a stand-in for the sidecar, and with the one of this repository.

use serde_json::Value;

use super::*;
use crate::{origins::Origins, variants::Variant};

/// For what must happen: far more than it takes on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// The number of the last folder.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

fn core_of(section: &Value, variant: Variant, words: &[&str]) -> Arc<Core> {
    let config = Config::read(section, variant).unwrap();
    let origins = Origins::take(&config, "core.test", None).unwrap();
    let program = Program {
        words: Some(words.iter().map(Into::into).collect()),
        folder: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../..").into()),
        ..Program::default()
    };
    Core::new(config, None, origins.urls, program)
}

/// A core whose sidecar is this shell script.
fn core(script: &str) -> Arc<Core> {
    let section = json!({"services": {"web": {"type": "vite"}}});
    core_of(&section, Variant::Dev, &["sh", "-c", script])
}

/// A core whose sidecar has this result for each of the next requests.
#[cfg(target_os = "linux")]
pub(crate) fn core_that_answers(result: &Value) -> Arc<Core> {
    let answer = json!({"jsonrpc": "2.0", "id": 0, "result": result}).to_string();
    let (head, tail) = answer.split_once("\"id\":0").unwrap();
    let first = initialized();
    core(&format!(
        "read -r request; echo '{first}'; n=1; while read -r request; do n=$((n+1)); echo '{head}\"id\":'$n'{tail}'; done"
    ))
}

/// The params of the first request that a sidecar gets.
fn first_params(section: &Value, variant: Variant) -> Value {
    let file = std::env::temp_dir().join(format!("sidecar-told-{}-{variant:?}", std::process::id()));
    // echo would read the backslashes
    let script = format!(
        "read -r request; printf %s \"$request\" > '{}'; echo '{}'; read -r request",
        file.display(),
        initialized()
    );
    let core = core_of(section, variant, &["sh", "-c", &script]);
    core.client().unwrap();
    let sent: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    core.shutdown();
    sent["params"].clone()
}

fn python() -> String {
    std::env::var("SIDECAR_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// The sidecar of this repository, with a state folder of its own.
struct Real {
    core: Arc<Core>,
    state: std::path::PathBuf,
}

impl Real {
    fn new(section: &Value, variant: Variant) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let state = std::env::temp_dir().join(format!("sidecar-core-{}-{number}", std::process::id()));
        let setting = format!("SIDECAR_STATE_DIR={}", state.display());
        let core = core_of(section, variant, &["env", &setting, &python(), "-m", "sidecar"]);
        Self { core, state }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.core.shutdown();
        // it is not there if the sidecar never came up
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

fn initialized() -> Value {
    let guarantees = json!({"platform": "linux", "guard": true, "subreaper": true, "parentDeathSignal": true,
        "parentWatch": "pidfd", "controlGroup": true, "jobObject": false, "runCookie": true});
    json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": 1, "pid": 1, "services": {},
        "server": {"name": "tauri-sidecar", "version": "0"}, "guarantees": guarantees}})
}

#[test]
fn an_app_that_quits_starts_no_sidecar() {
    let started = std::env::temp_dir().join(format!("sidecar-started-{}", std::process::id()));
    let core = core(&format!("touch {}", started.display()));
    core.shutdown();
    let Err(error) = core.client() else {
        panic!("a sidecar was started")
    };
    assert!(error.to_string().contains("the app is quitting"), "{error}");
    assert!(!started.exists());
}

#[test]
fn a_sidecar_that_ends_right_after_its_first_answer_is_missed() {
    let core = core(&format!("read request; echo '{}'; exit 3", initialized()));
    let (sender, told) = mpsc::channel();
    core.on_event(move |event| {
        if let Event::Gone(gone) = event {
            let _ = sender.send(gone.clone()); // the test may have seen enough
        }
    });
    core.client().unwrap();
    let gone = told.recv_timeout(BOUND).unwrap();
    assert!(gone.restarting, "{gone:?}");
    assert!(gone.message.contains("exit status: 3"), "{gone:?}");
    core.shutdown();
}

#[test]
fn every_caller_of_shutdown_returns_when_the_sidecar_has_ended() {
    let answer = json!({"jsonrpc": "2.0", "id": 2, "result": {"stopped": []}});
    let core = core(&format!(
        "read -r request; echo '{}'; read -r request; sleep 1; echo '{answer}'; read -r request",
        initialized()
    ));
    let client = core.client().unwrap(); // as a caller that waits for an answer holds it
    let pid = libc::pid_t::try_from(client.pid()).unwrap();
    // SAFETY: it only asks.
    let has_ended = move || unsafe { libc::kill(pid, 0) } != 0;
    let first = thread::spawn({
        let core = core.clone();
        move || {
            core.shutdown();
            has_ended()
        }
    });
    while core.running().is_some() {
        thread::yield_now();
    }
    core.shutdown();
    assert!(has_ended(), "the second caller did not wait");
    assert!(first.join().unwrap(), "the first caller did not wait");
}

#[test]
fn a_sidecar_that_is_just_starting_has_ended_when_shutdown_returns() {
    let file = std::env::temp_dir().join(format!("sidecar-starting-{}", std::process::id()));
    let core = core(&format!(
        "echo $$ > '{0}.new'; mv '{0}.new' '{0}'; cat > /dev/null; sleep 1",
        file.display()
    ));
    let caller = thread::spawn({
        let core = core.clone();
        move || core.client().map(drop)
    });
    let until = Instant::now() + BOUND;
    while !file.exists() {
        assert!(Instant::now() < until, "it was not started");
        thread::yield_now();
    }
    let pid: libc::pid_t = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    core.shutdown();
    // SAFETY: it only asks.
    assert_ne!(unsafe { libc::kill(pid, 0) }, 0, "it still runs");
    assert!(caller.join().unwrap().is_err());
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_sidecar_that_reads_nothing_is_not_given_up() {
    let core = core(&format!("read -r request; echo '{}'; exec sleep 100", initialized()));
    let client = core.client().unwrap();
    // more than a pipe holds, and then as much as may wait
    client.send("status", json!({"text": "x".repeat(1 << 20)})).unwrap();
    while client.send("status", json!({})).is_ok() {}
    core.start_all();
    assert!(core.news.look(|view| view.problem.is_none()));
    core.shutdown();
}

#[test]
fn a_retry_that_is_under_way_is_the_only_one() {
    let folder = std::env::temp_dir().join(format!("sidecar-retried-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (started, go) = (folder.join("started"), folder.join("go"));
    let core = core(&format!(
        "echo once >> '{}'; for try in $(seq 1000); do [ -e '{}' ] && exit 3; sleep 0.1; done",
        started.display(),
        go.display()
    ));
    let (sender, told) = mpsc::channel();
    core.on_event(move |event| {
        if let Event::Gone(gone) = event {
            let _ = sender.send(gone.clone()); // the test may have seen enough
        }
    });
    for _ in 0..8 {
        core.retry();
    }
    assert_eq!(Arc::strong_count(&core), 2, "the test's and the retry's");
    std::fs::write(&go, "").unwrap();
    told.recv_timeout(BOUND).unwrap();
    while Arc::strong_count(&core) > 1 {
        thread::yield_now();
    }
    assert_eq!(std::fs::read_to_string(&started).unwrap(), "once\n");
    core.retry();
    told.recv_timeout(BOUND).unwrap();
    core.shutdown();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn only_a_service_of_the_app_is_wanted() {
    let core = core("exit 3");
    for name in ["web", "another"] {
        core.want(name, true);
        assert_eq!(core.wants(name), name == "web", "{name}");
    }
}

#[test]
fn the_sidecar_is_told_the_variant_and_what_a_release_leaves_out() {
    let section = json!({"services": {
        "web": {"type": "vite", "dependsOn": ["api"]},
        "api": {"type": "command", "command": ["a"], "release": {"command": ["b"]}},
    }});
    for (variant, name) in [(Variant::Dev, "dev"), (Variant::Release, "release")] {
        let params = first_params(&section, variant);
        assert_eq!(params["variant"], name);
        assert_eq!(params["services"]["api"], section["services"]["api"], "{name}");
        assert_eq!(params["services"]["web"]["dependsOn"], json!(["api"]), "{name}");
    }
}

#[test]
fn the_sidecar_is_told_where_the_app_keeps_its_services() {
    let section = json!({"services": {"web": {"type": "vite"}, "worker": {"type": "command", "command": ["a"]}}});
    let params = first_params(&section, Variant::Dev);
    let origins = params["origins"].as_object().unwrap();
    assert_eq!(
        origins.keys().collect::<Vec<_>>(),
        ["web"],
        "the worker does not listen"
    );
    let port = origins["web"]
        .as_str()
        .and_then(|origin| origin.strip_prefix("http://127.0.0.1:"));
    let port: u16 = port.unwrap().parse().unwrap();
    assert_ne!(
        params["services"]["web"]["port"]["preferred"],
        json!(port),
        "its own port is another one"
    );
}

#[test]
fn a_service_is_told_the_address_that_the_app_keeps() {
    let section = json!({"services": {
        "web": {"type": "command", "command": ["sleep", "100"], "port": {}},
        "api": {"type": "command", "command": ["sh", "-c", "echo origin=$CORS; exec sleep 100"],
            "env": {"CORS": "{services.web.origin}"}, "ready": {"type": "log", "pattern": "^origin="}},
    }});
    let real = Real::new(&section, Variant::Dev);
    let client = real.core.client().unwrap();
    let _: Value = client.request("start", json!({"service": "api"}), BOUND).unwrap();
    let answer: Value = client.request("logs", json!({"service": "api"}), BOUND).unwrap();
    let origin = real.core.urls["web"].origin().ascii_serialization();
    assert_eq!(answer["lines"][0]["text"], format!("origin={origin}"));
}

#[test]
fn a_release_runs_what_it_has_and_no_dev_server() {
    let serve = [&python(), "-u", "-m", "http.server", "{port}", "--bind", "{host}"];
    let section = json!({"services": {
        "web": {"type": "vite", "dependsOn": ["api"]},
        "api": {"type": "command", "command": ["no-such-program"], "port": {"strict": true, "preferred": 1},
            "release": {"command": serve, "port": {"strict": null, "preferred": null}}},
    }});
    let real = Real::new(&section, Variant::Release);
    let client = real.core.client().unwrap();
    let answer: Value = client.request("start", json!({"service": "api"}), BOUND).unwrap();
    assert_eq!(answer["status"]["state"], "ready", "{answer}");
    let answer: Value = client.request("status", json!({}), BOUND).unwrap();
    let services = answer["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["api"]);
    assert!(real.core.has("api") && !real.core.has("web"));
}

#[test]
fn a_release_without_services_starts_no_sidecar() {
    let started = std::env::temp_dir().join(format!("sidecar-released-{}", std::process::id()));
    let script = format!("touch {}", started.display());
    let section = json!({"services": {"web": {"type": "vite"}, "api": {"type": "command", "release": false}}});
    let core = core_of(&section, Variant::Release, &["sh", "-c", &script]);
    let Err(error) = core.client() else {
        panic!("a sidecar was started")
    };
    assert!(
        error.to_string().contains("this build of the app has no services"),
        "{error}"
    );
    assert!(!started.exists());
    assert!(core.urls.is_empty());
    assert!(lock(&core.receiver).is_some(), "a thread was started");
}

#[test]
fn a_mistake_is_named_in_terms_of_the_app_in_both_variants() {
    let section = json!({"services": {
        "web": {"type": "vite"},
        "api": {"type": "command", "command": ["x"], "dependsOn": ["web"]},
    }});
    for variant in [Variant::Dev, Variant::Release] {
        let Err(error) = Real::new(&section, variant).core.client() else {
            panic!("the mistake was not seen")
        };
        assert_eq!(error.kind(), "ConfigurationError");
        assert_eq!(
            error.to_string(),
            "plugins.sidecar in tauri.conf.json: 'web' names a service that a release does not have at \
             services.api.dependsOn[0]. Correct that field and build the app again."
        );
    }
}

#[test]
fn what_is_no_matter_of_the_services_is_told_in_the_sidecars_words() {
    let told = |data: Value| {
        let failure = json!({"code": -32602, "message": "said. advised.", "data": data});
        Error::Refused(serde_json::from_value(failure).unwrap())
            .in_terms_of_the_configuration()
            .to_string()
    };
    assert_eq!(
        told(json!({"path": "$.params.protocolVersion", "reason": "said."})),
        "said. advised."
    );
    assert_eq!(
        told(json!({"path": "$.params.services"})),
        "plugins.sidecar in tauri.conf.json: said. advised."
    );
}
