//! Passes bytes on between a client and the service, both ways, until both have ended.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
    time::Duration,
};

use super::{head::Head, is_gone, spawn};

/// What is read at once: larger buffers do not make it faster.
const BUFFER: usize = 64 << 10;

/// Between two looks at whether a client that waits for the first byte is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How it ended.
pub(super) enum End {
    /// The service closed before it said anything, and the request may be sent again.
    Unanswered(TcpStream),
    Done,
}

/// Sends what was read of the client already, then passes everything on.
pub(super) fn run(mut client: TcpStream, mut server: TcpStream, head: &Head) -> io::Result<End> {
    if let Err(error) = server.write_all(&head.bytes) {
        return if head.replayable {
            Ok(End::Unanswered(client))
        } else {
            Err(error)
        };
    }
    if head.replayable {
        match first_bytes(&mut server, &client) {
            Ok(Some(bytes)) => client.write_all(&bytes)?,
            Ok(None) => {} // the client closes: it is told as always
            // the service has gone, or goes
            Err(_) => return Ok(End::Unanswered(client)),
        }
    }
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let (done, wait) = mpsc::channel();
    spawn("splice", move || {
        pump(&mut from_server, &mut to_client);
        let _ = done.send(()); // the connection is served by a thread that waits for it
    })?;
    pump(&mut client, &mut server);
    let _ = wait.recv(); // an error is the thread's end, too
    Ok(End::Done)
}

/// The first bytes that the service says; an error if there are none and none will come, and nothing if the client
/// has closed meanwhile.
fn first_bytes(server: &mut TcpStream, client: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; BUFFER];
    server.set_read_timeout(Some(LOOK))?;
    loop {
        match server.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                server.set_read_timeout(None)?;
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    if is_gone(client)? {
                        server.set_read_timeout(None)?;
                        return Ok(None);
                    }
                }
                ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

/// Passes on one way. An end is passed on as an end of this way only; after an error both ways are of no use.
fn pump(from: &mut TcpStream, to: &mut TcpStream) {
    let result = copy(from, to).and_then(|()| to.shutdown(Shutdown::Write));
    if result.is_err() {
        // each fails only if that socket is closed already
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
