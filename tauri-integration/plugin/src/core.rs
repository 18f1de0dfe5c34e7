//! Keeps one sidecar running, remembers what it says, and tells whoever listens. Knows nothing of windows.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
        Arc, Condvar, Mutex, PoisonError, Weak,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::{lock, Client, Said},
    config::Config,
    error::{Error, Result},
    models::{Event, Gone, Initialized, Program as Peer, PROTOCOL_VERSION},
    process::Program,
    view::View,
};

/// A frozen binary unpacks itself first, on a slow disk and under a virus scanner too.
const INITIALIZE_PATIENCE: Duration = Duration::from_secs(30);

/// What services get to end in an orderly way when the app quits: a user who quits does not wait longer.
const GRACE: Duration = Duration::from_secs(2);

/// Above the grace: the sidecar kills what is left then, and answers.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(4);

/// A sidecar that ends so often within the window is not started again unasked.
const RELAUNCHES: usize = 5;
const RELAUNCH_WINDOW: Duration = Duration::from_secs(60);

/// Before the first relaunch, and doubled for each further one.
const RELAUNCH_DELAY: Duration = Duration::from_millis(100);

/// So many batches of output may wait for listeners that are slow; more are dropped, and counted.
const LOGS_WAITING: usize = 256;

type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// What one sidecar process said; `0` is its number.
struct Item(u64, Said);

pub(crate) struct Core {
    pub config: Config,
    program: Program,
    /// Held while a sidecar is being started, so that there is never a second one.
    starting: Mutex<()>,
    /// The sidecar that runs, with its number.
    current: Mutex<Option<(u64, Arc<Client>)>>,
    number: AtomicU64,
    /// What has to run: started again with a sidecar that had to be started again.
    wanted: Mutex<BTreeSet<String>>,
    closing: AtomicBool,
    /// Whether the app is set up.
    runs: AtomicBool,
    ends: Mutex<VecDeque<Instant>>,
    view: Mutex<View>,
    changed: Condvar,
    listeners: Mutex<Vec<Listener>>,
    sender: Sender<Item>,
    logs_waiting: Arc<AtomicUsize>,
}

impl Core {
    /// Starts nothing yet. A configuration that is wrong becomes the problem that the page shows.
    pub fn new(config: Result<Config>, program: Program) -> Arc<Self> {
        let (config, problem) = match config {
            Ok(config) => (config, None),
            Err(error) => (Config::empty(), Some(error)),
        };
        let (sender, receiver) = mpsc::channel();
        let core = Arc::new(Self {
            config,
            program,
            starting: Mutex::default(),
            current: Mutex::default(),
            number: AtomicU64::new(0),
            wanted: Mutex::default(),
            closing: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            ends: Mutex::default(),
            view: Mutex::new(View {
                problem,
                ..View::default()
            }),
            changed: Condvar::new(),
            listeners: Mutex::default(),
            sender,
            logs_waiting: Arc::default(),
        });
        let weak = Arc::downgrade(&core);
        thread::spawn(move || dispatch(&weak, &receiver));
        core
    }

    /// The sidecar that runs; it is started if none does.
    pub fn client(self: &Arc<Self>) -> Result<Arc<Client>> {
        let _one_at_a_time = lock(&self.starting);
        if let Some((_, client)) = &*lock(&self.current) {
            return Ok(client.clone());
        }
        if self.config.services.is_empty() {
            let problem = lock(&self.view).problem.clone();
            return Err(problem.unwrap_or_else(|| Error::Config("this build of the app has no services".into())));
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(self.program.spawn()?, self.inbox(number)));
        let params = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "client": Peer { name: "tauri-plugin-sidecar".into(), version: env!("CARGO_PKG_VERSION").into() },
            "services": self.config.services,
        });
        let answer: Initialized = client
            .request("initialize", params, INITIALIZE_PATIENCE)
            .map_err(in_terms_of_the_configuration)?;
        log::debug!("sidecar {} is process {}", answer.server.version, answer.pid);
        if self.closing.load(Ordering::SeqCst) {
            return Err(Error::Gone("the app is quitting".into()));
        }
        lock(&self.view).problem = None;
        *lock(&self.current) = Some((number, client.clone()));
        Ok(client)
    }

    /// Starts what is configured, without waiting for it; that there is no sidecar is told as `Gone`.
    pub fn start_all(self: &Arc<Self>) {
        lock(&self.wanted).extend(self.config.services.keys().cloned());
        self.start_wanted();
    }

    /// As [`Core::start_all`], for what is wanted now.
    pub fn start_wanted(self: &Arc<Self>) {
        let wanted = lock(&self.wanted).clone();
        let started = self.client().and_then(|client| {
            wanted
                .iter()
                .try_for_each(|service| client.send("start", json!({"service": service})).map(drop))
        });
        if let Err(error) = started {
            self.give_up(error);
        }
    }

    pub fn want(&self, service: &str, wanted: bool) {
        match wanted {
            true => lock(&self.wanted).insert(service.into()),
            false => lock(&self.wanted).remove(service),
        };
    }

    /// Ends everything in an orderly way, within a bound; what is not gone then is killed by the sidecar, at its end.
    pub fn shutdown(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let Some((_, client)) = lock(&self.current).take() else {
            return;
        };
        let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        let answer = client.request::<serde_json::Value>("shutdown", json!({"graceMs": grace}), SHUTDOWN_PATIENCE);
        if let Err(error) = answer {
            log::warn!("the sidecar is closed the hard way: {error}");
        }
    }

    /// To be told once, when the app is set up.
    pub fn app_runs(&self) {
        self.runs.store(true, Ordering::SeqCst);
    }

    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::SeqCst)
    }

    pub fn pid(&self) -> Option<u32> {
        lock(&self.current).as_ref().map(|(_, client)| client.pid())
    }

    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        lock(&self.listeners).push(Arc::new(listener));
    }

    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&lock(&self.view))
    }

    /// Waits until `done` answers something, at most so long.
    pub fn wait<T>(&self, bound: Duration, mut done: impl FnMut(&View) -> Option<T>) -> Option<T> {
        let mut answer = None;
        let _view = self
            .changed
            .wait_timeout_while(lock(&self.view), bound, |view| {
                answer = done(view);
                answer.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        answer
    }

    /// Where one sidecar's words go. It drops output that nobody takes, and nothing else, and never waits.
    fn inbox(&self, number: u64) -> impl FnMut(Said) + Send + 'static {
        let (sender, waiting) = (self.sender.clone(), self.logs_waiting.clone());
        let mut dropped = 0;
        move |mut said| {
            if let Said::Event(Event::Log(log)) = &mut said {
                if waiting.load(Ordering::Relaxed) >= LOGS_WAITING {
                    dropped += log.dropped + log.lines.len() as u64;
                    return;
                }
                log.dropped += std::mem::take(&mut dropped);
                waiting.fetch_add(1, Ordering::Relaxed);
            }
            let _ = sender.send(Item(number, said)); // nobody is there any more: the app is quitting
        }
    }

    fn tell(&self, event: &Event) {
        lock(&self.view).apply(event);
        self.changed.notify_all();
        let listeners = lock(&self.listeners).clone();
        for listener in listeners {
            listener(event);
        }
    }

    fn give_up(&self, error: Error) {
        if self.closing.load(Ordering::SeqCst) {
            return;
        }
        let message = error.to_string();
        log::error!("{message}");
        lock(&self.view).problem = Some(error);
        let restarting = false;
        self.tell(&Event::Gone(Gone { message, restarting }));
    }

    /// The sidecar was killed, or crashed: the next one sweeps what it left, and starts what has to run.
    fn lost(self: &Arc<Self>, number: u64, reason: String) {
        {
            let mut current = lock(&self.current);
            if current.as_ref().map(|(running, _)| *running) != Some(number) {
                return; // it was asked to end, or was never taken into service
            }
            *current = None;
        }
        let attempt = self.relaunches();
        if attempt > RELAUNCHES {
            return self.give_up(Error::Gone(format!("{reason}, for the {attempt}th time in a minute")));
        }
        let message = format!("The sidecar ended ({reason}). It is started again.");
        log::warn!("{message}");
        let restarting = true;
        self.tell(&Event::Gone(Gone { message, restarting }));
        thread::sleep(RELAUNCH_DELAY * (1 << (attempt - 1)));
        if !self.closing.load(Ordering::SeqCst) {
            self.start_wanted();
        }
    }

    /// How many relaunches, this one included, the window holds.
    fn relaunches(&self) -> usize {
        let mut ends = lock(&self.ends);
        ends.push_back(Instant::now());
        while ends.front().is_some_and(|end| end.elapsed() > RELAUNCH_WINDOW) {
            ends.pop_front();
        }
        ends.len()
    }
}

/// Listeners are called here, so that one which asks the sidecar something does not wait for itself.
fn dispatch(core: &Weak<Core>, inbox: &Receiver<Item>) {
    while let Ok(Item(number, said)) = inbox.recv() {
        let Some(core) = core.upgrade() else { return };
        match said {
            Said::Event(event) => {
                if matches!(event, Event::Log(_)) {
                    core.logs_waiting.fetch_sub(1, Ordering::Relaxed);
                }
                core.tell(&event);
            }
            Said::Gone(reason) => core.lost(number, reason),
        }
    }
}

/// The sidecar names the place in its own request; here that is a place in `tauri.conf.json`.
fn in_terms_of_the_configuration(error: Error) -> Error {
    match error {
        Error::Refused(failure) if failure.kind() == "InvalidParams" => Error::Config(
            failure
                .message
                .replace("$.params.services", "services")
                .replace("send the request again", "build the app again"),
        ),
        other => other,
    }
}
