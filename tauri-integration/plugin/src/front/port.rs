//! Which port an address gets, and how it is held.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

/// Below the ranges that Linux (32768), Windows and macOS (49152) give to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// So many ports of its own does an app try before it takes any.
const OWN: u16 = 8;

/// The ports to try: the preferred one, then some that depend only on the app and the service, so that what the page
/// has stored under its origin is found again at the next start; then any.
pub(crate) fn candidates(preferred: Option<u16>, app: &str, service: &str) -> impl Iterator<Item = u16> {
    let place = hash(app, service);
    let own = (0..OWN).map(move |step| FIRST + (place + step) % COUNT);
    preferred.into_iter().chain(own).chain([0])
}

/// FNV-1a: the same on every machine and with every compiler.
fn hash(app: &str, service: &str) -> u16 {
    let bytes = app.bytes().chain([0]).chain(service.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u16::try_from(hash % u64::from(COUNT)).unwrap_or_default()
}

/// Listens on loopback so that no other user can listen beside or instead of it.
///
/// On Unix the standard library sets `SO_REUSEADDR`, so that connections of an earlier run do not hold the port. While
/// one program listens there, no other can.
#[cfg(not(windows))]
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// As on Unix. On Windows a program with `SO_REUSEADDR` could listen on a port that is in use, unless its holder says
/// that it wants to be alone.
#[cfg(windows)]
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    windows::listen(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

#[cfg(windows)]
mod windows {
    use std::{
        io,
        mem::size_of,
        net::{SocketAddr, SocketAddrV4, TcpListener},
        os::windows::io::{FromRawSocket, OwnedSocket},
        ptr,
    };

    use windows_sys::Win32::Networking::WinSock::{
        bind, listen as wait_for_clients, setsockopt, WSAGetLastError, WSASocketW, AF_INET, INVALID_SOCKET, IN_ADDR,
        IN_ADDR_0, IPPROTO_TCP, SOCKADDR_IN, SOCK_STREAM, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, WSA_FLAG_NO_HANDLE_INHERIT,
        WSA_FLAG_OVERLAPPED,
    };

    /// As many as the standard library lets wait.
    const BACKLOG: i32 = 128;

    pub fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
        // the standard library starts WinSock with its first socket
        drop(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?);
        let failed = || {
            // SAFETY: it only answers.
            io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
        };
        // SAFETY: no pointer is passed but the null that is allowed.
        let socket = unsafe {
            WSASocketW(
                i32::from(AF_INET),
                SOCK_STREAM,
                IPPROTO_TCP,
                ptr::null(),
                0,
                WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT,
            )
        };
        if socket == INVALID_SOCKET {
            return Err(failed());
        }
        // SAFETY: the socket is new, and nothing else closes it.
        let owned = unsafe { OwnedSocket::from_raw_socket(socket as _) };
        let alone = 1_i32.to_ne_bytes();
        let name = SOCKADDR_IN {
            sin_family: AF_INET,
            sin_port: address.port().to_be(),
            sin_addr: IN_ADDR {
                S_un: IN_ADDR_0 {
                    S_addr: u32::from_ne_bytes(address.ip().octets()),
                },
            },
            sin_zero: [0; 8],
        };
        let [option, place] =
            [alone.len(), size_of::<SOCKADDR_IN>()].map(|size| i32::try_from(size).unwrap_or_default());
        // SAFETY: the socket is ours, and both pointers are to values that live longer than the calls.
        let listens = unsafe {
            setsockopt(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, alone.as_ptr(), option) == 0
                && bind(socket, ptr::from_ref(&name).cast(), place) == 0
                && wait_for_clients(socket, BACKLOG) == 0
        };
        match listens {
            true => Ok(owned.into()),
            false => Err(failed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_finds_its_own_ports_again_and_another_app_has_others() {
        let of = |app| candidates(Some(5173), app, "web").collect::<Vec<_>>();
        assert_eq!(of("dev.one"), of("dev.one"));
        assert_ne!(of("dev.one"), of("dev.two"));
        assert_eq!(of("dev.one")[0], 5173);
        assert_eq!(of("dev.one").last(), Some(&0));
        assert!(of("dev.one")[1..=8].iter().all(|port| (20_000..32_000).contains(port)));
        assert_ne!(
            candidates(None, "dev.one", "web").next(),
            candidates(None, "dev.one", "api").next()
        );
    }

    #[test]
    fn a_port_that_is_held_cannot_be_taken() {
        let held = listen(0).unwrap();
        let port = held.local_addr().unwrap().port();
        assert_eq!(listen(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
