//! The processes of the service, and the network before each of them.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};

use crate::instance::Order;
use crate::proxy::Proxy;

/// Far beyond what a process needs to end on a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

pub(crate) struct Member {
    pub(crate) name: String,
    process: Child,
    orders: ChildStdin,
    errors: PathBuf,
    log: PathBuf,
    /// Stopped until then.
    pub(crate) stopped: Option<Instant>,
    /// `None` where its database is a file.
    pub(crate) proxy: Option<Proxy>,
    /// The network is bad until then.
    pub(crate) bad: Option<Instant>,
}

impl Member {
    pub(crate) fn start(order: &Order, folder: &Path, proxy: Option<Proxy>) -> Self {
        let errors = folder.join(format!("{}.err", order.name));
        let (variable, text) = order.variable();
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(variable, text)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let name = order.name.clone();
        let log = order.log.clone();
        Self { name, process, orders, errors, log, stopped: None, proxy, bad: None }
    }

    /// Whether it works, and has logged so much.
    pub(crate) fn is_well(&self, bytes: u64) -> bool {
        let works = self.stopped.is_none() && self.bad.is_none();
        works && fs::metadata(&self.log).is_ok_and(|log| log.len() >= bytes)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(pid) = pid {
            kill_process(pid, signal).unwrap();
        }
    }

    /// Stops all its threads.
    pub(crate) fn stop(&mut self, until: Instant) {
        self.signal(Signal::STOP);
        self.stopped = Some(until);
    }

    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.stopped = None;
    }

    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// What is wrong with it: it ends when it is asked to, and not before.
    pub(crate) fn fault(&mut self) -> Option<String> {
        let ended = self.process.try_wait().unwrap()?;
        Some(format!("instance {} ended by itself, {ended}: {}", self.name, self.said()))
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) async fn end(mut self) -> Option<String> {
        if let Some(proxy) = &self.proxy {
            proxy.clear();
        }
        self.resume();
        let _ = self.orders.write_all(b"stop\n").await;
        match tokio::time::timeout(ENDS_WITHIN, self.process.wait()).await {
            Ok(ended) if ended.as_ref().unwrap().success() => None,
            Ok(ended) => {
                Some(format!("instance {} failed, {}: {}", self.name, ended.unwrap(), self.said()))
            }
            Err(_) => {
                let said = self.said();
                Some(format!("instance {} does not end within {ENDS_WITHIN:?}: {said}", self.name))
            }
        }
    }
}
