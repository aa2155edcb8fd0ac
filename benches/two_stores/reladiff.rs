//! reladiff, from PyPI, in an environment of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use dualwrite::BoxError;

/// The interpreter that has it.
pub(crate) fn install() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("dualwrite-bench-reladiff");
    let python = folder.join("bin/python");
    if is_there(&python) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(said.lines().last().unwrap_or("it failed").to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let packages = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "reladiff",
        "psycopg2-binary",
        "mysql-connector-python",
    ];
    run(Command::new(&python).args(packages))?;
    Ok(python)
}

fn is_there(python: &Path) -> bool {
    let asked =
        Command::new(python).args(["-c", "import reladiff, psycopg2, mysql.connector"]).output();
    asked.is_ok_and(|done| done.status.success())
}

/// Seconds of its way for two databases.
pub(crate) fn hashdiff(python: &Path, old: &str, new: &str) -> Result<f64, BoxError> {
    let script = "
import sys, time
from reladiff import connect_to_table, diff_tables, Algorithm
one, other = (connect_to_table(url, 'customer', 'id') for url in sys.argv[1:3])
start = time.time()
found = list(diff_tables(one, other, algorithm=Algorithm.HASHDIFF, extra_columns=('a', 'b', 'c', 'd')))
print(time.time() - start)
assert not found, found[:3]
";
    let url = |url: &str| url.replacen("postgres://", "postgresql://", 1);
    let done = Command::new(python).args(["-c", script, &url(old), &url(new)]).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    Ok(String::from_utf8(done.stdout)?.trim().parse()?)
}
