//! A TCP proxy between a pool and its server, which delays every answer: a server in another region, or a busy one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Listens until it is dropped.
pub(crate) struct Proxy {
    port: u16,
    delay_ms: Arc<AtomicU64>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// In front of the server of a URL; it delays nothing yet.
    pub(crate) async fn before(url: &str) -> Self {
        let server = host_and_port(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay_ms = Arc::<AtomicU64>::default();
        let delay = Arc::clone(&delay_ms);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&delay)));
            }
        });
        Self { port, delay_ms, listening }
    }

    /// The URL through this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(&host_and_port(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// From now on each answer takes so much longer.
    pub(crate) fn delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn host_and_port(url: &str) -> String {
    let after = url.rsplit_once('@').map_or(url, |(_, after)| after);
    let after = after.rsplit_once("://").map_or(after, |(_, after)| after);
    after.split(['/', '?']).next().unwrap().to_owned()
}

async fn carry(client: TcpStream, server: TcpStream, delay_ms: Arc<AtomicU64>) {
    // What is sent at once must not wait for an acknowledgement: the delay is ours alone.
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(1_000);
    let hearing = async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Relaxed));
            if sender.send((due, bytes[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let answering = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    // Whichever side closes, the other is closed with it.
    tokio::select! {
        () = asking => {}
        () = async { tokio::join!(hearing, answering); } => {}
    }
}
