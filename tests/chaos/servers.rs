//! Servers of the run's own, which it may restart: in temporary folders, removed in the end. Where a server is not
//! installed, the one that the environment names is used and not restarted.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::plan::{Kind, Settings};
use crate::support::notice;
use crate::support::server::{folder, free_port, installed, postgres_bin, program};
use crate::support::wait::until;

pub(crate) struct Servers {
    postgres: Option<Server>,
    mysql: Option<Server>,
}

enum Server {
    /// Of the environment.
    Named {
        url: String,
        port: u16,
    },
    Own(Box<Own>),
}

/// Started by this run.
struct Own {
    url: String,
    port: u16,
    folder: PathBuf,
    /// Starts it, again and again.
    command: Command,
    child: Child,
}

impl Servers {
    pub(crate) async fn start(settings: &Settings) -> Self {
        let wanted = |kind| settings.databases.contains(&kind);
        let (postgres, mysql) = tokio::join!(
            async { if wanted(Kind::Postgres) { server(Kind::Postgres).await } else { None } },
            async { if wanted(Kind::MySql) { server(Kind::MySql).await } else { None } },
        );
        Self { postgres, mysql }
    }

    fn of(&mut self, kind: Kind) -> Option<&mut Server> {
        match kind {
            Kind::Sqlite => None,
            Kind::Postgres => self.postgres.as_mut(),
            Kind::MySql => self.mysql.as_mut(),
        }
    }

    /// The URL of its first database, and its port; `None` where there is none.
    pub(crate) fn url(&mut self, kind: Kind) -> Option<(String, u16)> {
        match self.of(kind)? {
            Server::Named { url, port } => Some((url.clone(), *port)),
            Server::Own(own) => Some((own.url.clone(), own.port)),
        }
    }

    /// Ends it by this signal and starts it again. Answers whether it could.
    pub(crate) async fn restart(&mut self, kind: Kind, signal: Signal) -> bool {
        let Some(Server::Own(own)) = self.of(kind) else { return false };
        let pid = Pid::from_child(&own.child);
        kill_process(pid, signal).unwrap();
        let ended = tokio::task::block_in_place(|| own.child.wait());
        ended.unwrap();
        own.spawn().await;
        true
    }
}

impl Own {
    async fn spawn(&mut self) {
        self.child = self.command.spawn().unwrap();
        let port = self.port;
        until("a server listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // PostgreSQL takes its processes with it. What was stored is thrown away.
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        std::thread::sleep(Duration::from_millis(200));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn server(kind: Kind) -> Option<Server> {
    let own = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => postgres().await,
        Kind::MySql => mariadb().await,
    };
    if let Some(own) = own {
        return Some(Server::Own(Box::new(own)));
    }
    let (variable, default) = match kind {
        Kind::Postgres => ("DUALWRITE_TEST_POSTGRES_URL", 5432),
        _ => ("DUALWRITE_TEST_MYSQL_URL", 3306),
    };
    if let Ok(url) = env::var(variable) {
        notice(&format!(
            "chaos: no server of {} is installed here: no restarts of it",
            kind.name()
        ));
        let port = url.rsplit(':').next().and_then(|end| end.split('/').next()?.parse().ok());
        return Some(Server::Named { port: port.unwrap_or(default), url });
    }
    let missing = format!("chaos: {variable} is not set and no server is installed; use tests/run");
    let demanded = ["CI", "DUALWRITE_TEST_REQUIRE_ALL"];
    assert!(demanded.iter().all(|demand| env::var_os(demand).is_none()), "{missing}");
    notice(&format!("SKIPPED {missing}"));
    None
}

async fn postgres() -> Option<Own> {
    let bin = postgres_bin()?;
    let (folder, account) = folder(&["postgres", "nobody"]);
    let mut init = program(&account, &folder, bin.join("initdb"));
    init.args(["--pgdata=data", "--no-sync", "--username=postgres", "--auth=trust", "--locale=C"]);
    init.arg("--encoding=UTF8");
    let port = free_port();
    let mut command = program(&account, &folder, bin.join("postgres"));
    command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    // A process that is killed loses nothing that it has written: the machine goes on.
    command.args(["-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"]);
    command.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Some(started(init, command, folder, port, url).await)
}

async fn mariadb() -> Option<Own> {
    let (install, server) = (installed("mariadb-install-db")?, installed("mariadbd")?);
    let (folder, account) = folder(&["mysql", "nobody"]);
    let data = format!("--datadir={}", folder.join("data").display());
    let mut init = program(&account, &folder, install);
    init.args(["--no-defaults", &data, "--auth-root-authentication-method=normal"]);
    init.args(["--skip-test-db", "--skip-name-resolve"]);
    let port = free_port();
    let mut command = program(&account, &folder, server);
    command.args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--skip-name-resolve"]);
    command.arg(format!("--tmpdir={}", folder.display()));
    command.arg(format!("--socket={}", folder.join("socket").display()));
    command.arg(format!("--pid-file={}", folder.join("pid").display()));
    command.arg(format!("--port={port}")).arg("--character-set-server=utf8mb4");
    command.args(["--max-connections=300", "--debug-no-sync", "--innodb-buffer-pool-size=64M"]);
    let url = format!("mysql://root@127.0.0.1:{port}/mysql");
    Some(started(init, command, folder, port, url).await)
}

async fn started(
    init: Command,
    mut command: Command,
    folder: PathBuf,
    port: u16,
    url: String,
) -> Own {
    let done = tokio::process::Command::from(init).status().await.unwrap();
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(done.success(), "{}", log());
    let child = command.spawn().unwrap();
    let mut own = Own { url, port, folder: folder.clone(), command, child };
    until("a server listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    let ended = own.child.try_wait().unwrap();
    assert!(ended.is_none(), "it ended with {ended:?}: {}", log());
    own
}
