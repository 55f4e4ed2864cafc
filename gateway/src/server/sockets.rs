//! Listening sockets: one for each worker on the same address (SO_REUSEPORT).

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// One socket for each worker, on the same address. Unless it is `ours` already, it is first bound
/// alone: an address that another process listens on is an error even if that process would share it.
pub(super) fn bind(
    address: SocketAddr,
    workers: usize,
    ours: bool,
) -> io::Result<Vec<TcpListener>> {
    let socket = |share: bool| -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(share)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    if !ours {
        drop(socket(false)?);
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket(true)?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}
