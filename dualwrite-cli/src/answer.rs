//! What a command answers with: a text, whether the answer is yes, and files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use dualwrite::contract::SchemaFile;

use crate::failure::Exit;

/// What is asked of one migration.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// The migration
    pub(crate) name: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the statements of a plan go.
#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// Writes them into this folder, in the layout of sqlx; takes --version, too
    #[arg(long, value_name = "FOLDER", requires = "version")]
    pub(crate) into: Option<PathBuf>,
    /// The version of the first file
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) version: Option<i64>,
}

/// What is printed, and whether the answer is yes.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) yes: bool,
}

pub(crate) fn yes(text: String) -> Answer {
    Answer { text, yes: true }
}

pub(crate) fn as_json(value: &impl serde::Serialize) -> Result<String, Exit> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Exit::other(format!("this cannot be JSON: {error}")))?;
    Ok(format!("{text}\n"))
}

/// Writes files into a folder, and answers with their paths. Files that are there already are left alone.
pub(crate) fn write(files: &[SchemaFile], folder: &Path) -> Result<String, Exit> {
    let failed = |path: &Path, error: std::io::Error| {
        Exit::other(format!(
            "cannot write `{}`: {error}; name another folder or version",
            path.display()
        ))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut text = String::new();
    for file in files {
        let path = folder.join(&file.name);
        let made = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let written =
            made.and_then(|mut made| std::io::Write::write_all(&mut made, file.text.as_bytes()));
        written.map_err(|error| failed(&path, error))?;
        let _ = writeln!(text, "{}", path.display());
    }
    Ok(text)
}
