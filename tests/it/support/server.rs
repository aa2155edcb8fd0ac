//! Servers of a test's own, with settings that the servers of `tests/run` cannot have. They stop when they are
//! dropped.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, query_scalar};

use super::wait::soon;

/// A server, in a folder of its own.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    pub(crate) port: u16,
    /// Starts its program.
    launch: Box<dyn Fn() -> Child + Send + Sync>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // PostgreSQL takes its processes with it; what was stored is thrown away.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        if self.folder.join("quits").exists() {
            let _ = self.child.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Ends it as a power failure does, and starts it again; it recovers what was committed.
    pub(crate) fn restart(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // PostgreSQL takes its processes with it; to others this is as good as any end.
        let signal = match self.folder.join("quits").exists() {
            true => rustix::process::Signal::QUIT,
            false => rustix::process::Signal::KILL,
        };
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap();
        self.child = (self.launch)();
    }

    /// What it has said, for a test that fails.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that belongs to the first of these accounts that exists, and the account. Not below `TMPDIR`, which
/// may be closed to it.
pub(crate) fn folder(accounts: &[&str]) -> (PathBuf, String) {
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let exists =
        |account: &&&str| known.lines().any(|line| line.starts_with(&format!("{account}:")));
    let account = accounts.iter().find(exists).unwrap_or(&"nobody").to_string();
    let builder =
        tempfile::Builder::new().prefix("dualwrite.").disable_cleanup(true).tempdir_in("/var/tmp");
    let folder = builder.unwrap().keep();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").arg(format!("{account}:")).arg(&folder).status();
        assert!(owned.unwrap().success());
    }
    (folder, account)
}

/// A program that runs as the account when we are root, which these servers refuse to be.
pub(crate) fn program(account: &str, folder: &Path, path: impl AsRef<Path>) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", account, "--regid", account, "--clear-groups"]);
            command.args(["--pdeathsig", "KILL"]).arg(path.as_ref());
            command
        }
        false => Command::new(path.as_ref()),
    };
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    command.current_dir(folder).env("HOME", folder).env("TMPDIR", folder).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn finished(mut command: Command, folder: &Path) {
    let done = command.status().unwrap();
    assert!(done.success(), "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
}

/// Where a program is; Debian keeps servers in `sbin`, which is not on everybody's path.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.exists())
}

/// PgBouncer before a PostgreSQL server on this machine.
pub(crate) async fn pgbouncer(server_port: u16, mode: &str, sessions: u32) -> Server {
    let bouncer = installed("pgbouncer").expect("pgbouncer is installed; tests/run does it");
    let (folder, account) = folder(&["postgres", "nobody"]);
    let port = free_port();
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = {mode}\ndefault_pool_size = {sessions}\nmax_client_conn = 200\n\
         ignore_startup_parameters = extra_float_digits\n"
    );
    fs::write(folder.join("settings"), settings).unwrap();
    let within = folder.clone();
    let launch = move || {
        let mut command = program(&account, &within, &bouncer);
        command.arg(within.join("settings")).spawn().unwrap()
    };
    up(folder, port, launch).await
}

/// MariaDB with settings of its own. Empty, without a password for root.
pub(crate) async fn mariadb(settings: &[String]) -> Server {
    let (folder, account) = folder(&["mysql", "nobody"]);
    let port = free_port();
    let data = format!("--datadir={}", folder.join("data").display());
    let mut install = program(&account, &folder, "mariadb-install-db");
    install.args(["--no-defaults", &data, "--auth-root-authentication-method=normal"]);
    install.args(["--skip-test-db", "--skip-name-resolve"]);
    finished(install, &folder);
    let server = installed("mariadbd").expect("mariadbd is installed; tests/run does it");
    let (within, settings) = (folder.clone(), settings.to_vec());
    let launch = move || {
        let folder = &within;
        let mut command = program(&account, folder, &server);
        command.args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--skip-name-resolve"]);
        command.arg(format!("--tmpdir={}", folder.display()));
        command.arg(format!("--socket={}", folder.join("socket").display()));
        command.arg(format!("--pid-file={}", folder.join("pid").display()));
        command.arg(format!("--port={port}")).arg("--character-set-server=utf8mb4");
        command.args(&settings).spawn().unwrap()
    };
    up(folder, port, launch).await
}

/// The programs of the PostgreSQL that `tests/run` was asked for, or of the newest that is installed, if one is.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    if let Some(bin) = std::env::var_os("DUALWRITE_TEST_POSTGRES_BIN") {
        return Some(bin.into());
    }
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut bins: Vec<(u32, PathBuf)> = folders
        .filter_map(|folder| {
            let version = folder.file_name().to_str()?.parse().ok()?;
            Some((version, folder.path().join("bin")))
        })
        .collect();
    bins.sort();
    bins.pop().map(|(_, bin)| bin)
}

pub(crate) fn postgres_program(name: &str) -> PathBuf {
    postgres_bin().expect("PostgreSQL is installed; tests/run does it").join(name)
}

/// PostgreSQL that a standby may follow.
pub(crate) async fn postgres() -> Server {
    let (folder, account) = folder(&["postgres", "nobody"]);
    let mut init = program(&account, &folder, postgres_program("initdb"));
    init.arg("--pgdata=data").args([
        "--no-sync",
        "--username=postgres",
        "--auth=trust",
        "--locale=C",
    ]);
    init.arg("--encoding=UTF8");
    finished(init, &folder);
    start_postgres(folder, &account).await
}

/// A standby of another one.
pub(crate) async fn postgres_standby(primary: &Server) -> Server {
    let (folder, account) = folder(&["postgres", "nobody"]);
    copied(primary.port, &primary.folder.join("data"), &folder.join("data"), &account).await;
    start_postgres(folder, &account).await
}

/// Makes a standby of a server that runs, as `pg_basebackup` does, which not every package of the server has.
pub(crate) async fn copied(port: u16, from: &Path, to: &Path, account: &str) {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let version: String =
        query_scalar("SHOW server_version_num").fetch_one(&mut conn).await.unwrap();
    let (start, stop) = match version.parse::<u32>().unwrap() >= 150_000 {
        true => ("pg_backup_start('copy', true)", "pg_backup_stop(false)"),
        false => ("pg_start_backup('copy', true, false)", "pg_stop_backup(false, false)"),
    };
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
        assert!(done.unwrap().success(), "cp -a {} {}", from.display(), to.display());
    };
    let start = AssertSqlSafe(format!("SELECT {start}::text"));
    let _: String = query_scalar(start).fetch_one(&mut conn).await.unwrap();
    copy(from, to);
    let stop = AssertSqlSafe(format!("SELECT labelfile FROM {stop}"));
    let label: String = query_scalar(stop).fetch_one(&mut conn).await.unwrap();
    copy(&from.join("pg_wal"), &to.join("pg_wal"));
    fs::remove_file(to.join("postmaster.pid")).unwrap();
    fs::write(to.join("backup_label"), label).unwrap();
    fs::write(to.join("standby.signal"), "").unwrap();
    let follow = format!("primary_conninfo = 'host=127.0.0.1 port={port} user=postgres'\n");
    let settings = to.join("postgresql.auto.conf");
    let before = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, before + &follow).unwrap();
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").args(["-R", account]).arg(to).status();
        assert!(owned.unwrap().success());
    }
}

async fn start_postgres(folder: PathBuf, account: &str) -> Server {
    let port = free_port();
    fs::write(folder.join("quits"), "").unwrap();
    let (within, account) = (folder.clone(), account.to_owned());
    let launch = move || {
        let mut command = program(&account, &within, postgres_program("postgres"));
        command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "fsync=off", "-c", "wal_level=replica"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", within.display()));
        command.spawn().unwrap()
    };
    up(folder, port, launch).await
}

/// Waits until somebody listens.
async fn up(
    folder: PathBuf,
    port: u16,
    launch: impl Fn() -> Child + Send + Sync + 'static,
) -> Server {
    let mut server = Server { child: launch(), folder, port, launch: Box::new(launch) };
    soon("a server listens", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    if let Some(status) = server.child.try_wait().unwrap() {
        panic!("it ended with {status}: {}", server.log());
    }
    server
}

/// Connects as soon as the server lets one in.
pub(crate) async fn connected<DB: sqlx::Database>(
    max: u32,
    options: <DB::Connection as sqlx::Connection>::Options,
) -> sqlx::Pool<DB> {
    let pool = sqlx::pool::PoolOptions::<DB>::new().max_connections(max).connect_lazy_with(options);
    soon("the server lets one in", async || pool.acquire().await.ok().map(drop)).await;
    pool
}
