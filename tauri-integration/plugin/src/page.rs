//! The page that a window shows while there is nothing else to show: it loads, or it says what failed.
//!
//! The front answers every document with it, so that it is at the place that the window is to come back to. It has
//! nothing in it. It asks Tauri for what it shows, so that another user's program that connects learns nothing.

use serde::Serialize;
use serde_json::json;
use tauri::{AppHandle, Manager, Runtime, Url, WebviewWindow};

use crate::{
    models::{Holder, State},
    view::{Service, View},
};

const HTML: &str = include_str!("page.html");

/// The response to a document: not found good by a program that waits for the service, and never kept or framed. Its own
/// inline style and script, its own origin and Tauri's channel, and nothing else. Output is shown as text.
pub(crate) fn response() -> Vec<u8> {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nX-Sidecar: page\r\nContent-Type: text/html; charset=utf-8\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self' ipc: http://ipc.localhost; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{HTML}",
        HTML.len()
    )
    .into_bytes()
}

/// Has every window that shows something of this origin come to the page, at the same place.
pub(crate) fn bring<R: Runtime>(app: &AppHandle<R>, origin: &Url) {
    run_in_windows(app, &coming(origin));
}

/// The page itself hears of everything anyway.
fn coming(origin: &Url) -> String {
    let origin = json!(origin.origin().ascii_serialization());
    format!("if (location.origin === {origin} && !window.__SIDECAR_PAGE__) location.reload()")
}

/// Runs a script in every window. It has to look first where it is.
///
/// We do not ask the windows: that waits for the main thread, which may wait for an event, and they may be elsewhere by
/// the time of the script. With Tauri's feature `tracing` the script waits for the main thread, too: the caller must hold
/// no lock.
pub(crate) fn run_in_windows<R: Runtime>(app: &AppHandle<R>, script: &str) {
    for window in app.webview_windows().values() {
        report(window.eval(script));
    }
}

/// A failure that is in a window which the app would show only once its page is there.
pub(crate) fn show<R: Runtime>(window: &WebviewWindow<R>) {
    if window.is_visible().is_ok_and(|visible| !visible) {
        report(window.show());
    }
}

/// A window may be closed between being listed and being told; anything else is worth a line.
pub(crate) fn report(result: tauri::Result<()>) {
    if let Err(error) = result {
        log::warn!("sidecar: a window could not be told: {error}");
    }
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Loading,
    Ready,
    Stopped,
    Failed,
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageState {
    pub phase: Phase,
    title: String,
    message: String,
    note: String,
    lines: Vec<String>,
    elapsed_ms: u128,
}

impl PageState {
    /// `wanted` is whether the service is to run.
    pub fn new(page: Option<&str>, view: &View, wanted: bool) -> Self {
        let name = page.unwrap_or("The app");
        let service = page.and_then(|page| view.services.get(page));
        let error = service.and_then(|service| service.error.as_ref());
        let failed = service.is_some_and(|service| service.state == State::Failed);
        let mismatch = service.and_then(|service| service.mismatch.as_ref());
        let stopped = service.is_some_and(|service| matches!(service.state, State::Stopped | State::Stopping));
        let (phase, title, message) = if let Some(problem) = &view.problem {
            (Phase::Failed, "The sidecar does not run".into(), problem.to_string())
        } else if failed {
            let message = error.map(ToString::to_string).unwrap_or_default();
            (Phase::Failed, format!("{name} did not start"), message)
        } else if let Some(mismatch) = mismatch {
            (Phase::Failed, format!("{name} cannot be shown"), mismatch.clone())
        } else if service.is_some_and(|service| service.robbed) {
            let message = format!(
                "Another program listens where {name} answered, so nothing is sent there. Retry starts {name} again, on \
                 another port."
            );
            (Phase::Failed, format!("{name} has lost its port"), message)
        } else if stopped && !wanted {
            (Phase::Stopped, format!("{name} is stopped"), String::new())
        } else if service.is_some_and(|service| !service.inner.is_empty()) {
            (Phase::Ready, format!("{name} is ready"), String::new())
        } else {
            let message = service.and_then(|service| waits(name, service));
            (Phase::Loading, format!("Starting {name}"), message.unwrap_or_default())
        };
        Self {
            phase,
            title,
            message,
            note: service
                .and_then(|service| service.holder.as_ref().map(|holder| note(holder, service.port)))
                .unwrap_or_default(),
            lines: service
                .map(|service| service.lines.iter().cloned().collect())
                .unwrap_or_default(),
            elapsed_ms: service.map(|service| service.elapsed().as_millis()).unwrap_or_default(),
        }
    }
}

/// Why a service that starts is not ready yet, as far as it is known.
fn waits(name: &str, service: &Service) -> Option<String> {
    match service.waiting_for.as_slice() {
        [] => Some(format!("{name} is not ready yet: {}.", service.waiting.as_ref()?)),
        needed => Some(format!("{name} waits for {}.", needed.join(" and "))),
    }
}

/// Names the holder of the port that was wanted.
fn note((wanted, holder): &(u16, Option<Holder>), port: Option<u16>) -> String {
    let holder = match holder {
        Some(holder) => {
            let command = holder
                .command
                .as_deref()
                .unwrap_or("a process that does not say its name");
            let pid = holder.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            format!("{command}{pid}")
        }
        None => "another process".into(),
    };
    match port {
        Some(port) => format!("Port {wanted} is held by {holder}. Port {port} is used instead."),
        None => format!("Port {wanted} is held by {holder}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::Value;

    fn state(events: impl IntoIterator<Item = Value>) -> PageState {
        let mut view = View::default();
        for event in events {
            view.apply(&serde_json::from_value(event).unwrap());
        }
        PageState::new(Some("web"), &view, true)
    }

    fn starting() -> Value {
        json!({"method": "service/state", "params": {"service": "web", "state": "starting", "port": 41997}})
    }

    #[test]
    fn it_loads_until_there_is_something_else_to_say() {
        assert_eq!(state([]).phase, Phase::Loading);
        assert_eq!(state([starting()]).title, "Starting web");
    }

    #[test]
    fn it_says_what_a_slow_start_was_found_to_do() {
        let waiting = json!({"method": "service/waiting",
            "params": {"service": "web", "elapsedMs": 10000, "detail": "it listens nowhere yet"}});
        let slow = state([starting(), waiting.clone()]);
        assert_eq!(slow.phase, Phase::Loading);
        assert_eq!(slow.message, "web is not ready yet: it listens nowhere yet.");
        let backing_off = json!({"method": "service/state", "params": {"service": "web", "state": "backingOff"}});
        assert_eq!(state([starting(), waiting, backing_off, starting()]).message, "");
    }

    #[test]
    fn it_says_which_services_are_waited_for() {
        let held = json!({"method": "service/state",
            "params": {"service": "web", "state": "starting", "waitingFor": ["api", "migrate"]}});
        let state = |events: Vec<Value>| state(events).message;
        assert_eq!(state(vec![held.clone()]), "web waits for api and migrate.");
        assert_eq!(state(vec![held, starting()]), "");
    }

    #[test]
    fn it_says_what_failed_and_why() {
        let error = json!({"code": -32023, "message": "web: Vite is missing.", "data": {"kind": "ViteNotFound"}});
        let failed =
            json!({"method": "service/state", "params": {"service": "web", "state": "failed", "error": error}});
        let state = state([starting(), failed]);
        assert_eq!(state.phase, Phase::Failed);
        assert_eq!(state.message, "web: Vite is missing.");
    }

    #[test]
    fn it_says_why_there_is_no_sidecar() {
        let view = View {
            problem: Some(Error::NotFound("/app/sidecar".into())),
            ..View::default()
        };
        let state = PageState::new(None, &view, true);
        assert_eq!(state.phase, Phase::Failed);
        assert!(state.message.contains("/app/sidecar"), "{}", state.message);
    }

    #[test]
    fn it_says_that_a_service_was_stopped_only_if_it_is_to_stay_so() {
        let stopped = json!({"method": "service/state", "params": {"service": "web", "state": "stopped"}});
        let mut view = View::default();
        view.apply(&serde_json::from_value(stopped).unwrap());
        assert_eq!(PageState::new(Some("web"), &view, false).phase, Phase::Stopped);
        assert_eq!(PageState::new(Some("web"), &view, true).phase, Phase::Loading);
    }

    #[test]
    fn it_says_that_another_program_has_the_services_port() {
        let mut view = View::default();
        view.apply(&serde_json::from_value(starting()).unwrap());
        view.services.get_mut("web").unwrap().robbed = true;
        let state = PageState::new(Some("web"), &view, true);
        assert_eq!(
            (state.phase, state.title.as_str()),
            (Phase::Failed, "web has lost its port")
        );
    }

    #[test]
    fn only_windows_at_its_origin_come_to_it() {
        assert_eq!(
            coming(&"http://127.0.0.1:5173/list".parse().unwrap()),
            r#"if (location.origin === "http://127.0.0.1:5173" && !window.__SIDECAR_PAGE__) location.reload()"#
        );
    }

    #[test]
    fn its_response_is_whole_and_lets_nothing_else_in() {
        let response = String::from_utf8(response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        for needed in ["no-store", "default-src 'none'", "frame-ancestors 'none'"] {
            assert!(head.contains(needed), "{head}");
        }
    }

    #[test]
    fn it_names_the_holder_of_the_port() {
        let holder = json!({"pid": 3205, "command": "python -m http.server"});
        let changed = json!({"method": "service/portChanged",
            "params": {"service": "web", "from": 5173, "to": 41997, "holder": holder}});
        let expected = "Port 5173 is held by python -m http.server (process 3205). Port 41997 is used instead.";
        assert_eq!(state([starting(), changed]).note, expected);
    }
}
