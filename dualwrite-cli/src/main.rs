//! The command `dualwrite`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dualwrite_cli::run_process(std::env::args_os()))
}
