//! The command `dualwrite`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dualwrite: the system gives no means to wait for a database: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut out, mut err) = (stdout(), stderr());
    let run = dualwrite_cli::run(std::env::args_os(), &mut out, &mut err);
    ExitCode::from(runtime.block_on(run))
}
