//! The example service: one process of it, or the whole demonstration.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use service_example::{Database, Demo, Failure, Release};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// A shop whose orders move from one table to another while it is open.
#[derive(Debug, Parser)]
#[command(name = "service")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves callers until it is asked to end
    Serve {
        /// The database: sqlite://…, postgres://… or mysql://…
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database: String,
        /// Which release of the service this is
        #[arg(long, value_enum, default_value_t = Release::After)]
        release: Release,
        /// Where callers reach it
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Takes an empty database through a whole migration under load
    Demo {
        /// The database; a file that goes away afterwards, without it
        #[arg(long)]
        database: Option<String>,
        /// How long the load runs after each step
        #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
        pause: Duration,
        /// Orders of before the migration
        #[arg(long, default_value_t = 20_000)]
        orders: u64,
    },
}

/// Until all is copied, a write may find its row on the old side alone. Each such write says so in the log, and marks
/// its row to be copied: a line for each would hide everything else here.
const LOGGED: &str = "warn,dualwrite::call::write::unequal=error";

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("service: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Serve { database, release, listen } => {
            let database = Database::open(&database).await?;
            let listener = TcpListener::bind(listen).await?;
            service_example::announce(&listener)?;
            database.serve(release, listener).await?;
            Ok(true)
        }
        Command::Demo { database, pause, orders } => {
            let folder = tempfile::tempdir()?;
            let file = || format!("sqlite://{}", folder.path().join("shop.db").display());
            let url = database.unwrap_or_else(file);
            Demo { url, program: std::env::current_exe()?, pause, orders }.run().await
        }
    }
}
