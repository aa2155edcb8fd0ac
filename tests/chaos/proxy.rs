//! The network between one instance and its server: it delays, stands still, breaks, and lets nobody in, as it is
//! told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weather {
    delay: Duration,
    /// Nothing is passed on, and nothing is closed.
    frozen: bool,
    /// New connections are closed at once.
    closed: bool,
    /// Raised to cut what is connected.
    cuts: u64,
}

/// Listens until it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    weather: watch::Sender<Weather>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Before a server on a port of this machine.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = watch::Sender::new(Weather::default());
        let sees = weather.subscribe();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !sees.borrow().closed {
                    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
                    tokio::spawn(pass(client, server, sees.clone()));
                }
            }
        });
        Self { port, weather, listening }
    }

    /// Each message takes so much longer from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    pub(crate) fn freeze(&self) {
        self.weather.send_modify(|weather| weather.frozen = true);
    }

    pub(crate) fn close(&self) {
        self.weather.send_modify(|weather| weather.closed = true);
    }

    /// Cuts what is connected.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Everything is passed on again, at once.
    pub(crate) fn clear(&self) {
        self.weather
            .send_modify(|weather| *weather = Weather { cuts: weather.cuts, ..Weather::default() });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mut sees: watch::Receiver<Weather>) {
    let cuts = sees.borrow().cuts;
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let (asks, answers) = (sees.clone(), sees.clone());
    // Whatever ends first ends the others, and closes both.
    tokio::select! {
        () = pump(from_client, to_server, asks) => {}
        () = pump(from_server, to_client, answers) => {}
        _ = sees.wait_for(|weather| weather.cuts != cuts) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut sees: watch::Receiver<Weather>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let delay = match sees.wait_for(|weather| !weather.frozen).await {
            Ok(weather) => weather.delay,
            Err(_) => return,
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
