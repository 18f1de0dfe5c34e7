//! What the terminal of `tauri dev` shows of the services: each line that they print, and what becomes of them.

use std::{
    collections::BTreeMap,
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::Mutex,
};

use crate::{
    client::lock,
    models::{Event, Log, State, Stream},
};

/// One for each service, in turn. Red is for failures.
const COLOURS: [&str; 6] = ["36", "33", "35", "34", "32", "96"];

const FAILURE: &str = "31";

/// Writes to stderr: what an app writes to stdout is its own.
pub(crate) struct Terminal {
    /// The services, each with its place in the colours.
    services: BTreeMap<String, usize>,
    colours: bool,
    width: usize,
    /// Each service's last state.
    states: Mutex<BTreeMap<String, State>>,
}

impl Terminal {
    /// For services of these names.
    pub fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let colours = match (set("NO_COLOR"), set("FORCE_COLOR")) {
            (Some(_), _) => false,
            (None, Some(forced)) => forced != "0",
            (None, None) => io::stderr().is_terminal(),
        };
        Self::with(names, colours)
    }

    fn with<'a>(names: impl Iterator<Item = &'a String>, colours: bool) -> Self {
        let services: BTreeMap<_, _> = names.enumerate().map(|(place, name)| (name.clone(), place)).collect();
        let width = services
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or_default();
        Self {
            services,
            colours,
            width,
            states: Mutex::default(),
        }
    }

    /// Shows an event, or nothing.
    pub fn show(&self, event: &Event) {
        let text = self.text(event);
        if !text.is_empty() {
            // a terminal that has been closed cannot be told
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Shows a line of our own about a service.
    pub fn warn(&self, service: &str, what: &str) {
        let mut text = String::new();
        self.tell(&mut text, service, FAILURE, what);
        let _ = io::stderr().lock().write_all(text.as_bytes()); // as above
    }

    /// The lines to write.
    fn text(&self, event: &Event) -> String {
        let mut text = String::new();
        match event {
            Event::Log(log) => self.output(&mut text, log),
            Event::Ready(ready) => {
                let place = ready.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
                let seconds = seconds(ready.elapsed_ms);
                self.tell(&mut text, &ready.service, "1", &format!("ready{place} after {seconds}"));
            }
            Event::State(told) => {
                let before = lock(&self.states).insert(told.service.clone(), told.state);
                let (colour, what) = match (told.state, before) {
                    (State::Failed, _) => (FAILURE, because("failed", told.error.as_ref())),
                    (State::Unhealthy, before) if before != Some(State::Unhealthy) => {
                        (FAILURE, because("does not answer", told.detail.as_ref()))
                    }
                    (State::Ready, Some(State::Unhealthy)) => ("1", "answers again".into()),
                    // a task has nothing but this; of others more is told by what follows
                    (State::Ready, _) if told.pid.is_none() => ("1", "done".into()),
                    _ => return text,
                };
                self.tell(&mut text, &told.service, colour, &what);
            }
            Event::Waiting(waiting) => {
                let what = format!("not ready after {}: {}", seconds(waiting.elapsed_ms), waiting.detail);
                self.tell(&mut text, &waiting.service, "1", &what);
            }
            Event::Restarting(told) => {
                let what = format!("{}; it is started again in {}", told.reason, seconds(told.delay_ms));
                self.tell(&mut text, &told.service, FAILURE, &what);
            }
            Event::PortChanged(moved) => {
                let what = format!("port {} is taken, so it has port {}", moved.from, moved.to);
                self.tell(&mut text, &moved.service, "1", &what);
            }
            Event::Gone(gone) => self.tell(&mut text, "sidecar", FAILURE, &gone.message),
            Event::Error(told) => self.tell(&mut text, "sidecar", FAILURE, &told.error.message),
            Event::Exited(_) | Event::Swept(_) => {}
        }
        text
    }

    fn output(&self, text: &mut String, log: &Log) {
        if log.dropped > 0 {
            let what = format!(
                "{} lines were lost here: they came faster than they could be shown",
                log.dropped
            );
            self.tell(text, &log.service, FAILURE, &what);
        }
        let bar = match log.stream {
            Stream::Stderr => "┃",
            _ => "│",
        };
        for line in &log.lines {
            self.prefix(text, &log.service, bar);
            text.extend(line.chars().map(visible));
            text.push('\n');
        }
    }

    /// A line of our own.
    fn tell(&self, text: &mut String, service: &str, colour: &str, what: &str) {
        self.prefix(text, service, "»");
        let what = what.lines().collect::<Vec<_>>().join(" ");
        let what: String = what.chars().map(visible).collect();
        match self.colours {
            true => text.push_str(&format!("\x1b[{colour}m{what}\x1b[0m\n")),
            false => text.push_str(&format!("{what}\n")),
        }
    }

    fn prefix(&self, text: &mut String, service: &str, bar: &str) {
        let (name, width) = (service, self.width);
        match self.services.get(service).filter(|_| self.colours) {
            Some(place) => {
                let colour = COLOURS[place % COLOURS.len()];
                text.push_str(&format!("\x1b[{colour}m{name:<width$} {bar}\x1b[0m "));
            }
            None => text.push_str(&format!("{name:<width$} {bar} ")),
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Terminal").finish_non_exhaustive()
    }
}

/// What a service prints may not steer the terminal, nor turn the order of its letters around.
fn visible(letter: char) -> char {
    match letter {
        '\t' => '\t',
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

fn because(what: &str, reason: Option<&impl fmt::Display>) -> String {
    reason.map_or_else(|| what.into(), |reason| format!("{what}: {reason}"))
}

/// A time for people.
fn seconds(ms: u64) -> String {
    let tenths = (ms / 50).div_ceil(2); // rounded
    match ms {
        0..=999 => format!("{ms} ms"),
        _ => format!("{}.{} s", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn terminal(colours: bool) -> Terminal {
        Terminal::with(["api".to_string(), "migrate".to_string()].iter(), colours)
    }

    fn shown(terminal: &Terminal, method: &str, params: Value) -> String {
        terminal.text(&serde_json::from_value(json!({"method": method, "params": params})).unwrap())
    }

    #[test]
    fn each_line_has_its_service_and_stream_before_it() {
        let terminal = terminal(false);
        let log = |stream| json!({"service": "api", "stream": stream, "lines": ["one", "two"], "dropped": 0, "seq": 1});
        assert_eq!(
            shown(&terminal, "service/log", log("stdout")),
            "api     │ one\napi     │ two\n"
        );
        assert_eq!(
            shown(&terminal, "service/log", log("stderr")),
            "api     ┃ one\napi     ┃ two\n"
        );
    }

    #[test]
    fn services_differ_in_colour_and_a_failure_is_red() {
        let terminal = terminal(true);
        let log = |name| json!({"service": name, "stream": "stdout", "lines": ["x"], "dropped": 0, "seq": 1});
        assert_eq!(
            shown(&terminal, "service/log", log("api")),
            "\x1b[36mapi     │\x1b[0m x\n"
        );
        assert_eq!(
            shown(&terminal, "service/log", log("migrate")),
            "\x1b[33mmigrate │\x1b[0m x\n"
        );
        let error = json!({"code": 1, "message": "It ended.\nSee above."});
        let failed = json!({"service": "api", "state": "failed", "error": error});
        let text = shown(&terminal, "service/state", failed);
        assert!(
            text.ends_with("\x1b[31mfailed: It ended. See above.\x1b[0m\n"),
            "{text:?}"
        );
    }

    #[test]
    fn what_becomes_of_a_service_is_one_line() {
        let terminal = terminal(false);
        let state = |name: &str, more: Value| {
            let mut params = json!({"service": name});
            params
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            shown(&terminal, "service/state", params)
        };
        assert_eq!(state("migrate", json!({"state": "starting", "pid": 7})), "");
        assert_eq!(state("migrate", json!({"state": "ready"})), "migrate » done\n");
        assert_eq!(state("api", json!({"state": "ready", "pid": 8})), "");
        let ready = json!({"service": "api", "url": "http://127.0.0.1:8000/", "host": "127.0.0.1", "port": 8000,
            "pid": 8, "elapsedMs": 1234});
        assert_eq!(
            shown(&terminal, "service/ready", ready),
            "api     » ready at http://127.0.0.1:8000/ after 1.2 s\n"
        );
        let unhealthy = json!({"state": "unhealthy", "pid": 8, "detail": "nothing listens"});
        assert_eq!(
            state("api", unhealthy.clone()),
            "api     » does not answer: nothing listens\n"
        );
        assert_eq!(state("api", unhealthy), "");
        assert_eq!(
            state("api", json!({"state": "ready", "pid": 8})),
            "api     » answers again\n"
        );
        let again = json!({"service": "api", "attempt": 1, "delayMs": 250, "reason": "exit code 3"});
        assert_eq!(
            shown(&terminal, "service/restarting", again),
            "api     » exit code 3; it is started again in 250 ms\n"
        );
    }

    #[test]
    fn a_time_is_shown_in_milliseconds_or_tenths_of_a_second() {
        for (ms, shown) in [
            (999, "999 ms"),
            (1000, "1.0 s"),
            (1249, "1.2 s"),
            (1250, "1.3 s"),
            (59_950, "60.0 s"),
            (u64::MAX, "18446744073709551.6 s"),
        ] {
            assert_eq!(seconds(ms), shown);
        }
    }

    #[test]
    fn no_control_of_the_direction_of_text_gets_through() {
        let controls = [
            "61c", "200e", "200f", "202a", "202b", "202c", "202d", "202e", "2066", "2067", "2068", "2069",
        ];
        for control in controls {
            let control = char::from_u32(u32::from_str_radix(control, 16).unwrap()).unwrap();
            assert_eq!(visible(control), char::REPLACEMENT_CHARACTER, "{control:?}");
        }
    }

    #[test]
    fn output_does_not_steer_the_terminal() {
        let hostile = json!({"service": "api", "stream": "stdout", "lines": ["a\u{1b}]0;x\u{7}\u{202e}\tb"],
            "dropped": 3, "seq": 1});
        let text = shown(&terminal(false), "service/log", hostile);
        let (lost, line) = text.split_once('\n').unwrap();
        assert!(lost.contains("3 lines were lost"), "{lost}");
        assert_eq!(line, "api     │ a\u{fffd}]0;x\u{fffd}\u{fffd}\tb\n");
    }
}
