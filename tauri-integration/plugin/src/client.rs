//! The conversation with one sidecar process: requests and their answers, and what it says unasked.
//!
//! Two threads serve it. One writes the requests: a sidecar that a debugger has stopped reads nothing, its pipe fills
//! up, and only this thread waits then. The other one reads. When either pipe ends, every caller that waits for an
//! answer wakes.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    process::{ChildStdin, ChildStdout},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
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

/// So many requests may wait until the sidecar reads them.
const UNREAD: usize = 256;

/// The sidecar ends by itself once its stdin is closed, within milliseconds; this is for a machine that is busy.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// What the sidecar says unasked.
pub(crate) enum Said {
    Event(Event),
    /// The last thing: it has closed its stdout, and why.
    Gone(String),
}

type Answer = Result<Value, Failure>;

/// The callers that wait, by the id of their request; `None` once there will be no answer.
type Pending = Mutex<Option<HashMap<u64, Sender<Answer>>>>;

/// One sidecar process. Dropping it [ends](Client::end) it.
pub(crate) struct Client {
    child: Arc<SharedChild>,
    /// The lines for its stdin, which is closed once this is gone.
    lines: Mutex<Option<SyncSender<String>>>,
    pending: Arc<Pending>,
    next: AtomicU64,
}

impl Client {
    /// Talks to a child that has pipes; `said` is called on a thread of its own.
    pub fn new(child: SharedChild, said: impl FnMut(Said) + Send + 'static) -> Self {
        let pipes = child.take_stdin().zip(child.take_stdout());
        let child = Arc::new(child);
        let pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let (sender, lines) = mpsc::sync_channel(UNREAD);
        if let Some((stdin, stdout)) = pipes {
            let unanswered = pending.clone();
            thread::spawn(move || write(stdin, &lines, &unanswered));
            let (child, pending) = (child.clone(), pending.clone());
            thread::spawn(move || listen(stdout, &child, &pending, said));
        }
        Self {
            child,
            lines: Mutex::new(Some(sender)),
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

    /// Asks; the answer comes through the channel, which is closed if the sidecar goes. Never waits.
    pub fn send(&self, method: &'static str, params: Value) -> Result<(u64, Receiver<Answer>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        let mut line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        line.push('\n');
        let mut pending = lock(&self.pending);
        let Some(waiting) = pending.as_mut() else {
            return Err(gone("it ended"));
        };
        match lock(&self.lines).as_ref().map(|lines| lines.try_send(line)) {
            Some(Ok(())) => drop(waiting.insert(id, sender)),
            Some(Err(TrySendError::Full(_))) => return Err(Error::Busy { method }),
            _ => return Err(gone("it was told to end")),
        }
        Ok((id, receiver))
    }

    /// Closes its stdin, which is the sidecar's order to end everything at once. Returns when it has ended; one that
    /// takes too long is killed.
    pub fn end(&self) {
        lock(&self.lines).take();
        // both fail only if it is gone already, which is what they are for
        if !matches!(self.child.wait_timeout(END_PATIENCE), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes until there is nothing more to write, or the sidecar takes nothing more.
fn write(mut stdin: ChildStdin, lines: &Receiver<String>, pending: &Pending) {
    for line in lines {
        if let Err(error) = stdin.write_all(line.as_bytes()) {
            log::debug!("sidecar: it takes no requests any more: {error}");
            lock(pending).take();
            return;
        }
    }
}

fn listen(stdout: ChildStdout, child: &SharedChild, pending: &Pending, mut said: impl FnMut(Said)) {
    let reason = read(stdout, pending, &mut said);
    // every caller that waits for an answer wakes
    lock(pending).take();
    // it may still be cleaning up; if it does not end, it is of no more use
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
        let _ = waiting.send(answer); // the caller may have stopped waiting
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

    /// More than a pipe holds.
    fn long() -> Value {
        json!({"text": "x".repeat(1 << 20)})
    }

    #[test]
    fn a_caller_does_not_wait_for_a_sidecar_that_reads_nothing() {
        let (client, gone) = client("exec sleep 100");
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..2 {
                let answer = client.request::<Value>("status", long(), Duration::ZERO);
                assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
            }
            drop(client);
            done.send(())
        });
        wait.recv_timeout(BOUND).unwrap();
        assert_eq!(gone.recv_timeout(BOUND).unwrap(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn so_many_requests_wait_for_a_sidecar_that_reads_nothing_and_no_more() {
        let (client, _gone) = client("exec sleep 100");
        client.send("status", long()).unwrap();
        let sent = (0..=UNREAD).map(|_| client.send("status", json!({})));
        let refused = sent.filter_map(Result::err).last();
        assert!(matches!(refused, Some(Error::Busy { method: "status" })), "{refused:?}");
    }

    #[test]
    fn a_caller_is_told_that_the_sidecar_takes_no_requests() {
        let (client, _gone) = client("exec 0<&-; exec sleep 100");
        let answer = client.request::<Value>("status", long(), BOUND);
        assert!(matches!(answer, Err(Error::Gone(_))), "{answer:?}");
    }

    #[test]
    fn a_caller_that_waits_is_told_that_there_will_be_no_answer() {
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
