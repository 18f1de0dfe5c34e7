//! Which user has accepted a connection that was made to a service.
//!
//! [`Backend::confirm`](super::Backend::confirm) says that the service listens on its port *now*. The connection was
//! made before, maybe to another program that had the port for a moment and has left it since. So its other end is
//! looked at *afterwards*. If a process of another user has accepted it, it is refused. If no process has accepted it
//! yet, it waits at a listener that still lives. That was there when the service was found to listen, and two programs
//! cannot listen on one port: it is the service's.
//!
//! On macOS nothing is looked at. Its kernel lets no user but root bind an address and port that any socket of another
//! user has, an accepted one too (`in_pcbbind` in xnu). While a stranger's process has our connection, the service
//! cannot listen on that port, so `confirm` does not find it there. This leaves a gap: a stranger's listener may give
//! others leave by the private option `SO_REUSESHAREUID`, which what it accepts inherits.

#[cfg(any(target_os = "linux", windows))]
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Whether the other end is not another user's. Where this cannot be found out, there is no objection.
#[cfg(target_os = "linux")]
pub(super) fn may_be_ours(server: &TcpStream) -> bool {
    ends(server).and_then(linux::owner).is_none_or(|uid| {
        // SAFETY: it only answers.
        let ours = unsafe { libc::geteuid() };
        // root needs no port to do as it likes
        uid == ours || uid == 0
    })
}

/// As on Linux.
#[cfg(windows)]
pub(super) fn may_be_ours(server: &TcpStream) -> bool {
    ends(server)
        .and_then(windows::owner)
        .is_none_or(windows::is_of_our_user)
}

/// As on Linux. Here [`Backend::confirm`](super::Backend::confirm) has to be enough.
#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn may_be_ours(_server: &TcpStream) -> bool {
    true
}

/// The addresses of a connection: its other end's, and its own.
#[cfg(any(target_os = "linux", windows))]
fn ends(server: &TcpStream) -> Option<(SocketAddr, SocketAddr)> {
    Some((server.peer_addr().ok()?, server.local_addr().ok()?))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        fs,
        net::{IpAddr, SocketAddr},
    };

    /// The user of the process that has accepted the connection, if one has.
    pub fn owner((there, here): (SocketAddr, SocketAddr)) -> Option<u32> {
        // a server that takes both families has its IPv4 connections in the table of IPv6
        [("/proc/net/tcp", false), ("/proc/net/tcp6", true)]
            .into_iter()
            .find_map(|(table, six)| {
                let row = format!("{} {}", written(there, six)?, written(here, six)?);
                find(&fs::read_to_string(table).ok()?, &row)
            })
    }

    /// The user in the row of these two addresses; a connection that is not accepted yet has no inode.
    fn find(table: &str, addresses: &str) -> Option<u32> {
        let row = table.lines().find(|line| line.contains(addresses))?;
        let mut fields = row.split_whitespace().skip(7);
        let uid = fields.next()?.parse().ok()?;
        let inode = fields.nth(1)?;
        (inode != "0").then_some(uid)
    }

    /// An address as the kernel writes it: words of the machine's own byte order, in hexadecimal digits.
    fn written(address: SocketAddr, six: bool) -> Option<String> {
        let bytes = match (address.ip(), six) {
            (IpAddr::V4(ip), false) => ip.octets().to_vec(),
            (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets().to_vec(),
            (IpAddr::V6(ip), true) => ip.octets().to_vec(),
            (IpAddr::V6(_), false) => return None,
        };
        let words = bytes.chunks_exact(4).map(|word| {
            let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            format!("{word:08X}")
        });
        Some(format!("{}:{:04X}", words.collect::<String>(), address.port()))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::net::{TcpListener, TcpStream};

        fn ends(client: &TcpStream) -> (SocketAddr, SocketAddr) {
            (client.peer_addr().unwrap(), client.local_addr().unwrap())
        }

        fn accepted(at: &str) -> (TcpStream, impl FnOnce() -> TcpStream) {
            let listener = TcpListener::bind(at).unwrap();
            let client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
            (client, move || listener.accept().unwrap().0)
        }

        #[test]
        fn a_connection_belongs_to_the_user_that_has_accepted_it() {
            // SAFETY: it only answers.
            let ours = unsafe { libc::geteuid() };
            for at in ["127.0.0.1:0", "[::]:0"] {
                let (client, accept) = accepted(at);
                assert_eq!(owner(ends(&client)), None, "{at}: it is not accepted yet");
                let _server = accept();
                assert_eq!(owner(ends(&client)), Some(ours), "{at}");
            }
        }

        #[test]
        fn the_users_number_is_read_from_its_row() {
            let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                \x20  0: 0100007F:1F90 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000  1000        0 60000 1 x\n\
                \x20  1: 0100007F:A2C4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 60001 1 x\n";
            assert_eq!(find(table, "0100007F:1F90 0100007F:A2C4"), Some(1000));
            assert_eq!(find(table, "0100007F:A2C4 0100007F:1F90"), Some(1001));
            assert_eq!(find(table, "0100007F:0001 0100007F:0002"), None);
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::{
        io,
        mem::{size_of, size_of_val},
        net::{IpAddr, SocketAddr},
        os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
        ptr,
    };

    use windows_sys::Win32::{
        Foundation::{ERROR_ACCESS_DENIED, ERROR_INSUFFICIENT_BUFFER, FALSE, HANDLE, NO_ERROR},
        NetworkManagement::IpHelper::{
            GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_CONNECTIONS,
        },
        Networking::WinSock::{AF_INET, AF_INET6},
        Security::{EqualSid, GetTokenInformation, TokenUser, TOKEN_QUERY, TOKEN_USER},
        System::Threading::{GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION},
    };

    /// How often the table is asked for: it may have grown since its size was told.
    const TRIES: usize = 8;

    /// One connection, as a process has it: the address of its own end, that of the other, and the process.
    type Row = (SocketAddr, SocketAddr, u32);

    /// The process that has the other end of the connection. Until it is accepted, that is the listener's.
    pub fn owner((there, here): (SocketAddr, SocketAddr)) -> Option<u32> {
        let found = |rows: Vec<Row>| rows.into_iter().find(|(own, other, _)| (*own, *other) == (there, here));
        let (_, _, pid) = match there {
            SocketAddr::V4(_) => found(rows(AF_INET, |row: &MIB_TCPROW_OWNER_PID| {
                let at = |ip: u32, port| address(ip.to_ne_bytes().into(), port);
                let (own, other) = (
                    at(row.dwLocalAddr, row.dwLocalPort),
                    at(row.dwRemoteAddr, row.dwRemotePort),
                );
                (own, other, row.dwOwningPid)
            })?),
            SocketAddr::V6(_) => found(rows(AF_INET6, |row: &MIB_TCP6ROW_OWNER_PID| {
                let own = address(row.ucLocalAddr.into(), row.dwLocalPort);
                let other = address(row.ucRemoteAddr.into(), row.dwRemotePort);
                (own, other, row.dwOwningPid)
            })?),
        }?;
        // process 0 stands for one that has ended
        (pid != 0).then_some(pid)
    }

    /// A port stands in the lower half of its field, its bytes in the order of the network.
    fn address(ip: IpAddr, port: u32) -> SocketAddr {
        let [first, second, ..] = port.to_ne_bytes();
        SocketAddr::new(ip, u16::from_be_bytes([first, second]))
    }

    /// The system's connections of one family; nothing if it does not tell.
    fn rows<T>(family: u16, read: impl Fn(&T) -> Row) -> Option<Vec<Row>> {
        // rows are made of words, and stand behind a word that counts them
        let mut table: Vec<u32> = Vec::new();
        for _ in 0..TRIES {
            let mut size = u32::try_from(size_of_val(&table[..])).ok()?;
            // SAFETY: the table has the size that is told.
            let result = unsafe {
                let (kind, place) = (TCP_TABLE_OWNER_PID_CONNECTIONS, table.as_mut_ptr().cast());
                GetExtendedTcpTable(place, &raw mut size, FALSE, family.into(), kind, 0)
            };
            match result {
                NO_ERROR => {
                    let (count, words) = table.split_first()?;
                    let words = words.chunks_exact(size_of::<T>() / size_of::<u32>());
                    let count = usize::try_from(*count).ok()?;
                    // SAFETY: so many rows were written; each is as long as its chunk, and made of words.
                    let row = |words: &[u32]| read(unsafe { &*words.as_ptr().cast::<T>() });
                    return Some(words.take(count).map(row).collect());
                }
                ERROR_INSUFFICIENT_BUFFER => table.resize(usize::try_from(size).ok()?.div_ceil(4), 0),
                _ => return None,
            }
        }
        None
    }

    /// Whether a process belongs to our user, as those of the service do. A process that we may not open does not; one
    /// that has ended does no harm.
    pub fn is_of_our_user(pid: u32) -> bool {
        // SAFETY: it only answers, with a handle of ours or a null.
        let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid) };
        if process.is_null() {
            return io::Error::last_os_error().raw_os_error() != Some(ERROR_ACCESS_DENIED.cast_signed());
        }
        // SAFETY: the handle is new, and nothing else closes it.
        let process = unsafe { OwnedHandle::from_raw_handle(process) };
        // SAFETY: this handle is no real one, and need not be closed.
        let ourselves = unsafe { GetCurrentProcess() };
        match (User::of(process.as_raw_handle()), User::of(ourselves)) {
            // SAFETY: both point into what is borrowed.
            (Some(user), Some(ours)) => unsafe { EqualSid(user.sid(), ours.sid()) != FALSE },
            _ => false,
        }
    }

    /// A `TOKEN_USER` with the number that it points to: at most 84 bytes.
    struct User(Box<[u64; 16]>);

    impl User {
        fn of(process: HANDLE) -> Option<Self> {
            let (mut token, mut told) = (ptr::null_mut(), Box::new([0_u64; 16]));
            // SAFETY: it answers into a variable of ours.
            if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == FALSE {
                return None;
            }
            // SAFETY: as above.
            let token = unsafe { OwnedHandle::from_raw_handle(token) };
            let mut size = u32::try_from(size_of_val(&*told)).ok()?;
            // SAFETY: it answers into memory of ours, which has the size that is told, and is aligned for it.
            let result = unsafe {
                let (token, place) = (token.as_raw_handle(), told.as_mut_ptr().cast());
                GetTokenInformation(token, TokenUser, place, size, &raw mut size)
            };
            (result != FALSE).then_some(Self(told))
        }

        fn sid(&self) -> windows_sys::Win32::Security::PSID {
            // SAFETY: the system has written one there.
            unsafe { (*self.0.as_ptr().cast::<TOKEN_USER>()).User.Sid }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::{
            net::{TcpListener, TcpStream},
            process,
        };

        #[test]
        fn a_connection_belongs_to_the_process_that_has_accepted_it() {
            for at in ["127.0.0.1:0", "[::1]:0"] {
                let listener = TcpListener::bind(at).unwrap();
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let _server = listener.accept().unwrap();
                assert_eq!(
                    owner((client.peer_addr().unwrap(), client.local_addr().unwrap())),
                    Some(process::id()),
                    "{at}"
                );
            }
        }

        #[test]
        fn this_process_is_of_our_user() {
            assert!(is_of_our_user(process::id()));
        }

        #[test]
        fn a_process_that_may_not_be_looked_into_is_not_ours() {
            /// The system's own, which no user may open.
            const SYSTEM: u32 = 4;
            assert!(!is_of_our_user(SYSTEM));
        }
    }
}
