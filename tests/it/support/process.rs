//! Other processes of the service: this test binary once more, running the one test `processes::child`
//! in the role that its environment names. Parent and child talk in lines: orders go over the child's
//! standard input, what it says over its standard output. Nobody sleeps to wait for the other.
//!
//! A child never outlives its parent: it is killed when its [`Child`] is dropped, also by a panic, and
//! ends by itself when its standard input does.

use std::env;
use std::fmt::Display;
use std::io::{BufRead, Write};
use std::process::{Stdio, exit};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::pool::PoolOptions;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::db::{Scratch, TestDb};

/// `<role> <argument>…`
const ROLE: &str = "DUALWRITE_CHILD_ROLE";
/// The kind of database, as `TestDb::NAME`.
const DATABASE: &str = "DUALWRITE_CHILD_DATABASE";
const URL: &str = "DUALWRITE_CHILD_URL";

/// What a child says begins with this: the test runner in it writes to the same place.
const MARK: &str = "@child ";

/// A child that is silent for so long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that a test started.
pub(crate) struct Child {
    process: tokio::process::Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a process on the test's database, in this role and with these arguments.
    pub(crate) fn start<D: TestDb>(db: &Scratch<D>, role: &str) -> Self {
        Self::start_at(D::NAME, &db.url(), role)
    }

    /// The same on the database of this kind and URL.
    pub(crate) fn start_at(database: &str, url: &str, role: &str) -> Self {
        let mut process = Command::new(env::current_exe().expect("the path of this program"))
            .args(["--exact", "processes::child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DATABASE, database)
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("another process");
        let orders = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { process, orders, lines }
    }

    /// What it says next; `None` when it is gone.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.expect("the child hangs").expect("a pipe that can be read")?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// What follows `word` in what it says next, which must begin so.
    pub(crate) async fn says(&mut self, word: &str) -> String {
        let line = self.line().await.unwrap_or_else(|| panic!("gone, instead of saying {word}"));
        match line.strip_prefix(word) {
            Some(rest) => rest.trim_start().to_owned(),
            None => panic!("the child says `{line}`, not `{word} …`"),
        }
    }

    pub(crate) async fn tell(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("the child still takes orders");
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("the child listens");
    }

    /// Stops it in its tracks, all its threads.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        kill_process(id.expect("it runs"), signal).expect("it may be signalled");
    }

    /// Kills it without warning. Answers with what it had said before and nobody had read yet.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.process.kill().await.expect("it can be killed");
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        rest
    }

    /// Lets it end by itself.
    pub(crate) async fn end(mut self) {
        self.tell("end").await;
        while self.line().await.is_some() {}
        let status = timeout(PATIENCE, self.process.wait()).await.expect("it ends");
        assert!(status.expect("it was ours").success(), "the child failed");
    }
}

/// What a process was started for.
pub(crate) struct Call {
    pub(crate) database: String,
    role: String,
    orders: UnboundedReceiver<String>,
}

impl Call {
    /// `None` in a process that no test started.
    pub(crate) fn of_parent() -> Option<Self> {
        let role = env::var(ROLE).ok()?;
        let database = env::var(DATABASE).expect("the kind of database");
        let (sender, orders) = unbounded_channel();
        thread::spawn(move || {
            for order in std::io::stdin().lock().lines().map_while(Result::ok) {
                // Nobody may be listening any more.
                let _ = sender.send(order);
            }
            exit(1) // the parent is gone
        });
        Some(Self { database, role, orders })
    }

    pub(crate) fn role(&self) -> &str {
        self.role.split(' ').next().unwrap_or_default()
    }

    /// The argument at this place, from 0.
    pub(crate) fn argument<T: FromStr>(&self, place: usize) -> T {
        let argument = self.role.split(' ').nth(place + 1);
        let parsed = argument.and_then(|argument| argument.parse().ok());
        parsed.unwrap_or_else(|| panic!("no argument {place} in `{}`", self.role))
    }

    /// The URL of the parent's database.
    pub(crate) fn url() -> String {
        env::var(URL).expect("the database")
    }

    pub(crate) async fn pool<D: TestDb>(&self, connections_max: u32) -> sqlx::Pool<D::Db> {
        let url = Self::url();
        let pool = PoolOptions::new().max_connections(connections_max).connect(&url).await;
        pool.expect("the parent's database")
    }

    /// The words of the next order.
    pub(crate) async fn order(&mut self) -> Vec<String> {
        let order = self.orders.recv().await.expect("orders until the end");
        order.split(' ').map(str::to_owned).collect()
    }
}

/// Says something to the parent, in one piece and at once.
pub(crate) fn say(line: impl Display) {
    let line = format!("{MARK}{line}\n");
    let mut out = std::io::stdout().lock();
    // A parent that is gone is noticed elsewhere.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}
