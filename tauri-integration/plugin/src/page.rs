//! The page that the window shows while there is nothing else to show: it loads, or it says what failed.
//!
//! It is served by a URI scheme of the plugin's own and asks that scheme for everything, so it needs no permission.

use std::sync::Arc;

use serde::Serialize;
use tauri::{
    http::{header, Method, Request, Response, StatusCode},
    Url,
};

use crate::{
    core::Core,
    models::{Holder, State},
    view::View,
};

/// The scheme's name.
pub(crate) const SCHEME: &str = "sidecar";

const HTML: &str = include_str!("page.html");

/// Its own inline style and script, its own scheme, and Tauri's channel: nothing else. Output is shown as text.
const CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                   connect-src 'self' sidecar: http://sidecar.localhost https://sidecar.localhost \
                   ipc: http://ipc.localhost";

/// The page's address. WebView2 knows custom schemes as hosts of http.
pub(crate) fn url() -> Url {
    let url = if cfg!(windows) {
        "http://sidecar.localhost/"
    } else {
        "sidecar://localhost/"
    };
    url.parse().expect("it is a constant")
}

/// Whether a window shows the page.
pub(crate) fn is_page(url: &Url) -> bool {
    url.scheme() == SCHEME || url.domain() == Some("sidecar.localhost")
}

/// Answers a request to the scheme; `destination` is where its window goes if the service answers there.
pub(crate) fn serve(
    core: &Arc<Core>,
    request: &Request<Vec<u8>>,
    destination: impl FnOnce(&Url) -> Url,
) -> Response<Vec<u8>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/state") => {
            let mut state = core.look(|view| PageState::new(core.config.page(), view));
            state.url = state.url.as_ref().map(destination);
            let body = serde_json::to_vec(&state).expect("it has string keys only");
            answer(StatusCode::OK, "application/json", body)
        }
        (&Method::POST, "/retry") => {
            let core = core.clone();
            std::thread::spawn(move || core.start_all());
            answer(StatusCode::ACCEPTED, "text/plain", Vec::new())
        }
        (&Method::GET, "/") => answer(StatusCode::OK, "text/html; charset=utf-8", HTML.into()),
        _ => answer(StatusCode::NOT_FOUND, "text/plain", Vec::new()),
    }
}

fn answer(status: StatusCode, kind: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::CONTENT_SECURITY_POLICY, CSP)
        .body(body)
        .expect("its parts are constants")
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Loading,
    Ready,
    Failed,
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageState {
    phase: Phase,
    title: String,
    message: String,
    note: String,
    lines: Vec<String>,
    elapsed_ms: u128,
    url: Option<Url>,
}

impl PageState {
    fn new(page: Option<&str>, view: &View) -> Self {
        let name = page.unwrap_or("The app");
        let service = page.and_then(|page| view.services.get(page));
        let error = service.and_then(|service| service.error.as_ref());
        let failed = service.is_some_and(|service| service.state == State::Failed);
        let url = service.and_then(|service| service.url.as_deref()?.parse().ok());
        let (phase, title, message) = if let Some(problem) = &view.problem {
            (Phase::Failed, "The sidecar does not run".into(), problem.to_string())
        } else if failed {
            let message = error.map(ToString::to_string).unwrap_or_default();
            (Phase::Failed, format!("{name} did not start"), message)
        } else if url.is_some() {
            (Phase::Ready, format!("{name} is ready"), String::new())
        } else {
            let waiting = service.and_then(|service| service.waiting.as_ref());
            let message = waiting.map(|detail| format!("{name} is not ready yet: {detail}."));
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
            url,
        }
    }
}

/// Who has the port that was wanted.
fn note((wanted, holder): &(u16, Option<Holder>), port: Option<u16>) -> String {
    let who = match holder {
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
        Some(port) => format!("Port {wanted} is held by {who}. Port {port} is used instead."),
        None => format!("Port {wanted} is held by {who}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{json, Value};

    fn state(events: impl IntoIterator<Item = Value>) -> PageState {
        let mut view = View::default();
        for event in events {
            view.apply(&serde_json::from_value(event).unwrap());
        }
        PageState::new(Some("web"), &view)
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
        let state = PageState::new(None, &view);
        assert_eq!(state.phase, Phase::Failed);
        assert!(state.message.contains("/app/sidecar"), "{}", state.message);
    }

    #[test]
    fn it_names_who_holds_the_port() {
        let holder = json!({"pid": 3205, "command": "python -m http.server"});
        let changed = json!({"method": "service/portChanged",
            "params": {"service": "web", "from": 5173, "to": 41997, "holder": holder}});
        let expected = "Port 5173 is held by python -m http.server (process 3205). Port 41997 is used instead.";
        assert_eq!(state([starting(), changed]).note, expected);
    }
}
