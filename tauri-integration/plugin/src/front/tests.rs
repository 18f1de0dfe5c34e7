//! The front before a service of the test's own: real sockets, and no process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::watch;

use super::*;

/// For what must happen: far more than it takes on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

const PAGE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\nConnection: close\r\n\r\nloading";

/// What the front is told of the service.
struct Fake {
    target: watch::Sender<Target>,
    confirms: AtomicBool,
    /// Whether nothing can be found out.
    unsure: AtomicBool,
    asked: AtomicUsize,
    robbed: AtomicBool,
}

impl Fake {
    fn set(&self, target: Target) {
        self.target.send_replace(target);
    }
}

impl Backend for Fake {
    fn target(&self) -> Target {
        self.target.borrow().clone()
    }

    fn until_not<'a>(&'a self, seen: &'a Target) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move { drop(self.target.subscribe().wait_for(|it| it != seen).await) })
    }

    fn confirm(&self, _address: SocketAddr) -> Option<bool> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let unsure = self.unsure.load(Ordering::SeqCst);
        (!unsure).then(|| self.confirms.load(Ordering::SeqCst))
    }

    fn judge(&self, robbed: bool) {
        self.robbed.store(robbed, Ordering::SeqCst);
    }
}

/// Without waiting for an app that ends.
fn bind(ports: impl IntoIterator<Item = u16>) -> io::Result<Front> {
    Front::bind(ports, Instant::now())
}

fn front(target: Target) -> (Arc<Fake>, SocketAddr) {
    let (fake, address, open) = opened(target);
    std::mem::forget(open); // it is served until the tests end
    (fake, address)
}

fn opened(target: Target) -> (Arc<Fake>, SocketAddr, Open) {
    let fake = Arc::new(Fake {
        target: watch::Sender::new(target),
        confirms: AtomicBool::new(true),
        unsure: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        robbed: AtomicBool::new(false),
    });
    let front = bind([0]).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], front.port()));
    let open = front.serve(fake.clone(), PAGE).unwrap();
    (fake, address, open)
}

/// Waits until the front has found out whether another program listens in the service's place.
fn until_robbed(fake: &Fake, robbed: bool) {
    let until = Instant::now() + BOUND;
    while fake.robbed.load(Ordering::SeqCst) != robbed {
        assert!(Instant::now() < until, "robbed is not {robbed}");
        thread::sleep(TICK);
    }
}

/// A service: what comes to the listener is the test's to answer.
fn service() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Up(vec![listener.local_addr().unwrap()]);
    (listener, target)
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn ask(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = connected(address);
    write!(stream, "{head}\r\nHost: {address}\r\n\r\n").unwrap();
    stream
}

/// The lines of a request's head.
fn head(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream).lines();
    lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect()
}

fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn expect(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// Whether nothing has come to the listener.
fn is_untouched(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    let seen = listener.accept();
    listener.set_nonblocking(false).unwrap();
    seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

const DOCUMENT: &str = "GET /list HTTP/1.1\r\nSec-Fetch-Dest: document";
const MODULE: &str = "GET /main.ts HTTP/1.1\r\nSec-Fetch-Dest: script";
const SOCKET: &str = "GET /?token=x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket";

#[test]
fn bytes_pass_both_ways_and_each_way_ends_alone() {
    let (listener, up) = service();
    let (_, address) = front(up);
    let mut client = ask(address, "POST /upload HTTP/1.1\r\nContent-Length: 5");
    let mut server = accepted(&listener);
    assert_eq!(head(&server)[0], "POST /upload HTTP/1.1");
    client.write_all(b"bytes").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(server.try_clone().unwrap()), "bytes");
    // the client has ended, and still hears
    server.write_all(b"an answer").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), "an answer");
}

#[test]
fn a_service_may_speak_first() {
    let (listener, up) = service();
    let (_, address) = front(up);
    let mut client = connected(address);
    let mut server = accepted(&listener);
    server.write_all(b"hello").unwrap();
    expect(&mut client, "hello");
    client.write_all(b"you").unwrap();
    expect(&mut server, "you");
}

#[test]
fn a_large_body_arrives_whole() {
    const LENGTH: usize = 32 << 20;
    let (listener, up) = service();
    let (_, address) = front(up);
    let client = ask(address, MODULE);
    let mut server = accepted(&listener);
    let writer = thread::spawn(move || {
        head(&server);
        let chunk: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for _ in 0..LENGTH / chunk.len() {
            server.write_all(&chunk).unwrap();
        }
    });
    let mut count = 0;
    let mut reader = BufReader::new(client);
    loop {
        let chunk = reader.fill_buf().unwrap();
        if chunk.is_empty() {
            break;
        }
        for (index, byte) in chunk.iter().enumerate() {
            assert_eq!(usize::from(*byte), (count + index) % 256);
        }
        count += chunk.len();
        let length = chunk.len();
        reader.consume(length);
    }
    writer.join().unwrap();
    assert_eq!(count, LENGTH);
}

#[test]
fn a_websocket_passes_through() {
    let (listener, up) = service();
    let (_, address) = front(up);
    let mut client = ask(address, SOCKET);
    let mut server = accepted(&listener);
    assert!(head(&server).iter().any(|line| line == "Upgrade: websocket"));
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
    expect(&mut client, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    for _ in 0..3 {
        client.write_all(b"\x81\x04ping").unwrap();
        let mut frame = [0; 6];
        server.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x04ping");
        server.write_all(b"\x81\x04pong").unwrap();
        client.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x04pong");
    }
}

#[test]
fn while_the_service_is_down_a_document_is_the_page_and_the_rest_is_refused() {
    let (_, address) = front(Target::Down);
    assert!(rest(ask(address, DOCUMENT)).ends_with("loading"));
    let refused = rest(ask(address, MODULE));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("X-Sidecar: down"), "{refused}");
    let length = refused.split("\r\n\r\n").nth(1).unwrap().len();
    assert!(refused.contains(&format!("Content-Length: {length}\r\n")), "{refused}");
}

#[test]
fn while_the_service_starts_a_document_is_the_page_and_the_rest_waits() {
    let (listener, up) = service();
    let (fake, address) = front(Target::Coming);
    let waiting = [ask(address, MODULE), ask(address, SOCKET)];
    assert!(rest(ask(address, DOCUMENT)).ends_with("loading"));
    fake.set(up);
    for _ in waiting {
        let mut server = accepted(&listener);
        head(&server);
        server.write_all(b"here").unwrap();
    }
}

#[test]
fn a_websocket_waits_for_a_service_that_is_down() {
    let (listener, up) = service();
    let (fake, address) = front(Target::Down);
    let mut client = ask(address, SOCKET);
    // by then the front has looked at it, and at one that came later
    rest(ask(address, MODULE));
    fake.set(up);
    let mut server = accepted(&listener);
    head(&server);
    server.write_all(b"here").unwrap();
    expect(&mut client, "here");
}

#[test]
fn nothing_is_sent_to_a_server_that_is_not_confirmed() {
    let (stranger, up) = service();
    let (fake, address) = front(up);
    fake.confirms.store(false, Ordering::SeqCst);
    assert!(rest(ask(address, DOCUMENT)).ends_with("loading"));
    assert!(fake.asked.load(Ordering::SeqCst) > 0);
    stranger.set_nonblocking(true).unwrap();
    let mut seen = 0;
    while let Ok((stream, _)) = stranger.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        assert_eq!(rest(stream), "");
        seen += 1;
    }
    assert!(seen > 0, "it was never tried");
}

#[test]
fn a_page_whose_server_has_lost_its_port_is_told_so_and_waits_for_nothing() {
    let (_stranger, up) = service();
    let (fake, address) = front(up);
    fake.confirms.store(false, Ordering::SeqCst);
    let refused = rest(ask(address, MODULE));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // it was tried again and again, and ever more seldom
    let most = usize::try_from(REACH_PATIENCE.as_millis() / TICK_MOST.as_millis()).unwrap() + 8;
    assert!(
        (2..=most).contains(&fake.asked.load(Ordering::SeqCst)),
        "{:?}",
        fake.asked
    );
}

#[test]
fn a_service_is_robbed_no_longer_than_another_program_listens_in_its_place() {
    let (stranger, up) = service();
    let (fake, address) = front(up);
    fake.confirms.store(false, Ordering::SeqCst);
    let _waiting = ask(address, SOCKET);
    until_robbed(&fake, true);
    drop(stranger);
    until_robbed(&fake, false);
}

#[test]
fn a_service_stays_robbed_while_it_cannot_be_found_out_what_listens() {
    let (_stranger, up) = service();
    let (fake, address) = front(up);
    fake.confirms.store(false, Ordering::SeqCst);
    let _waiting = ask(address, SOCKET);
    until_robbed(&fake, true);
    fake.unsure.store(true, Ordering::SeqCst);
    // the question that is under way, and two more: the first of them has been judged by the second
    let most = fake.asked.load(Ordering::SeqCst) + 3;
    let until = Instant::now() + BOUND;
    while fake.asked.load(Ordering::SeqCst) < most {
        assert!(Instant::now() < until, "it was not tried again");
        thread::sleep(TICK);
    }
    assert!(fake.robbed.load(Ordering::SeqCst));
}

#[test]
fn a_service_that_is_reached_is_not_robbed() {
    let (_listener, up) = service();
    let (fake, address) = front(up);
    for _ in ["it is asked for", "it is known"] {
        fake.robbed.store(true, Ordering::SeqCst);
        let _waiting = ask(address, SOCKET);
        until_robbed(&fake, false);
    }
}

#[test]
fn a_request_that_a_dying_service_has_not_answered_goes_to_the_next_one() {
    let (first, up) = service();
    let (fake, address) = front(up);
    for asked in [DOCUMENT, SOCKET] {
        let (second, up) = service();
        let mut client = ask(address, asked);
        let dying = accepted(&first);
        let before = head(&dying);
        fake.set(up);
        drop(dying);
        let mut server = accepted(&second);
        assert_eq!(head(&server), before);
        server.write_all(b"here").unwrap();
        expect(&mut client, "here");
        fake.set(Target::Up(vec![first.local_addr().unwrap()]));
    }
}

#[test]
fn an_upload_is_never_sent_twice() {
    let (first, up) = service();
    let (_, address) = front(up);
    let client = ask(address, "POST / HTTP/1.1\r\nContent-Length: 0");
    let dying = accepted(&first);
    head(&dying);
    drop(dying);
    assert_eq!(rest(client), "");
    assert!(is_untouched(&first));
}

#[test]
fn a_service_that_listens_anew_is_waited_for() {
    let (listener, up) = service();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let (_, address) = front(up);
    let mut client = ask(address, MODULE);
    let listener = TcpListener::bind(place).unwrap();
    let mut server = accepted(&listener);
    head(&server);
    server.write_all(b"here").unwrap();
    expect(&mut client, "here");
}

#[test]
fn a_client_that_leaves_while_it_waits_is_let_go() {
    let (_, address) = front(Target::Coming);
    // more than there may be at once: the last gets its answer only if the first are gone
    for _ in 0..CONNECTIONS {
        drop(ask(address, MODULE));
    }
    assert!(rest(ask(address, DOCUMENT)).ends_with("loading"));
}

#[test]
fn connections_are_bounded_and_one_more_waits_for_its_turn() {
    let (_, address) = front(Target::Coming);
    let mut held: Vec<_> = (0..CONNECTIONS).map(|_| ask(address, MODULE)).collect();
    let last = ask(address, DOCUMENT);
    last.set_read_timeout(Some(2 * FLASH)).unwrap();
    assert!(last.peek(&mut [0]).is_err(), "it was answered");
    last.set_read_timeout(Some(BOUND)).unwrap();
    held.truncate(1);
    assert!(rest(last).ends_with("loading"));
}

#[test]
fn the_first_port_that_is_free_is_taken() {
    let held = bind([0]).unwrap();
    let front = bind([held.port(), 0]).unwrap();
    assert_ne!(front.port(), held.port());
    assert_eq!(bind([held.port()]).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_port_of_an_app_that_ends_is_waited_for() {
    let held = bind([0]).unwrap();
    let port = held.port();
    let (begins, wait) = mpsc::channel();
    let next = thread::spawn(move || {
        begins.send(()).unwrap();
        Front::bind([port, 0], Instant::now() + BOUND).unwrap().port()
    });
    wait.recv().unwrap();
    for _ in 0..100 {
        thread::yield_now(); // it will have tried by then; if not, nothing is proved, and nothing fails
    }
    drop(held);
    assert_eq!(next.join().unwrap(), port);
}

#[test]
fn a_front_that_is_closed_gives_its_port_back_at_once() {
    let (listener, up) = service();
    let (_, address, open) = opened(up);
    let mut client = ask(address, MODULE);
    let mut server = accepted(&listener);
    open.close();
    port::listen(address.port()).unwrap();
    // what is connected stays so
    server.write_all(b"here").unwrap();
    expect(&mut client, "here");
}

/// Needs another user's process, and a system that names the owner of a connection.
#[cfg(target_os = "linux")]
mod stranger {
    use std::{
        process::{Command, Stdio},
        sync::Mutex,
    };

    use super::*;
    use crate::client::lock;

    /// A program of another user that accepts connections, and tells what becomes of each.
    const STRANGER: &str = r#"
import os, socket
os.setgid(65534)
os.setuid(65534)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as client:
        print("accepted", flush=True)
        print("got", len(client.recv(4096)), flush=True)
"#;

    /// Finds the stranger's port to be the service's, but only once the stranger has accepted the connection: as if the
    /// service had taken the port right after.
    struct Deceived {
        at: SocketAddr,
        said: Mutex<Receiver<String>>,
        got: Mutex<Vec<String>>,
        robbed: AtomicBool,
    }

    impl Backend for Deceived {
        fn target(&self) -> Target {
            Target::Up(vec![self.at])
        }

        fn until_not<'a>(&'a self, _seen: &'a Target) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            Box::pin(std::future::pending())
        }

        fn judge(&self, robbed: bool) {
            self.robbed.store(robbed, Ordering::SeqCst);
        }

        fn confirm(&self, _address: SocketAddr) -> Option<bool> {
            loop {
                match lock(&self.said).recv_timeout(BOUND).unwrap().as_str() {
                    "accepted" => return Some(true),
                    got => lock(&self.got).push(got.into()),
                }
            }
        }
    }

    #[test]
    fn a_connection_that_another_user_has_accepted_gets_no_byte() {
        // SAFETY: it only answers.
        if unsafe { libc::geteuid() } != 0 {
            return eprintln!("only root may become another user");
        }
        let python = std::env::var("SIDECAR_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut stranger = Command::new(python)
            .args(["-I", "-S", "-c", STRANGER])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(stranger.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let port: u16 = lines.next().unwrap().parse().unwrap();
        let (sender, said) = mpsc::channel();
        let listen = thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
        let backend = Arc::new(Deceived {
            at: SocketAddr::from(([127, 0, 0, 1], port)),
            said: Mutex::new(said),
            got: Mutex::default(),
            robbed: AtomicBool::new(false),
        });
        let front = bind([0]).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], front.port()));
        let _open = front.serve(backend.clone(), PAGE).unwrap();
        assert!(rest(ask(address, DOCUMENT)).ends_with("loading"));
        assert!(backend.robbed.load(Ordering::SeqCst));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(listen.join().unwrap().is_ok());
        let said = lock(&backend.said);
        let late = said.try_iter().filter(|line| line != "accepted");
        let got: Vec<_> = lock(&backend.got).drain(..).chain(late).collect();
        assert!(got.iter().all(|line| line == "got 0"), "{got:?}");
    }
}
