//! What is known of the services, kept up to date by the sidecar's notifications.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{SocketAddr, ToSocketAddrs},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    models::{Event, Failure, Holder, Ready, State},
};

/// Where a service itself answers, behind its address.
#[derive(Debug, Clone)]
pub(crate) struct Inner {
    addresses: Vec<SocketAddr>,
    /// Why the address cannot be used for it, for people.
    mismatch: Option<String>,
}

impl Inner {
    /// `address` is the one that the app holds for it.
    pub fn of(ready: &Ready, address: &tauri::Url) -> Self {
        let url = ready.url.as_deref().and_then(|url| url.parse::<tauri::Url>().ok());
        let host = url.as_ref().and_then(tauri::Url::host_str).map(bare);
        let host = host.or(ready.host.as_deref());
        let port = url.as_ref().and_then(tauri::Url::port_or_known_default).or(ready.port);
        let addresses = host.zip(port).and_then(|place| place.to_socket_addrs().ok());
        let scheme = url.as_ref().map_or(address.scheme(), tauri::Url::scheme);
        let mismatch = (scheme != address.scheme()).then(|| {
            let mut wanted = address.clone();
            // both are schemes of the web, between which a URL may change
            let _ = wanted.set_scheme(scheme);
            format!(
                "{} answers by {scheme}, and the windows were told {address}. Set build.devUrl in tauri.conf.json to \
                 \"{wanted}\", and see that this system trusts its certificate. Or let it answer by {}.",
                ready.service,
                address.scheme(),
            )
        });
        Self {
            addresses: addresses.map(Iterator::collect).unwrap_or_default(),
            mismatch,
        }
    }
}

/// A host as the system knows it: URLs write IPv6 in brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// So many last lines of output are shown on the loading page and on the failure page.
const LINES: usize = 40;

/// One service, as last heard of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    pub state: State,
    pub url: Option<String>,
    pub port: Option<u16>,
    /// Where the service itself answers, if it does.
    pub inner: Vec<SocketAddr>,
    /// Why its address cannot be used, if it answers.
    pub mismatch: Option<String>,
    /// Whether another program listens where the service answered.
    pub robbed: bool,
    pub error: Option<Failure>,
    /// The port that was wanted, and its holder.
    pub holder: Option<(u16, Option<Holder>)>,
    /// Why it is not ready yet, as far as the sidecar knows.
    pub waiting: Option<String>,
    /// The services that it depends on and that are not ready yet.
    pub waiting_for: Vec<String>,
    pub lines: VecDeque<String>,
    since: Option<Instant>,
}

impl Service {
    fn lose_address(&mut self) {
        self.url = None;
        self.inner.clear();
        self.mismatch = None;
        self.robbed = false;
    }

    /// How long it has been on its way to ready.
    pub fn elapsed(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

/// Everything known.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub services: BTreeMap<String, Service>,
    /// Why there is no sidecar, if there is none and none is coming.
    pub problem: Option<Error>,
}

impl View {
    /// Where a service answers, if it is ready. Where an unhealthy one answered, another program may listen.
    pub fn url(&self, service: &str) -> Option<&str> {
        let service = self.services.get(service)?;
        service.url.as_deref().filter(|_| service.state == State::Ready)
    }

    /// Takes up where the service itself answers, after [`Event::Ready`], which tells its address only.
    pub fn answers_at(&mut self, service: &str, inner: Inner) {
        let service = self.service(service);
        service.inner = inner.addresses;
        service.mismatch = inner.mismatch;
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::State(told) => {
                let service = self.service(&told.service);
                let anew = told.state == State::Starting && service.state != State::Starting;
                if anew {
                    service.since = Some(Instant::now());
                }
                if anew && matches!(service.state, State::Stopped | State::Failed) {
                    service.lines.clear();
                }
                if told.state != State::Starting || service.state != State::Starting {
                    service.waiting = None;
                }
                service.state = told.state;
                service.port = told.port;
                service.waiting_for.clone_from(&told.waiting_for);
                service.error.clone_from(&told.error);
                if !matches!(told.state, State::Ready | State::Unhealthy) {
                    service.lose_address();
                }
            }
            Event::Waiting(told) => self.service(&told.service).waiting = Some(told.detail.clone()),
            Event::Ready(told) => self.service(&told.service).url.clone_from(&told.url),
            Event::Log(told) => {
                let lines = &mut self.service(&told.service).lines;
                lines.extend(told.lines.iter().rev().take(LINES).rev().cloned());
                lines.drain(..lines.len().saturating_sub(LINES));
            }
            Event::PortChanged(told) => self.service(&told.service).holder = Some((told.from, told.holder.clone())),
            Event::Gone(_) => {
                for service in self.services.values_mut() {
                    service.state = State::Stopped;
                    service.port = None;
                    service.waiting_for.clear();
                    service.lose_address();
                }
            }
            Event::Exited(_) | Event::Restarting(_) | Event::Swept(_) | Event::Error(_) => {}
        }
    }

    fn service(&mut self, name: &str) -> &mut Service {
        self.services.entry(name.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn view(events: impl IntoIterator<Item = Value>) -> View {
        let mut view = View::default();
        for event in events {
            view.apply(&serde_json::from_value(event).unwrap());
        }
        view
    }

    fn state(state: &str) -> Value {
        json!({"method": "service/state", "params": {"service": "web", "state": state}})
    }

    fn ready() -> Value {
        json!({"method": "service/ready", "params": {
            "service": "web", "url": "http://127.0.0.1:1/", "host": "127.0.0.1", "port": 1, "pid": 2, "elapsedMs": 3}})
    }

    fn inner(url: &str, address: &str) -> Inner {
        let told = json!({"service": "web", "url": url, "host": "127.0.0.1", "port": 41997, "pid": 1, "elapsedMs": 1});
        Inner::of(&serde_json::from_value(told).unwrap(), &address.parse().unwrap())
    }

    #[test]
    fn a_service_is_found_behind_its_address() {
        let found = inner("http://127.0.0.1:41997/app/", "http://127.0.0.1:5173/");
        assert_eq!(found.addresses, ["127.0.0.1:41997".parse().unwrap()]);
        assert!(found.mismatch.is_none());
        let six = inner("https://[::1]:41997/", "https://127.0.0.1:5173/");
        assert_eq!(six.addresses, ["[::1]:41997".parse().unwrap()]);
        assert!(six.mismatch.is_none());
    }

    #[test]
    fn a_service_of_another_scheme_says_what_to_set() {
        let mismatch = inner("https://127.0.0.1:41997/", "http://127.0.0.1:5173/")
            .mismatch
            .unwrap();
        assert!(
            mismatch.contains(r#"build.devUrl in tauri.conf.json to "https://127.0.0.1:5173/""#),
            "{mismatch}"
        );
    }

    #[test]
    fn a_service_has_a_url_while_it_answers() {
        assert_eq!(view([state("ready"), ready()]).url("web"), Some("http://127.0.0.1:1/"));
        assert_eq!(
            view([state("ready"), ready(), state("unhealthy")]).url("web"),
            None,
            "another program may listen there"
        );
        assert_eq!(
            view([state("ready"), ready(), state("unhealthy"), state("ready")]).url("web"),
            Some("http://127.0.0.1:1/")
        );
        assert_eq!(view([state("ready"), ready(), state("stopping")]).url("web"), None);
        let gone = json!({"method": "sidecar/gone", "params": {"message": "", "restarting": true}});
        assert_eq!(view([state("ready"), ready(), gone]).url("web"), None);
    }

    #[test]
    fn the_last_lines_are_kept_until_it_is_started_anew() {
        let lines: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let log = json!({"method": "service/log", "params": {"service": "web", "stream": "stdout", "lines": lines}});
        let kept = |view: &View| view.services["web"].lines.iter().cloned().collect::<Vec<_>>();
        let failed = view([state("starting"), log.clone(), log, state("failed")]);
        assert_eq!(kept(&failed), lines[60..]);
        let mut again = failed;
        again.apply(&serde_json::from_value(state("starting")).unwrap());
        assert!(kept(&again).is_empty());
    }
}
