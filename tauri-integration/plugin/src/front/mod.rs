//! The address at which webviews find a service, from before the app is built until it ends.
//!
//! The app's own process listens here; the service listens on an inner port, which may change with each of its starts.
//! No other user can take the address, however often the service crashes, and its origin stays the same.
//!
//! One thread accepts. Each connection gets a thread of its own, and a second one once it is spliced to the service.
//! Bytes are passed on as they come: nothing is parsed or buffered but the first request head, and this only decides
//! what to do while the service does not answer:
//!
//! - A document is answered with the loading page, which reloads itself once the service is ready.
//! - A WebSocket waits. If it were refused, Vite's client would try the service's inner port, where anybody may listen.
//! - Everything else waits while the service starts, and gets 503 while it is stopped or has failed.
//!
//! A service is spliced to only after [`Backend::confirm`]: the connection is made first, then its other end is looked
//! at, so that no program can take the port in between. What was found out holds for its [listener](listener).

mod head;
mod listener;
mod peer;
mod port;
mod splice;

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
        Arc, Condvar, Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use crate::client::lock;

use self::{
    head::{Head, Kind},
    listener::Known,
};
pub(crate) use self::{listener::may_be_ours, port::candidates};

/// A webview holds six connections to an origin, and one more for each WebSocket.
const CONNECTIONS: usize = 256;

/// A client that sends no request head for so long is not waited for.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// A request head that is longer is passed on like any other bytes.
const HEAD_MAX: usize = 16 << 10;

/// A service that is ready within this time is shown at once; the loading page would only flash.
const FLASH: Duration = Duration::from_millis(400);

/// Between two tries to reach a service that was ready: Vite listens anew after each change of its configuration.
const TICK: Duration = Duration::from_millis(25);

/// Between two such tries, at most: each asks the sidecar what listens.
const TICK_MOST: Duration = Duration::from_millis(400);

/// A service that says it is ready and cannot be reached for so long has lost its port.
const REACH_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at whether a client that waits is still there.
const LOOK: Duration = Duration::from_millis(100);

/// A service on this machine accepts at once, or has more connections waiting than it can take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// An app that has just been killed, or restarts itself, still has its addresses for a moment.
pub(crate) const OLD_APP_PATIENCE: Duration = Duration::from_millis(500);

/// A thread that is woken for it closes its listener at once.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// The threads of a connection only copy; the buffer lies on the heap.
const STACK: usize = 128 << 10;

/// What is known of the service behind the address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// It answers at one of these addresses.
    Up(Vec<SocketAddr>),
    /// It starts, or will be started again.
    Coming,
    /// It is stopped, or has failed.
    Down,
}

/// The service, as the front sees it. It is asked by many threads at once.
pub(crate) trait Backend: Send + Sync + 'static {
    /// What is known now.
    fn target(&self) -> Target;

    /// Waits until [`Backend::target`] may have changed, at most so long.
    fn wait(&self, bound: Duration);

    /// Whether the program that listens at the address now is the service; `None` if nothing listens, or it cannot be
    /// found out. It may take a moment.
    fn confirm(&self, address: SocketAddr) -> Option<bool>;

    /// Takes note, after each try to reach the service that found it out, of whether another program listens in its
    /// place.
    fn judge(&self, robbed: bool);
}

/// An address that is held, and not served yet: connections wait.
#[derive(Debug)]
pub(crate) struct Front {
    listener: TcpListener,
    port: u16,
}

impl Front {
    /// Takes the first of the ports that is free; 0 is any. It waits for the first one until then, in case an app that
    /// ends has it.
    pub fn bind(ports: impl IntoIterator<Item = u16>, until: Instant) -> io::Result<Self> {
        let mut until = Some(until);
        let mut last = io::Error::from(ErrorKind::AddrInUse);
        for port in ports {
            loop {
                match port::listen(port) {
                    Ok(listener) => {
                        let port = listener.local_addr()?.port();
                        return Ok(Self { listener, port });
                    }
                    Err(error) => last = error,
                }
                match until {
                    Some(until) if Instant::now() < until => thread::sleep(TICK),
                    _ => break,
                }
            }
            until = None;
        }
        Err(last)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves until it is closed. `page` is the whole response to a document while there is no service.
    pub fn serve(self, backend: Arc<dyn Backend>, page: &'static [u8]) -> io::Result<Open> {
        let seats = Arc::new(Seats::default());
        let known = Arc::new(Known::default());
        let closing = Arc::new(AtomicBool::new(false));
        let (closed, wait) = mpsc::channel();
        let open = Open {
            port: self.port,
            closing: closing.clone(),
            closed: Mutex::new(wait),
        };
        let accept = move || {
            let _closed: mpsc::Sender<()> = closed;
            let listener = self.listener; // dropped first
            loop {
                let seat = Seats::take(&seats);
                let accepted = listener.accept();
                if closing.load(Ordering::SeqCst) {
                    return;
                }
                match accepted {
                    Ok((client, _)) => {
                        let (backend, known) = (backend.clone(), known.clone());
                        let work = move || {
                            let _seat = seat;
                            if let Err(error) = serve(client, &*backend, &known, page) {
                                log::debug!("sidecar: a connection ended: {error}");
                            }
                        };
                        if let Err(error) = spawn("connection", work) {
                            log::warn!("sidecar: a connection was dropped: {error}");
                        }
                    }
                    // the client gave up while it waited, or the system is short of something for a moment
                    Err(error) => {
                        log::debug!("sidecar: no connection: {error}");
                        thread::sleep(TICK);
                    }
                }
            }
        };
        spawn("front", accept)?;
        Ok(open)
    }
}

/// A front that is served.
#[derive(Debug)]
pub(crate) struct Open {
    port: u16,
    closing: Arc<AtomicBool>,
    closed: Mutex<Receiver<()>>,
}

impl Open {
    /// Gives the port back, for the app that comes next. What is connected stays so.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        // a connection wakes the thread; if none can be made, it is awake, or all seats are taken
        drop(TcpStream::connect_timeout(
            &SocketAddr::from(([127, 0, 0, 1], self.port)),
            CLOSE_PATIENCE,
        ));
        let _ = lock(&self.closed).recv_timeout(CLOSE_PATIENCE); // it says nothing: it ends
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let name = format!("sidecar-{name}");
    thread::Builder::new()
        .name(name)
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
}

/// Bounds how many connections are open at once; more wait in the listener's queue.
#[derive(Default)]
struct Seats {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct Seat(Arc<Seats>);

impl Seats {
    fn take(seats: &Arc<Self>) -> Seat {
        let taken = lock(&seats.taken);
        let mut taken = seats
            .freed
            .wait_while(taken, |taken| *taken >= CONNECTIONS)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *taken += 1;
        Seat(seats.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *lock(&self.0.taken) -= 1;
        self.0.freed.notify_one();
    }
}

/// Serves one connection to its end.
fn serve(mut client: TcpStream, backend: &dyn Backend, known: &Known, page: &[u8]) -> io::Result<()> {
    client.set_nodelay(true)?;
    let began = Instant::now();
    let mut pause = TICK;
    let mut head = None;
    loop {
        let target = backend.target();
        if let Target::Up(addresses) = &target {
            if let Some(server) = connect(addresses, backend, known) {
                // most clients have sent their request by now; one that waits for the service to speak first has not
                let read = match head.take() {
                    Some(head) => head,
                    None => Head::read(&mut client, TICK)?,
                };
                match splice::run(client, server, &read)? {
                    // the service ended before it said anything: nothing is lost if it is asked once more
                    splice::End::Unanswered(back) => client = back,
                    splice::End::Done => return Ok(()),
                }
                head = Some(read);
            }
        }
        let request = match &head {
            Some(head) => head,
            None => head.insert(Head::read(&mut client, HEAD_PATIENCE)?),
        };
        match request.kind {
            Kind::Nothing => return Ok(()),
            Kind::Document if target == Target::Down || began.elapsed() >= FLASH => {
                return answer(client, page);
            }
            Kind::Other if target == Target::Down => return answer(client, UNAVAILABLE),
            Kind::Other if matches!(target, Target::Up(_)) && began.elapsed() >= REACH_PATIENCE => {
                return answer(client, UNAVAILABLE);
            }
            _ if is_gone(&client)? => return Ok(()),
            _ if matches!(target, Target::Up(_)) => {
                thread::sleep(pause);
                pause = TICK_MOST.min(2 * pause);
            }
            _ => backend.wait(LOOK),
        }
    }
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nX-Sidecar: down\r\n\
    Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: 29\r\nConnection: close\r\n\r\n\
    The service is not running.\r\n";

/// A connection to the service at one of these addresses, if it is the service that has accepted it.
fn connect(addresses: &[SocketAddr], backend: &dyn Backend, known: &Known) -> Option<TcpStream> {
    let (mut strangers, mut unsure) = (false, false);
    let found = addresses.iter().find_map(|&address| {
        let server = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).ok()?; // nothing listens yet, or any more
        server.set_nodelay(true).ok()?;
        // in this order: see `listener` and `peer`
        let confirm = || {
            let confirmed = backend.confirm(address);
            let ours = confirmed == Some(true) && peer::may_be_ours(&server);
            strangers |= confirmed.is_some() && !ours;
            unsure |= confirmed.is_none();
            ours
        };
        known.or_confirm(address, confirm).then_some(server)
    });
    match found {
        Some(_) => backend.judge(false),
        None if strangers => backend.judge(true),
        None if unsure => (), // what was found out before still stands
        None => backend.judge(false),
    }
    found
}

/// Sends a whole response and takes the connection down so that the client gets all of it.
fn answer(mut client: TcpStream, response: &[u8]) -> io::Result<()> {
    client.write_all(response)?;
    client.shutdown(Shutdown::Write)?;
    // what the client still sends would reset the connection, and lose the response, if it were not read
    client.set_read_timeout(Some(CONNECT_PATIENCE))?;
    let mut rest = client.take(1 << 20);
    let _ = io::copy(&mut rest, &mut io::sink()); // it has its response; how it leaves does not matter
    Ok(())
}

/// Whether the client has closed its end. What it has sent stays to be read.
fn is_gone(client: &TcpStream) -> io::Result<bool> {
    client.set_nonblocking(true)?;
    let seen = client.peek(&mut [0]);
    client.set_nonblocking(false)?;
    match seen {
        Ok(length) => Ok(length == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
