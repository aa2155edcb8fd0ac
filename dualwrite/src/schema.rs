//! Judges schema changes: which statements are safe while the service runs, which lock or rewrite, which
//! break the release that is running, and what to write instead. Pure: nothing is executed.
//!
//! [`classify`] judges a script. [`Folder`] reads a folder of sqlx migrations, and [`Folder::check`] judges
//! every statement in it.
//!
//! What no parser here reads is [`Level::Unknown`], never safe.

mod added;
mod alter;
mod alter_mysql;
mod alter_object;
mod alter_tokens;
mod alter_verdicts;
mod block;
mod expression;
mod folder;
pub(crate) mod guarded;
mod judge;
mod level;
mod live;
mod made;
mod object;
mod rows;
mod script;
mod scripts;
mod settings;
mod split;
pub(crate) mod status;
mod token;
mod waiver;

pub use folder::{AppliedMigration, CheckError, CheckedStatement, Folder};
pub use level::{Level, SqlDialect, Verdict};
pub use script::{StatementVerdict, classify};
pub use scripts::{Script, ScriptStatement};
pub use status::{FileState, FileStatus, Standing, StatementStatus};
