//! What is known of the services, kept up to date by the sidecar's notifications.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    models::{Event, Failure, Holder, State},
};

/// So many last lines of output are shown on the loading page and on the failure page.
const LINES: usize = 40;

/// One service, as last heard of.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub state: State,
    pub url: Option<String>,
    pub port: Option<u16>,
    pub error: Option<Failure>,
    /// The port that was wanted, and who has it.
    pub holder: Option<(u16, Option<Holder>)>,
    /// Why it is not ready yet, as far as the sidecar knows.
    pub waiting: Option<String>,
    pub lines: VecDeque<String>,
    since: Instant,
}

impl Service {
    fn new() -> Self {
        Self {
            state: State::Stopped,
            url: None,
            port: None,
            error: None,
            holder: None,
            waiting: None,
            lines: VecDeque::new(),
            since: Instant::now(),
        }
    }

    /// How long it has been on its way to ready.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
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
    /// Where a service answers, if it does.
    pub fn url(&self, service: &str) -> Option<&str> {
        self.services.get(service)?.url.as_deref()
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::State(told) => {
                let service = self.service(&told.service);
                let anew = told.state == State::Starting && service.state != State::Starting;
                if anew {
                    service.since = Instant::now();
                }
                if anew && matches!(service.state, State::Stopped | State::Failed) {
                    service.lines.clear();
                    service.holder = None;
                }
                if told.state != State::Starting || service.state != State::Starting {
                    service.waiting = None;
                }
                service.state = told.state;
                service.port = told.port;
                service.error.clone_from(&told.error);
                if !matches!(told.state, State::Ready | State::Unhealthy) {
                    service.url = None;
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
                    service.url = None;
                    service.port = None;
                }
            }
            Event::Exited(_) | Event::Restarting(_) | Event::Swept(_) | Event::Error(_) => {}
        }
    }

    fn service(&mut self, name: &str) -> &mut Service {
        self.services.entry(name.into()).or_insert_with(Service::new)
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

    #[test]
    fn a_service_has_a_url_while_it_answers() {
        assert_eq!(view([state("ready"), ready()]).url("web"), Some("http://127.0.0.1:1/"));
        assert_eq!(
            view([state("ready"), ready(), state("unhealthy")]).url("web"),
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
