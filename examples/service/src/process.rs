//! The service as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::demo::Failure;
use crate::load::get;

/// For a process to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// What a process says before the address that it serves.
const SERVING: &str = "serving http://";

/// Says where this process serves, to whoever has started it.
///
/// # Errors
/// Where the address is not known.
pub fn announce(listener: &TcpListener) -> std::io::Result<()> {
    println!("{SERVING}{}", listener.local_addr()?);
    Ok(())
}

/// A release of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// 1.0, which does not know the library.
    #[value(name = "1.0")]
    Before,
    /// 1.1, which has adopted it.
    #[value(name = "1.1")]
    After,
}

/// A running process; it is killed where this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Process {
    /// Starts a release on the database of this URL, and waits until it serves.
    ///
    /// # Errors
    /// Where it does not serve within a minute.
    pub async fn start(program: &Path, url: &str, release: Release) -> Result<Self, Failure> {
        let release = release.to_possible_value().ok_or("a release without a name")?;
        let mut child = Command::new(program)
            .args(["serve", "--release", release.get_name(), "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", url)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("a process without an output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line =
            timeout(PATIENCE, lines.next_line()).await.map_err(|_| "it does not serve")??;
        let address = line.as_deref().and_then(|line| line.strip_prefix(SERVING));
        let address = address.ok_or("the process has ended before it served")?.parse()?;
        let ready = async {
            while !is_ready(address).await {
                sleep(RETRY_PAUSE).await
            }
        };
        timeout(PATIENCE, ready).await.map_err(|_| "it does not become ready")?;
        Ok(Self { child, address })
    }

    /// Asks it to end, as a deployment does, and waits until it has.
    ///
    /// # Errors
    /// Where it does not end within a minute, or ends with a failure.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.ok_or("the process has ended by itself")?, Signal::TERM)?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.map_err(|_| "the process does not end")??;
        if ended.success() { Ok(()) } else { Err(format!("the process ended with {ended}").into()) }
    }
}

/// Whether the process wants calls: what an orchestrator asks before it sends any.
async fn is_ready(address: SocketAddr) -> bool {
    get(address, "/readyz").await.is_ok_and(|(status, _)| status == StatusCode::OK)
}
