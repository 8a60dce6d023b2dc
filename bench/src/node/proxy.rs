//! Something between the node and L1 that can hang: it takes connections and forwards nothing until it is let go.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that are carried at once.
const CHUNK: usize = 64 << 10;

/// A running proxy; ends with the runtime.
pub(crate) struct Proxy {
    pub(crate) url: String,
    hangs: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free port of this machine and forwards to another.
    pub(crate) async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (hangs, hung) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let hung = hung.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else { return };
                    let ((near_reads, near_writes), (far_reads, far_writes)) = (near.into_split(), far.into_split());
                    tokio::spawn(carry(near_reads, far_writes, hung.clone()));
                    carry(far_reads, near_writes, hung).await;
                });
            }
        });
        Ok(Self { url, hangs })
    }

    /// From now on nothing comes through, or everything again.
    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }
}

/// One direction of a connection. Ends when either side does.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut hung: watch::Receiver<bool>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = match from.read(&mut chunk).await {
            Ok(count @ 1..) => count,
            Ok(0) | Err(_) => return,
        };
        if hung.wait_for(|hung| !hung).await.is_err() || to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nothing_comes_through_until_it_is_let_go() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap().port()).await.unwrap();
        let mut client = TcpStream::connect(proxy.url.trim_start_matches("http://")).await.unwrap();
        let (mut taken, _) = server.accept().await.unwrap();
        proxy.hang(true);
        client.write_all(b"x").await.unwrap();
        let mut byte = [0];
        let waited = tokio::time::timeout(Duration::from_millis(100), taken.read_exact(&mut byte)).await;
        assert!(waited.is_err(), "it hangs");
        proxy.hang(false);
        taken.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }
}
