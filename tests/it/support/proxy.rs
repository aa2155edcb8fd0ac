//! A network between a pool and a server that can be made to hang, to break, and to lead elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens on a port of its own, and passes on what it gets.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    target: Mutex<SocketAddr>,
    /// Connections of an earlier number pass nothing on any more.
    frozen: watch::Sender<u64>,
    /// And those of an earlier number are cut.
    cut: watch::Sender<u64>,
    last: AtomicU64,
    /// New ones hang.
    holds: AtomicBool,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target: Mutex::new(target),
            frozen: watch::Sender::new(0),
            cut: watch::Sender::new(0),
            last: AtomicU64::new(0),
            holds: AtomicBool::new(false),
        });
        let own = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = own.last.fetch_add(1, SeqCst) + 1;
                tokio::spawn(pass(client, number, Arc::clone(&own)));
            }
        });
        Self { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What is connected now hangs: nothing is passed on, and nothing is closed.
    pub(crate) fn freeze(&self) {
        self.state.frozen.send_replace(self.state.last.load(SeqCst));
    }

    /// New connections hang, or do so no more.
    pub(crate) fn hold_new(&self, holds: bool) {
        self.state.holds.store(holds, SeqCst);
    }

    /// Cuts what is connected, and leads elsewhere from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.state.cut.send_replace(self.state.last.load(SeqCst));
    }
}

async fn pass(mut client: TcpStream, number: u64, state: Arc<State>) {
    if state.holds.load(SeqCst) {
        return std::future::pending().await;
    }
    let target = *state.target.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut frozen, mut cut) = (state.frozen.subscribe(), state.cut.subscribe());
    let (mut to_server, mut to_client) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        if *frozen.borrow_and_update() >= number {
            return std::future::pending().await;
        }
        if *cut.borrow_and_update() >= number {
            return;
        }
        let passed = tokio::select! {
            _ = frozen.changed() => continue,
            _ = cut.changed() => continue,
            read = client.read(&mut to_server) => match read {
                Ok(count) if count > 0 => server.write_all(&to_server[..count]).await,
                _ => return,
            },
            read = server.read(&mut to_client) => match read {
                Ok(count) if count > 0 => client.write_all(&to_client[..count]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
