//! PostgreSQL servers of a test's own: a primary, and a standby that can be promoted.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{Connection as _, PgConnection};

use super::server::{copied, postgres_program};

/// A server in a temporary folder; stopped, and removed, when it is dropped.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
}

/// PostgreSQL does not run as root.
fn run(program: &str, arguments: &[&str]) {
    let path = postgres_program(program);
    let mut command = match rustix::process::getuid().is_root() {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        }
        false => Command::new(path),
    };
    let status = command
        .args(arguments)
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

fn folder() -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix("dualwrite-cluster.")
        .disable_cleanup(true)
        .tempdir()
        .expect("a folder for the server")
        .keep();
    if rustix::process::getuid().is_root() {
        let owned = Command::new("chown").arg("postgres").arg(&folder).status();
        assert!(owned.expect("chown").success());
    }
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

impl Server {
    pub(crate) fn primary() -> Self {
        let folder = folder();
        let data = folder.join("data");
        run("initdb", &["-D", text(&data), "-U", "postgres", "-A", "trust", "--no-sync"]);
        Self { folder, port: free_port() }.started()
    }

    fn started(self) -> Self {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c shared_buffers=16MB \
             -c max_wal_senders=4 -c wal_level=replica -c hot_standby=on",
            self.port,
            self.folder.display()
        );
        let (data, log) = (self.folder.join("data"), self.folder.join("log"));
        run("pg_ctl", &["-D", text(&data), "-l", text(&log), "-w", "-o", &options, "start"]);
        self
    }

    /// A copy of this one that follows it.
    pub(crate) async fn standby(&self) -> Self {
        let folder = folder();
        copied(self.port, &self.folder.join("data"), &folder.join("data"), "postgres").await;
        Self { folder, port: free_port() }.started()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&Self::url(self.port)).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&Self::url(self.port)).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }

    /// As by a power failure.
    pub(crate) fn crash(&self) {
        run("pg_ctl", &["-D", text(&self.folder.join("data")), "-m", "immediate", "-w", "stop"]);
    }

    pub(crate) fn promote(&self) {
        run("pg_ctl", &["-D", text(&self.folder.join("data")), "-w", "promote"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        if data.join("postmaster.pid").exists() {
            run("pg_ctl", &["-D", text(&data), "-m", "immediate", "-w", "stop"]);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
