//! A session of the server that holds a lock which somebody waits for.

use std::fmt;

use crate::database::SqlRow;

/// A query for the sessions that hold the fence of a migration, the oldest first. Its columns are those of
/// [`Holder`].
#[derive(Clone, Copy, Debug)]
pub enum Holders {
    /// The database does not say.
    Unknown,
    /// Binds the name of the migration.
    ByName(&'static str),
    /// Binds the number of a session that waits for the fence, and finds something only while it does.
    ByWaiter(&'static str),
}

/// What the server says of it; never its statements, which may bear values of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) session: i64,
    pub(crate) user: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) address: Option<String>,
    /// What it does, in the server's words.
    pub(crate) state: Option<String>,
    /// For how many seconds its transaction has been open.
    pub(crate) open_s: Option<i64>,
}

impl Holder {
    pub(crate) fn of(row: &SqlRow) -> sqlx::Result<Self> {
        let text = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
        Ok(Self {
            session: row.integer(0)?,
            user: text(1)?,
            application: text(2)?,
            address: text(3)?,
            state: text(4)?,
            open_s: row.optional_integer(5)?,
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.session)?;
        let said = [
            self.user.as_ref().map(|user| format!("user `{}`", plain(user))),
            self.application.as_ref().map(|name| format!("application `{}`", plain(name))),
            self.address.as_ref().map(|address| format!("from {}", plain(address))),
            self.state.as_ref().map(|state| plain(state)),
            self.open_s.map(|seconds| format!("open for {seconds} s")),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        match said.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", said.join(", ")),
        }
    }
}

/// Without control characters, and not endless.
fn plain(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut holder = Holder { session: 7, ..Holder::default() };
        assert_eq!(holder.to_string(), "session 7");
        holder.user = Some("a\u{1b}pp".to_owned());
        (holder.state, holder.open_s) = (Some("idle in transaction".to_owned()), Some(4));
        assert_eq!(holder.to_string(), "session 7 (user `app`, idle in transaction, open for 4 s)");
    }
}
