//! Listening: from a host and a port of the settings to an open socket, or a reason with a remedy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, lookup_host};

use crate::config::HostPort;
use crate::exit::{Exit, Failure};

/// An open socket and where it is.
pub(super) struct Listening {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// Opens the first address that the host stands for.
///
/// # Errors
/// When the name stands for nothing, the port is taken, or the system does not permit it.
pub(super) async fn listen(place: &HostPort) -> Result<Listening, Failure> {
    let HostPort { host, port, flag } = place;
    let host_flag = host_flag(flag);
    let host = host.trim_matches(['[', ']']);
    let mut addresses: Vec<SocketAddr> = lookup_host((host, *port))
        .await
        .map_err(|error| {
            Failure::new(Exit::Unavailable, format!("--{host_flag}={host}: {error}: use an address of this machine"))
        })?
        .collect();
    // A name such as localhost stands for both families; programs that know one know this one.
    addresses.sort_by_key(|address| !address.is_ipv4());
    let Some(wanted) = addresses.first().copied() else {
        let advice = "use an address of this machine";
        return Err(Failure::new(Exit::Unavailable, format!("--{host_flag}={host} stands for no address: {advice}")));
    };
    let listener = TcpListener::bind(wanted).await.map_err(|error| cannot(wanted, flag, &host_flag, &error))?;
    let address = listener.local_addr().map_err(|error| cannot(wanted, flag, &host_flag, &error))?;
    Ok(Listening { listener, address })
}

/// The flag that chooses the address, beside the one that chooses the port.
fn host_flag(flag: &str) -> String {
    match flag.strip_suffix(".port") {
        Some(group) => format!("{group}.addr"),
        // kona-node's name for the port of its JSON-RPC stands alone.
        None if flag == "port" => "rpc.addr".to_owned(),
        None => flag.replace("-port", "-host"),
    }
}

fn cannot(wanted: SocketAddr, flag: &str, host_flag: &str, error: &io::Error) -> Failure {
    let (exit, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            (Exit::Unavailable, format!("another process has it: stop that one, or choose another port with --{flag}"))
        }
        io::ErrorKind::PermissionDenied => {
            (Exit::Permission, format!("ports below 1024 are reserved: choose another with --{flag}"))
        }
        _ => (Exit::Unavailable, format!("choose an address of this machine with --{host_flag}")),
    };
    Failure::new(exit, format!("cannot listen on {wanted}: {error}: {remedy}"))
}

impl Listening {
    /// The same socket a second time: who accepts from one takes the connection from the other.
    ///
    /// # Errors
    /// When the system gives no more file descriptors.
    pub(super) fn twin(&self) -> io::Result<TcpListener> {
        let twin = rustix::io::fcntl_dupfd_cloexec(&self.listener, 0)?;
        TcpListener::from_std(std::net::TcpListener::from(twin))
    }

    /// The address that a client on this machine should use.
    pub(super) fn reached_at(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        address
    }

    /// Whether others on the network can reach it.
    pub(super) fn is_exposed(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port, flag: "http-port" }
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
        let first = listen(&place("localhost", 0)).await.unwrap();
        let failure = listen(&place("127.0.0.1", first.address.port())).await.err().unwrap();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.contains(&first.address.to_string()), "{}", failure.message);
        assert!(failure.message.contains("--http-port"), "{}", failure.message);
    }

    #[test]
    fn each_port_has_its_address() {
        let table = [
            ("http-port", "http-host"),
            ("ws-port", "ws-host"),
            ("authrpc.port", "authrpc.addr"),
            ("metrics.port", "metrics.addr"),
            ("port", "rpc.addr"),
        ];
        for (port, host) in table {
            assert_eq!(host_flag(port), host);
        }
    }

    #[tokio::test]
    async fn a_host_that_is_not_here_is_told() {
        let failure = listen(&place("192.0.2.1", 0)).await.err().unwrap();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.contains("--http-host"), "{}", failure.message);
    }

    #[tokio::test]
    async fn every_interface_is_exposed_and_reached_through_loopback() {
        let open = listen(&place("0.0.0.0", 0)).await.unwrap();
        assert!(open.is_exposed());
        assert_eq!(open.reached_at().ip().to_string(), "127.0.0.1");
        assert!(!listen(&place("127.0.0.1", 0)).await.unwrap().is_exposed());
    }
}
