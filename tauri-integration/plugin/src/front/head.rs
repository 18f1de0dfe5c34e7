//! The first bytes that a client sends, as far as they decide what it gets while the service does not answer.

use std::{io, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::HEAD_MAX;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It left without a word.
    Nothing,
    /// A page for a window.
    Document,
    /// A WebSocket, or TLS, which cannot be looked into.
    Tunnel,
    /// Anything else, such as a module, a style or an upload.
    Other,
}

/// The first bytes of a connection.
#[derive(Debug)]
pub(super) struct Head {
    pub kind: Kind,
    pub bytes: Vec<u8>,
    /// Whether the bytes are one whole request that may be sent again.
    pub replayable: bool,
}

impl Head {
    /// Reads until a request head is whole, the client has said something else, or the time is over.
    pub async fn read(client: &mut TcpStream, bound: Duration) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(4096);
        let reading = async {
            while bytes.len() < HEAD_MAX && !is_whole(&bytes) {
                if client.read_buf(&mut bytes).await? == 0 {
                    break;
                }
            }
            Ok::<_, io::Error>(())
        };
        // where the time is over, what has come is enough
        timeout(bound, reading).await.unwrap_or(Ok(()))?;
        Ok(Self::of(bytes))
    }

    /// Classifies what was read.
    pub fn of(bytes: Vec<u8>) -> Self {
        let (kind, replayable) = classify(&bytes);
        Self {
            kind,
            bytes,
            replayable,
        }
    }
}

/// Whether there is no reason to wait for more: the head is whole, or it is none of HTTP's.
fn is_whole(bytes: &[u8]) -> bool {
    end(bytes).is_some() || bytes.first().is_some_and(|first| !first.is_ascii_uppercase())
}

fn end(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.find_map(|line| {
        length += line.len();
        (line == b"\r\n").then_some(length)
    })
}

fn classify(bytes: &[u8]) -> (Kind, bool) {
    /// What a TLS connection begins with.
    const HANDSHAKE: u8 = 0x16;
    let Some(length) = end(bytes) else {
        return match bytes.first() {
            None => (Kind::Nothing, false),
            Some(&HANDSHAKE) => (Kind::Tunnel, false),
            Some(_) => (Kind::Other, false),
        };
    };
    let head = String::from_utf8_lossy(&bytes[..length]);
    let mut lines = head.split("\r\n");
    let method = lines.next().and_then(|line| line.split(' ').next()).unwrap_or_default();
    let [mut destination, mut accept, mut upgrade] = [None; 3];
    let mut body = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "sec-fetch-dest" => destination = Some(value),
            "accept" => accept = Some(value),
            "upgrade" => upgrade = Some(value),
            "transfer-encoding" => body = true,
            "content-length" => body |= value != "0",
            _ => {}
        }
    }
    let reads = matches!(method, "GET" | "HEAD");
    let document = match destination {
        Some(destination) => destination == "document",
        None => accept.is_some_and(|accept| accept.contains("text/html")),
    };
    let kind = if upgrade.is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
        Kind::Tunnel
    } else if reads && document {
        Kind::Document
    } else {
        Kind::Other
    };
    (kind, reads && !body && bytes.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[&str]) -> Head {
        Head::of(format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes())
    }

    #[test]
    fn a_page_for_a_window_is_a_document() {
        let asked = ["GET /list?page=2 HTTP/1.1", "Host: 127.0.0.1:5173"];
        let with = |line| head(&[asked[0], asked[1], line]).kind;
        assert_eq!(with("Sec-Fetch-Dest: document"), Kind::Document);
        assert_eq!(with("accept: text/html,application/xhtml+xml"), Kind::Document);
        assert_eq!(with("Sec-Fetch-Dest: script"), Kind::Other);
        assert_eq!(with("Accept: */*"), Kind::Other);
        // fetch() of a page is no page
        let fetched = head(&[asked[0], "Accept: text/html", "Sec-Fetch-Dest: empty"]);
        assert_eq!(fetched.kind, Kind::Other);
        assert_eq!(head(&["POST / HTTP/1.1", "Sec-Fetch-Dest: document"]).kind, Kind::Other);
    }

    #[test]
    fn a_websocket_and_tls_are_tunnels() {
        let asked = ["GET /?token=x HTTP/1.1", "Connection: Upgrade", "UPGRADE: WebSocket"];
        assert_eq!(head(&asked).kind, Kind::Tunnel);
        assert_eq!(Head::of(vec![0x16, 3, 1]).kind, Kind::Tunnel);
        assert!(!Head::of(vec![0x16, 3, 1]).replayable);
    }

    #[test]
    fn only_a_whole_request_without_a_body_may_be_sent_again() {
        assert!(head(&["GET / HTTP/1.1", "Content-Length: 0"]).replayable);
        assert!(!head(&["GET / HTTP/1.1", "Content-Length: 1"]).replayable);
        assert!(!head(&["GET / HTTP/1.1", "Transfer-Encoding: chunked"]).replayable);
        assert!(!head(&["POST / HTTP/1.1"]).replayable);
        assert!(!Head::of(b"GET / HTTP/1.1\r\nHost: a".to_vec()).replayable);
        assert!(!Head::of(b"GET / HTTP/1.1\r\n\r\nGET /".to_vec()).replayable);
    }

    #[test]
    fn what_is_no_http_is_not_waited_for() {
        assert!(is_whole(&[0x16]));
        assert!(is_whole(b"hello"));
        assert!(!is_whole(b""));
        assert!(!is_whole(b"GET / HTTP/1.1\r\n"));
    }
}
