//! The conversation with one sidecar process: requests and their answers, and what it says unasked.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
        Arc, Mutex, PoisonError,
    },
    thread,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use shared_child::SharedChild;

use crate::{
    error::{Error, Result},
    models::{Event, Failure, Line},
};

/// No line of the sidecar is longer: 1,000 lines of log are the most that it answers, and each is cut by it.
const LINE_MAX: u64 = 64 << 20;

/// The sidecar ends by itself once its stdin is closed, within milliseconds; this is for a machine that is busy.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// What the sidecar says unasked.
pub(crate) enum Said {
    Event(Event),
    /// The last thing: it has closed its stdout, and why.
    Gone(String),
}

type Answer = Result<Value, Failure>;

/// Who waits for which answer; `None` once there will be none.
type Pending = Mutex<Option<HashMap<u64, Sender<Answer>>>>;

/// One sidecar process. Dropping it closes its stdin, which is the sidecar's order to end everything at once.
pub(crate) struct Client {
    child: Arc<SharedChild>,
    stdin: Mutex<Option<ChildStdin>>,
    pending: Arc<Pending>,
    next: AtomicU64,
}

impl Client {
    /// Talks to a child that has pipes; `said` is called on a thread of its own.
    pub fn new(child: SharedChild, said: impl FnMut(Said) + Send + 'static) -> Self {
        let stdin = child.take_stdin();
        let stdout = child.take_stdout();
        let child = Arc::new(child);
        let pending = Arc::new(Mutex::new(Some(HashMap::new())));
        if let Some(stdout) = stdout {
            let (child, pending) = (child.clone(), pending.clone());
            thread::spawn(move || listen(stdout, &child, &pending, said));
        }
        Self {
            child,
            stdin: Mutex::new(stdin),
            pending,
            next: AtomicU64::new(1),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks, and waits for the answer.
    pub fn request<T: DeserializeOwned>(&self, method: &'static str, params: Value, bound: Duration) -> Result<T> {
        let (id, answer) = self.send(method, params)?;
        let value = match answer.recv_timeout(bound) {
            Ok(answer) => answer?,
            Err(RecvTimeoutError::Disconnected) => return Err(gone("it ended")),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(pending) = lock(&self.pending).as_mut() {
                    pending.remove(&id);
                }
                let seconds = bound.as_secs();
                return Err(Error::Timeout { method, seconds });
            }
        };
        serde_json::from_value(value).map_err(|error| Error::Protocol {
            method,
            reason: error.to_string(),
        })
    }

    /// Asks; the answer comes through the channel, which is closed if the sidecar goes.
    pub fn send(&self, method: &str, params: Value) -> Result<(u64, mpsc::Receiver<Answer>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        match lock(&self.pending).as_mut() {
            Some(pending) => pending.insert(id, sender),
            None => return Err(gone("it ended")),
        };
        let mut line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        line.push('\n');
        let mut stdin = lock(&self.stdin);
        let written = match stdin.as_mut() {
            Some(stdin) => stdin
                .write_all(line.as_bytes())
                .map_err(|error| gone(&error.to_string())),
            None => Err(gone("it was told to end")),
        };
        written.map(|()| (id, receiver))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        lock(&self.stdin).take();
        // both fail only if it is gone already, which is what they are for
        if !matches!(self.child.wait_timeout(END_PATIENCE), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn listen(stdout: ChildStdout, child: &SharedChild, pending: &Pending, mut said: impl FnMut(Said)) {
    let reason = read(stdout, pending, &mut said);
    // whoever waits for an answer, wakes
    lock(pending).take();
    // it may still be tidying up behind itself; one that does not end is of no use any more
    let ended = match child.wait_timeout(END_PATIENCE) {
        Ok(Some(status)) => status.to_string(),
        _ => {
            let _ = child.kill(); // gone in this very moment, if it fails
            "it closed its stdout and was killed".into()
        }
    };
    said(Said::Gone(reason.unwrap_or(ended)));
}

/// Reads until the end, which is no error and has no reason.
fn read(stdout: ChildStdout, pending: &Pending, said: &mut impl FnMut(Said)) -> Option<String> {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(_) if line.len() as u64 == LINE_MAX => return Some("it sent a line without end".into()),
            Ok(_) => return None,
            Err(error) => return Some(format!("its stdout could not be read: {error}")),
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Event(event)) => said(Said::Event(event)),
            Ok(Line::Result { id, result }) => answer(pending, id, Ok(result)),
            Ok(Line::Error { id: Some(id), error }) => answer(pending, id, Err(error)),
            Ok(Line::Error { id: None, error }) => log::error!("sidecar: {error}"),
            // a newer sidecar may say more than this crate knows; the rest of the conversation is still good
            Err(error) => log::warn!("sidecar: a line is not understood: {error}"),
        }
    }
}

fn answer(pending: &Pending, id: u64, answer: Answer) {
    let waiting = lock(pending).as_mut().and_then(|pending| pending.remove(&id));
    if let Some(waiting) = waiting {
        let _ = waiting.send(answer); // who asked may have stopped waiting
    }
}

fn gone(reason: &str) -> Error {
    Error::Gone(reason.into())
}

/// A thread that panicked left nothing half done behind these locks: each holds one value.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// For what must happen: far more than it takes on a busy machine.
    const BOUND: Duration = Duration::from_secs(60);

    fn client(script: &str) -> (Client, mpsc::Receiver<String>) {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let (sender, gone) = mpsc::channel();
        let said = move |said| {
            if let Said::Gone(reason) = said {
                let _ = sender.send(reason);
            }
        };
        (Client::new(SharedChild::spawn(&mut command).unwrap(), said), gone)
    }

    #[test]
    fn a_client_that_is_dropped_lets_the_sidecar_end_by_itself() {
        let (client, gone) = client("cat >/dev/null; exit 7");
        drop(client);
        assert_eq!(gone.recv_timeout(BOUND).unwrap(), "exit status: 7");
    }

    #[test]
    fn a_client_that_is_dropped_kills_a_sidecar_that_does_not_end() {
        let (client, gone) = client("exec sleep 100");
        drop(client);
        assert_eq!(gone.recv_timeout(BOUND).unwrap(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn who_waits_for_an_answer_is_told_that_there_will_be_none() {
        let (client, _gone) = client("read request; exit 7");
        let answer = client.request::<Value>("status", json!({}), BOUND);
        assert!(matches!(answer, Err(Error::Gone(_))), "{answer:?}");
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for_longer_than_asked() {
        let (client, _gone) = client("cat >/dev/null");
        let answer = client.request::<Value>("status", json!({}), Duration::ZERO);
        assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    }

    #[test]
    fn a_line_that_is_not_understood_is_skipped() {
        let script = r#"read request; echo 'no json'; echo '{"jsonrpc":"2.0","id":1,"result":42}'; cat >/dev/null"#;
        let (client, _gone) = client(script);
        assert_eq!(client.request::<u32>("status", json!({}), BOUND).unwrap(), 42);
    }
}
