//! Keeps one sidecar running, remembers what it says, and tells the listeners. Knows nothing of windows.

mod asked;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
        Arc, Mutex, Weak,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tauri::Url;

use crate::{
    client::{lock, Client, Said},
    config::Config,
    error::{Error, Result},
    front::Open,
    models::{Event, Gone, Initialized, Program as Peer, PROTOCOL_VERSION},
    news::News,
    origins, outward,
    process::Program,
    view::{Inner, View},
};

/// A frozen binary unpacks itself first, on a slow disk and under a virus scanner too.
const INITIALIZE_PATIENCE: Duration = Duration::from_secs(30);

/// How long services may take to end in an orderly way when the app quits. The user waits so long at most.
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

type Listener = (u64, Arc<dyn Fn(&Event) + Send + Sync>);

/// What one sidecar process said; `0` is its number.
struct Item(u64, Said);

pub(crate) struct Core {
    pub config: Config,
    /// The address of each service that listens, for all but the service itself.
    pub urls: BTreeMap<String, Url>,
    /// The addresses, once they are served.
    fronts: Mutex<Vec<Open>>,
    program: Program,
    /// Held while a sidecar is being started, so that there is never a second one.
    starting: Mutex<()>,
    /// The sidecar that runs, with its number.
    current: Mutex<Option<(u64, Arc<Client>)>>,
    /// The sidecar that was started and has not answered `initialize` yet. If both are locked, `current` comes first.
    launching: Mutex<Option<Arc<Client>>>,
    /// The number of the last sidecar or listener.
    number: AtomicU64,
    /// Whether a retry is under way: there is one at a time.
    retrying: AtomicBool,
    /// What has to run, of the app's services: started again with a sidecar that had to be started again.
    wanted: Mutex<BTreeSet<String>>,
    closing: AtomicBool,
    /// Held while everything is ended, so that no caller of [`Core::shutdown`] returns earlier than another.
    ending: Mutex<()>,
    /// Whether the app is set up.
    runs: AtomicBool,
    ends: Mutex<VecDeque<Instant>>,
    pub news: News,
    listeners: Mutex<Vec<Listener>>,
    sender: Sender<Item>,
    /// Until the first sidecar is started: without one there is nothing to dispatch.
    receiver: Mutex<Option<Receiver<Item>>>,
    logs_waiting: Arc<AtomicUsize>,
}

impl Core {
    /// Starts nothing yet.
    pub fn new(config: Config, problem: Option<Error>, urls: BTreeMap<String, Url>, program: Program) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel();
        Arc::new(Self {
            config,
            urls,
            fronts: Mutex::default(),
            program,
            starting: Mutex::default(),
            current: Mutex::default(),
            launching: Mutex::default(),
            number: AtomicU64::new(0),
            retrying: AtomicBool::new(false),
            wanted: Mutex::default(),
            closing: AtomicBool::new(false),
            ending: Mutex::default(),
            runs: AtomicBool::new(false),
            ends: Mutex::default(),
            news: News::new(View {
                problem,
                ..View::default()
            }),
            listeners: Mutex::default(),
            sender,
            receiver: Mutex::new(Some(receiver)),
            logs_waiting: Arc::default(),
        })
    }

    /// The sidecar that runs; it is started if none does.
    pub fn client(self: &Arc<Self>) -> Result<Arc<Client>> {
        let _one_at_a_time = lock(&self.starting);
        if let Some((_, client)) = &*lock(&self.current) {
            return Ok(client.clone());
        }
        if self.config.services.is_empty() {
            let problem = self.news.look(|view| view.problem.clone());
            return Err(problem.unwrap_or_else(|| Error::Config("this build of the app has no services".into())));
        }
        if let Some(receiver) = lock(&self.receiver).take() {
            let weak = Arc::downgrade(self);
            thread::spawn(move || dispatch(&weak, &receiver));
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let client = {
            // under one lock: a shutdown finds this sidecar, or none is started
            let mut launching = lock(&self.launching);
            self.refuse_if_closing()?;
            let client = Arc::new(Client::new(self.program.spawn()?, self.inbox(number)));
            launching.insert(client).clone()
        };
        let params = json!({
            "protocolVersion": PROTOCOL_VERSION,
            "client": Peer { name: "tauri-plugin-sidecar".into(), version: env!("CARGO_PKG_VERSION").into() },
            "variant": self.config.variant,
            "origins": self.kept_origins(),
            "services": self.config.told(|name| self.urls.contains_key(name), origins::free_port),
        });
        let answer: Initialized = match client.request("initialize", params, INITIALIZE_PATIENCE) {
            Ok(answer) => answer,
            Err(error) => {
                let pid = client.pid();
                client.end(); // a shutdown may hold it, too
                lock(&self.launching).take();
                return Err(self.program.explain(error.in_terms_of_the_configuration(), pid));
            }
        };
        log::debug!("sidecar {} is process {}", answer.server.version, answer.pid);
        self.news.change(|view| view.problem = None);
        // under one lock: a shutdown finds this sidecar, or it is found here
        let mut current = lock(&self.current);
        self.refuse_if_closing()?;
        *current = Some((number, client.clone()));
        lock(&self.launching).take();
        Ok(client)
    }

    /// The origins of the services, for what they are told of each other.
    fn kept_origins(&self) -> BTreeMap<&String, String> {
        let urls = self.urls.iter();
        urls.map(|(name, url)| (name, url.origin().ascii_serialization()))
            .collect()
    }

    fn refuse_if_closing(&self) -> Result<()> {
        match self.closing.load(Ordering::SeqCst) {
            true => Err(Error::Gone("the app is quitting".into())),
            false => Ok(()),
        }
    }

    /// Keeps an address open until the app quits.
    pub fn keep(&self, front: Open) {
        lock(&self.fronts).push(front);
    }

    /// The sidecar that runs, if one does.
    pub fn running(&self) -> Option<Arc<Client>> {
        lock(&self.current).as_ref().map(|(_, client)| client.clone())
    }

    /// Whether there is such a service.
    pub fn has(&self, service: &str) -> bool {
        self.config.services.contains_key(service)
    }

    /// Starts all services, without waiting for them. If there is no sidecar, the listeners get [`Event::Gone`].
    pub fn start_all(self: &Arc<Self>) {
        lock(&self.wanted).extend(self.config.services.keys().cloned());
        self.start_wanted();
    }

    /// Starts the services that are wanted now, as [`Core::start_all`] does.
    pub fn start_wanted(self: &Arc<Self>) {
        let wanted = lock(&self.wanted).clone();
        let started = self.client().and_then(|client| {
            wanted
                .iter()
                .try_for_each(|service| client.send("start", json!({"service": service})).map(drop))
        });
        match started {
            Ok(()) => (),
            // it lives, so a later start can succeed; nothing would take a problem away
            Err(error @ Error::Busy { .. }) => log::error!("{error}"),
            Err(error) => self.give_up(error),
        }
    }

    pub fn want(&self, service: &str, wanted: bool) {
        match wanted {
            true if self.has(service) => lock(&self.wanted).insert(service.into()),
            _ => lock(&self.wanted).remove(service),
        };
    }

    /// Whether a service is to run.
    pub fn wants(&self, service: &str) -> bool {
        lock(&self.wanted).contains(service)
    }

    /// Ends everything in an orderly way, within a bound; what is not gone then is killed by the sidecar, at its end.
    /// Every caller returns when the sidecar has ended.
    pub fn shutdown(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.news.wake();
        let _one_at_a_time = lock(&self.ending);
        for front in lock(&self.fronts).drain(..) {
            front.close();
        }
        let (running, launching) = {
            let mut current = lock(&self.current);
            (current.take(), lock(&self.launching).take())
        };
        if let Some(client) = launching {
            client.end(); // it has started nothing yet
        }
        let Some((_, client)) = running else { return };
        let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        let answer = client.request::<serde_json::Value>("shutdown", json!({"graceMs": grace}), SHUTDOWN_PATIENCE);
        if let Err(error) = answer {
            log::warn!("the sidecar is closed the hard way: {error}");
        }
        client.end(); // a caller of another thread may hold the client
    }

    /// Notes that the app is set up.
    pub fn app_runs(&self) {
        self.runs.store(true, Ordering::SeqCst);
    }

    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::SeqCst)
    }

    pub fn pid(&self) -> Option<u32> {
        lock(&self.current).as_ref().map(|(_, client)| client.pid())
    }

    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> u64 {
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        lock(&self.listeners).push((id, Arc::new(listener)));
        id
    }

    pub fn unlisten(&self, id: u64) {
        lock(&self.listeners).retain(|(known, _)| *known != id);
    }

    /// Whether another program listens where the service answered.
    pub fn set_robbed(&self, service: &str, robbed: bool) {
        let is_news = |view: &View| view.services.get(service).is_some_and(|it| it.robbed != robbed);
        if self.news.look(is_news) {
            self.news.change(|view| {
                if let Some(service) = view.services.get_mut(service) {
                    service.robbed = robbed;
                }
            });
        }
    }

    /// Where one sidecar's words go. What they say is known at once: before an answer that came after them is. It drops
    /// output that no listener takes in time, and nothing else, and never waits.
    fn inbox(self: &Arc<Self>, number: u64) -> impl FnMut(Said) + Send + 'static {
        let (core, sender, waiting) = (Arc::downgrade(self), self.sender.clone(), self.logs_waiting.clone());
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
            if let (Said::Event(event), Some(core)) = (&mut said, core.upgrade()) {
                match outward::turn(&core.urls, event) {
                    Some(inner) => core.learn(event, inner),
                    None => return,
                }
            }
            let _ = sender.send(Item(number, said)); // it fails only if the app is quitting
        }
    }

    /// Takes something up, and tells it.
    pub fn tell(&self, event: &Event) {
        self.learn(event, None);
        self.call_listeners(event);
    }

    fn learn(&self, event: &Event, inner: Option<(String, Inner)>) {
        self.news.change(|view| {
            view.apply(event);
            if let Some((service, inner)) = inner {
                view.answers_at(&service, inner);
            }
        });
    }

    fn call_listeners(&self, event: &Event) {
        let listeners = lock(&self.listeners).clone();
        for (_, listener) in listeners {
            listener(event);
        }
    }

    fn give_up(&self, error: Error) {
        if self.closing.load(Ordering::SeqCst) {
            return;
        }
        let message = error.to_string();
        log::error!("{message}");
        self.news.change(|view| view.problem = Some(error));
        let restarting = false;
        self.tell(&Event::Gone(Gone { message, restarting }));
    }

    /// The sidecar was killed, or crashed: the next one sweeps what it left, and starts what has to run.
    fn lost(self: &Arc<Self>, number: u64, reason: String) {
        let (attempt, event) = {
            // one that ends right after its answer to `initialize` may not have been put into service yet; and nothing
            // that the next one says may come before this one's end is known
            let _one_at_a_time = lock(&self.starting);
            let mut current = lock(&self.current);
            if current.as_ref().map(|(running, _)| *running) != Some(number) {
                return; // it was asked to end, or was never taken into service
            }
            *current = None;
            drop(current);
            let attempt = self.relaunches();
            if attempt > RELAUNCHES {
                (attempt, None)
            } else {
                let message = format!("The sidecar ended ({reason}). It is started again.");
                log::warn!("{message}");
                let restarting = true;
                let event = Event::Gone(Gone { message, restarting });
                self.learn(&event, None);
                (attempt, Some(event))
            }
        };
        let Some(event) = event else {
            return self.give_up(Error::Gone(format!("{reason}, for the {attempt}th time in a minute")));
        };
        self.call_listeners(&event);
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
                core.call_listeners(&event);
            }
            Said::Gone(reason) => core.lost(number, reason),
        }
    }
}

#[cfg(all(test, unix))]
pub(crate) mod tests;
