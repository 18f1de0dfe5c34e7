//! Which listener a connection was made to, so that the sidecar has to be asked only once for each.
//!
//! A page opens hundreds of connections, and to be asked takes the sidecar milliseconds. The kernel has a number for
//! each socket and never gives it twice. If the socket that listens after a connection was made is the one that was found
//! to be the service's before, no other program can have listened in between: it is the service's connection.
//!
//! This is for listeners of our own user (or root) only. Where the sidecar cannot find out the owner of a listener,
//! another user's could be taken for the service's once. It must not be taken for it ever after.

use std::{future::Future, net::SocketAddr, sync::Mutex};

use crate::client::lock;

/// The listener that was last found to be the service's.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<(SocketAddr, u64)>>);

impl Known {
    /// Whether the program that listens at the address is the service. To be asked after the connection was made. Where
    /// it is not known, `confirm` finds it out.
    pub async fn or_confirm(&self, address: SocketAddr, confirm: impl Future<Output = bool>) -> bool {
        let listener = number(address).map(|number| (address, number));
        if listener.is_some() && *lock(&self.0) == listener {
            return true;
        }
        let confirmed = confirm.await;
        // it listened before and listens now, so it was the one that was looked at
        if confirmed && listener.is_some() && listener == number(address).map(|number| (address, number)) {
            *lock(&self.0) = listener;
        }
        confirmed
    }
}

/// Whether the listener at an address may be the service's, though the sidecar cannot find out the owner. On Linux it must
/// be our user's or root's. Elsewhere there is no objection: on Windows the connection's owner is looked at even before it
/// is accepted, and on macOS no other user can listen there (see [`peer`](super::peer)).
pub(crate) fn may_be_ours(address: SocketAddr) -> bool {
    !cfg!(target_os = "linux") || number(address).is_some()
}

/// The number of the socket that listens at an address; nothing if it is another user's, or the system does not tell.
#[cfg(target_os = "linux")]
fn number(address: SocketAddr) -> Option<u64> {
    linux::number(address)
}

/// As on Linux. No other system tells it by address: there the sidecar is asked for each connection.
#[cfg(not(target_os = "linux"))]
fn number(_address: SocketAddr) -> Option<u64> {
    None
}

/// The kernel answers for one socket, by its address: see sock_diag(7).
#[cfg(target_os = "linux")]
mod linux {
    use std::{
        net::{IpAddr, SocketAddr},
        os::fd::{AsRawFd, FromRawFd, OwnedFd},
    };

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    const TCP_LISTEN: u8 = 10;
    /// The length of a `nlmsghdr` with an `inet_diag_req_v2`.
    const ASKED: u32 = 72;
    /// The length of a `nlmsghdr` with an `inet_diag_msg`.
    const ANSWERED: usize = 88;

    pub fn number(address: SocketAddr) -> Option<u64> {
        let asked = request(address);
        let mut answer = [0_u8; 256];
        // SAFETY: the descriptor is new, so nothing else closes it, and both buffers are as long as is said.
        let length = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let socket = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG);
            if socket < 0 {
                return None;
            }
            let socket = OwnedFd::from_raw_fd(socket);
            libc::send(socket.as_raw_fd(), asked.as_ptr().cast(), asked.len(), 0);
            // the answer is there when the request has been sent; without a request there is none
            libc::recv(
                socket.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                answer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let answer = answer.get(..usize::try_from(length).ok()?)?;
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        let listens = answer.len() >= ANSWERED && kind == SOCK_DIAG_BY_FAMILY && answer[17] == TCP_LISTEN;
        let cookie = answer.get(60..68)?.try_into().ok()?;
        let user = u32::from_ne_bytes(answer.get(80..84)?.try_into().ok()?);
        // SAFETY: it only answers.
        let ours = user == 0 || user == unsafe { libc::geteuid() };
        (listens && ours).then_some(u64::from_ne_bytes(cookie))
    }

    fn request(address: SocketAddr) -> Vec<u8> {
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
            IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
        };
        let mut bytes = Vec::new();
        bytes.extend(ASKED.to_ne_bytes());
        bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend(REQUEST.to_ne_bytes());
        bytes.extend([0; 8]); // a number for the answer, and the kernel's address
        bytes.extend([family, libc::IPPROTO_TCP].map(|it| u8::try_from(it).unwrap_or_default()));
        bytes.extend([0; 2]);
        bytes.extend(u32::MAX.to_ne_bytes()); // in any state
        bytes.extend(address.port().to_be_bytes());
        bytes.extend([0; 2]); // no other end
        bytes.extend(&ip);
        bytes.resize(bytes.len() + 16 - ip.len() + 16 + 4, 0); // nor its address, and any interface
        bytes.extend([0xff; 8]); // whatever its number
        bytes
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::net::{TcpListener, TcpStream};

        #[test]
        fn a_listener_has_a_number_of_its_own_as_long_as_it_listens() {
            for at in ["127.0.0.1:0", "[::1]:0"] {
                let first = TcpListener::bind(at).unwrap();
                let address = first.local_addr().unwrap();
                let one = number(address).unwrap();
                let _client = TcpStream::connect(address).unwrap();
                assert_eq!(number(address), Some(one), "{at}");
                drop(first);
                assert_eq!(number(address), None, "{at}");
                let _second = TcpListener::bind(address).unwrap();
                assert_ne!(number(address).unwrap(), one, "{at}");
            }
        }

        #[test]
        fn a_listener_for_both_families_is_found_by_either() {
            let both = TcpListener::bind("[::]:0").unwrap();
            let port = both.local_addr().unwrap().port();
            let by = |ip: &str| number(SocketAddr::new(ip.parse().unwrap(), port)).unwrap();
            assert_eq!(by("127.0.0.1"), by("::1"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tauri::async_runtime::block_on;

    #[test]
    fn only_a_listener_that_was_confirmed_is_known_and_no_other_on_its_port() {
        let known = Known::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ask = |confirmed| block_on(known.or_confirm(address, async move { confirmed }));
        assert!(!ask(false));
        assert!(ask(true));
        assert_eq!(ask(false), cfg!(target_os = "linux"));
        drop(listener);
        let _other = TcpListener::bind(address).unwrap();
        assert!(!ask(false));
    }

    #[test]
    fn one_that_is_replaced_while_it_is_looked_at_is_not_known() {
        let known = Known::default();
        let mut listener = Some(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.as_ref().unwrap().local_addr().unwrap();
        let replace = async {
            drop(listener.take());
            listener = Some(TcpListener::bind(address).unwrap());
            true
        };
        assert!(block_on(known.or_confirm(address, replace)));
        assert!(!block_on(known.or_confirm(address, async { false })));
    }
}
