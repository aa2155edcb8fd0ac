//! [`FileFlags`]: flags in a TOML file that may change while the service runs.

use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt as _;

use crate::error::{BoxError, Error};
use crate::flags::desired::DesiredState;
use crate::flags::source::FlagSource;
use crate::rollout::toml_text::{Entry, Text};

/// The most bytes of a file of flags.
pub const FLAG_FILE_BYTES_MAX: u64 = 1 << 20;

const KEYS: &[&str] = &["stage", "ramp", "kill"];

/// A TOML file with an entry for each migration: a text, or a table of `stage`, `ramp` and `kill`. It is read
/// at every poll, so a change needs no signal and no event of the file system; a file that is missing or
/// broken is reported, and what it said before holds. Replace it by a rename, so that nobody reads
/// half of it. See the [guide](crate::guide::flags) for what this source can promise.
///
/// ```toml
/// customer-email = "shadow 5%"
///
/// [goal-versions]
/// stage = "live"
/// kill = false
/// ```
///
/// ```
/// use dualwrite::runtime::FileFlags;
/// let flags = FileFlags::new("/etc/service/migrations.toml");
/// ```
#[derive(Clone, Debug)]
pub struct FileFlags {
    path: PathBuf,
}

impl FileFlags {
    /// Reads this file.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    async fn read(&self) -> Result<String, BoxError> {
        let mut text = String::new();
        let file = tokio::fs::File::open(&self.path).await?;
        file.take(FLAG_FILE_BYTES_MAX + 1).read_to_string(&mut text).await?;
        if text.len() as u64 > FLAG_FILE_BYTES_MAX {
            return Err(format!("it is longer than {FLAG_FILE_BYTES_MAX} bytes").into());
        }
        Ok(text)
    }
}

impl FlagSource for FileFlags {
    fn name(&self) -> &str {
        "file"
    }

    async fn desired(&self, migration: &str) -> Result<Option<DesiredState>, BoxError> {
        let failed =
            |error: BoxError| -> BoxError { format!("{}: {error}", self.path.display()).into() };
        let text = self.read().await.map_err(failed)?;
        wanted(&text, migration).map_err(|error| failed(error.into()))
    }
}

/// What the file says of one migration. All of it is checked.
fn wanted(text: &str, migration: &str) -> Result<Option<DesiredState>, Error> {
    let text = Text(text);
    let document = text.parse()?;
    let mut found = None;
    for entry in text.all_entries(document.get_ref()) {
        let wanted = read(text, &entry)?;
        if entry.key == migration {
            found = Some(wanted);
        }
    }
    Ok(found)
}

fn read(text: Text<'_>, entry: &Entry<'_, '_>) -> Result<DesiredState, Error> {
    if entry.value.is_str() {
        return entry.parsed();
    }
    let (mut stage, mut ramp, mut kill) = (None, None, None);
    for field in text.entries(entry.table()?, KEYS)? {
        match field.key {
            "stage" => stage = Some(field.text()?),
            "ramp" => ramp = Some(field.number_or_text()?),
            _ => kill = Some(field.bool()?),
        }
    }
    DesiredState::of_fields(stage, ramp.as_deref(), kill)
        .map_err(|error| entry.error(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_spoils_the_whole_file() {
        let good = "a = \"shadow\"\n[b]\nstage = \"live\"\nramp = 2.5\n[c]\nkill = true";
        assert_eq!(wanted(good, "a").unwrap().unwrap().to_string(), "shadow");
        assert_eq!(wanted(good, "b").unwrap().unwrap().to_string(), "live 2.5 %");
        assert_eq!(wanted(good, "c").unwrap(), Some(DesiredState::Kill));
        assert_eq!(wanted(good, "d").unwrap(), None);
        for (text, problem) in [
            ("a = \"shadow\"\nb = \"sahdow\"", "line 2: `b`: `sahdow` is no stage"),
            ("a = 5", "line 1: `a`: expected a table"),
            ("[a]\nstag = \"live\"", "line 2: unknown key `stag`; did you mean `stage`?"),
            ("[a]\nramp = 5", "line 1: `a`: a flag says `stage`"),
            ("a = ", "line 1: "),
        ] {
            let found = wanted(text, "a").unwrap_err().to_string();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
