//! The address at which webviews find a service, from before the app is built until it ends.
//!
//! The app's own process listens here; the service listens on an inner port, which may change with each of its starts.
//! No other user can take the address, however often the service crashes, and its origin stays the same.
//!
//! A thread of its own runs all connections of an address as tasks, so that neither a busy app nor its async runtime can
//! hold them up. Web views open a connection for each module that they look up again, so a connection must cost little.
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
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::{
        mpsc::{self, Receiver},
        Arc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    sync::{oneshot, Semaphore},
    task,
    time::{sleep, timeout},
};

use self::{
    head::{Head, Kind},
    listener::Known,
};
pub(crate) use self::{listener::may_be_ours, port::candidates};

/// A webview holds six connections to an origin, and one more for each WebSocket.
const CONNECTIONS: u16 = 256;

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

/// A listener is closed at once.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

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

/// The service, as the front sees it. Many ask it at once.
pub(crate) trait Backend: Send + Sync + 'static {
    /// What is known now.
    fn target(&self) -> Target;

    /// Waits until [`Backend::target`] is something else.
    fn until_not<'a>(&'a self, seen: &'a Target) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

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
    listener: std::net::TcpListener,
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
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        self.listener.set_nonblocking(true)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(self.listener)?
        };
        let (close, closing) = oneshot::channel();
        let (closed, wait) = mpsc::channel();
        let work = async move {
            let seats = Arc::new(Semaphore::new(CONNECTIONS.into()));
            let accepts = task::spawn(accept(listener, backend, page, seats.clone()));
            let _ = closing.await; // nothing is ever sent: it ends when `Open` does
            accepts.abort();
            let _ = accepts.await; // it was aborted
            drop::<mpsc::Sender<()>>(closed);
            let _ = seats.acquire_many(CONNECTIONS.into()).await; // what is connected stays so
        };
        thread::Builder::new()
            .name("sidecar-front".into())
            .spawn(move || runtime.block_on(work))?;
        Ok(Open { close, closed: wait })
    }
}

/// A front that is served, until it is closed or dropped.
#[derive(Debug)]
pub(crate) struct Open {
    close: oneshot::Sender<()>,
    closed: Receiver<()>,
}

impl Open {
    /// Gives the port back, for the app that comes next. What is connected stays so.
    pub fn close(self) {
        drop(self.close);
        let _ = self.closed.recv_timeout(CLOSE_PATIENCE); // it says nothing: it ends
    }
}

/// Gives each connection a task, and at most so many at once a seat; more wait in the listener's queue.
async fn accept(listener: TcpListener, backend: Arc<dyn Backend>, page: &'static [u8], seats: Arc<Semaphore>) {
    let service = Service {
        backend,
        known: Arc::default(),
    };
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else {
            return; // it is never closed
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let service = service.clone();
                task::spawn(async move {
                    let _seat = seat;
                    if let Err(error) = serve(client, &service, page).await {
                        log::debug!("sidecar: a connection ended: {error}");
                    }
                });
            }
            // the client gave up while it waited, or the system is short of something for a moment
            Err(error) => {
                log::debug!("sidecar: no connection: {error}");
                sleep(TICK).await;
            }
        }
    }
}

/// The service, and what was found out of its listener.
#[derive(Clone)]
struct Service {
    backend: Arc<dyn Backend>,
    known: Arc<Known>,
}

/// Serves one connection to its end.
async fn serve(mut client: TcpStream, service: &Service, page: &[u8]) -> io::Result<()> {
    client.set_nodelay(true)?;
    let began = Instant::now();
    let mut pause = TICK;
    let mut head = None;
    loop {
        let target = service.backend.target();
        if let Target::Up(addresses) = &target {
            if let Some(mut server) = service.connect(addresses).await {
                // most clients have sent their request by now; one that waits for the service to speak first has not
                let read = match head.take() {
                    Some(head) => head,
                    None => Head::read(&mut client, TICK).await?,
                };
                match splice::run(&mut client, &mut server, &read).await? {
                    splice::End::Done => return Ok(()),
                    // the service ended before it said anything: nothing is lost if it is asked once more
                    splice::End::Unanswered => head = Some(read),
                }
            }
        }
        let request = match &head {
            Some(head) => head,
            None => head.insert(Head::read(&mut client, HEAD_PATIENCE).await?),
        };
        match request.kind {
            Kind::Nothing => return Ok(()),
            Kind::Document if target == Target::Down || began.elapsed() >= FLASH => {
                return answer(client, page).await;
            }
            Kind::Other if target == Target::Down => return answer(client, UNAVAILABLE).await,
            Kind::Other if matches!(target, Target::Up(_)) && began.elapsed() >= REACH_PATIENCE => {
                return answer(client, UNAVAILABLE).await;
            }
            _ if is_gone(&client).await? => return Ok(()),
            _ if matches!(target, Target::Up(_)) => {
                sleep(pause).await;
                pause = TICK_MOST.min(2 * pause);
            }
            _ => drop(timeout(LOOK, service.backend.until_not(&target)).await),
        }
    }
}

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nX-Sidecar: down\r\n\
    Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: 29\r\nConnection: close\r\n\r\n\
    The service is not running.\r\n";

impl Service {
    /// A connection to the service at one of these addresses, if it is the service that has accepted it.
    async fn connect(&self, addresses: &[SocketAddr]) -> Option<TcpStream> {
        let (mut strangers, mut unsure) = (false, false);
        for &address in addresses {
            let Ok(Ok(server)) = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await else {
                continue; // nothing listens yet, or any more
            };
            // in this order: see `listener` and `peer`
            let confirm = async {
                let backend = self.backend.clone();
                let asked = task::spawn_blocking(move || backend.confirm(address)).await;
                let confirmed = asked.unwrap_or(None); // it panicked
                let ours = confirmed == Some(true) && peer::may_be_ours(&server);
                strangers |= confirmed.is_some() && !ours;
                unsure |= confirmed.is_none();
                ours
            };
            if self.known.or_confirm(address, confirm).await && server.set_nodelay(true).is_ok() {
                self.backend.judge(false);
                return Some(server);
            }
        }
        if strangers {
            self.backend.judge(true);
        } else if !unsure {
            self.backend.judge(false); // else what was found out before still stands
        }
        None
    }
}

/// Sends a whole response and takes the connection down so that the client gets all of it.
async fn answer(mut client: TcpStream, response: &[u8]) -> io::Result<()> {
    client.write_all(response).await?;
    client.shutdown().await?;
    // what the client still sends would reset the connection, and lose the response, if it were not read
    let mut rest = client.take(1 << 20);
    // it has its response; how it leaves does not matter
    drop(timeout(CONNECT_PATIENCE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await);
    Ok(())
}

/// Whether the client has closed its end. What it has sent stays to be read.
async fn is_gone(client: &TcpStream) -> io::Result<bool> {
    match timeout(Duration::ZERO, client.peek(&mut [0])).await {
        Ok(length) => Ok(length? == 0),
        Err(_) => Ok(false), // there is nothing to read
    }
}

#[cfg(test)]
mod tests;
