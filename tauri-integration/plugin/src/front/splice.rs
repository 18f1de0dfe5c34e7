//! Passes bytes on between a client and the service, both ways, until both have ended.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use tokio::{
    io::{copy_bidirectional_with_sizes, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{head::Head, is_gone};

/// What is read at once of a service: larger buffers do not make it faster.
const ANSWER: usize = 64 << 10;

/// What is read at once of a client: most send little, and a web view makes a connection for each of many requests.
const REQUEST: usize = 8 << 10;

/// Between two looks at whether a client that waits for the first byte is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How it ended.
pub(super) enum End {
    /// The service closed before it said anything, and the request may be sent again.
    Unanswered,
    Done,
}

/// Sends what was read of the client already, then passes everything on.
pub(super) async fn run(client: &mut TcpStream, server: &mut TcpStream, head: &Head) -> io::Result<End> {
    if let Err(error) = server.write_all(&head.bytes).await {
        return if head.replayable {
            Ok(End::Unanswered)
        } else {
            Err(error)
        };
    }
    if head.replayable {
        match first_bytes(server, client).await {
            Ok(Some(bytes)) => client.write_all(&bytes).await?,
            Ok(None) => {} // the client closes: it is told as always
            // the service has gone, or goes
            Err(_) => return Ok(End::Unanswered),
        }
    }
    // an end is passed on as an end of this way only; after an error both ways are of no use
    copy_bidirectional_with_sizes(client, server, REQUEST, ANSWER).await?;
    Ok(End::Done)
}

/// The first bytes that the service says; an error if there are none and none will come, and nothing if the client
/// has closed meanwhile.
async fn first_bytes(server: &mut TcpStream, client: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(ANSWER);
    loop {
        match timeout(LOOK, server.read_buf(&mut bytes)).await {
            Ok(length) => match length? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                _ => return Ok(Some(bytes)),
            },
            Err(_) if is_gone(client).await? => return Ok(None),
            Err(_) => {}
        }
    }
}
