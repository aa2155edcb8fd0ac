//! Copies a key inside a caller's transaction, which may see its rows as they were when it began to read. On
//! MySQL and MariaDB, at `REPEATABLE READ`, a locking statement sees newer ones, and nothing fails: what the copy
//! function then reads may be older than what it overwrites. So here both looks are compared first.

use super::Copied;
use super::keyed::KeyParts;
use super::run::{One, SqlCopier};
use super::source::Pages;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::transaction::Tx;

/// What is there of a key.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    in_old: bool,
    in_new: bool,
    /// Its marks of either side, with their times.
    marks: Vec<Vec<SqlValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Copy,
    /// New has the row, or neither side has it.
    Nothing,
    /// It was written since the transaction began to read.
    Behind,
}

/// Whether the transaction sees a key as it is. While its fence lasts every write of the key goes to both sides
/// or leaves a mark: so where old has it and new has not, and all that is as it is seen, nothing was written.
fn judge(now: &Sight, seen: &Sight) -> Verdict {
    match now == seen {
        false => Verdict::Behind,
        true if now.in_old && !now.in_new => Verdict::Copy,
        true => Verdict::Nothing,
    }
}

impl<DB: Backend> SqlCopier<DB> {
    /// Copies a key to new in a caller's transaction, under a savepoint; as [`copy_one`](Self::copy_one).
    pub(crate) async fn copy_one_inside(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        key: &KeyParts,
    ) -> Result<One, Error> {
        self.learn_keys_on(tx.connection()).await?;
        if !tx.keeps_a_snapshot() {
            return self.copy_one(shared, tx, key, Side::New).await;
        }
        // A row that is old and new at once says nothing of which of them is filled.
        let two_tables = |new: &&Pages| self.pages.missing_in(new).is_some();
        let Some(new) = self.new_pages.as_ref().filter(two_tables) else {
            let message = "a lazy read inside a transaction at REPEATABLE READ cannot tell whether the \
                           row is as it was when the transaction began to read; begin at READ COMMITTED \
                           or, where the new side is a table of its own, name it with `CopyKeys::new_source`";
            return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
        };
        let now = self.fingerprint(shared, tx, new, key, true).await?;
        match judge(&now, &self.fingerprint(shared, tx, new, key, false).await?) {
            Verdict::Copy => self.copy_one(shared, tx, key, Side::New).await,
            Verdict::Nothing => Ok(One::Copied(Copied::default())),
            Verdict::Behind => Ok(One::Behind),
        }
    }

    /// Looks at what is there now, by locks, or at what the transaction sees. The order is that of every write:
    /// old, the marks, new.
    async fn fingerprint(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        new: &Pages,
        key: &KeyParts,
        lock: bool,
    ) -> Result<Sight, Error> {
        let in_old = self.find(shared, tx, &self.pages, key, lock).await?;
        let marks = marks::<DB>(shared, tx, self.identity(key)?, lock).await?;
        let in_new = self.find(shared, tx, new, key, lock).await?;
        Ok(Sight { in_old, in_new, marks })
    }
}

async fn marks<DB: Backend>(
    shared: &Shared,
    tx: &mut Tx<'_, DB>,
    key: EncodedKey,
    lock: bool,
) -> Result<Vec<Vec<SqlValue>>, Error> {
    let lock = if lock { DB::Adapter::DIALECT.for_update } else { "" };
    let sql = format!(
        "SELECT side, marked_at FROM dualwrite_dirty \
         WHERE migration = ? AND side IN (?, ?) AND key_text = ? ORDER BY side{lock}"
    );
    let [old, new] = [Side::Old, Side::New].map(|side| SqlValue::from(side.as_str()));
    let values = [SqlValue::from(&*shared.name), old, new, key.0.as_str().into()];
    let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
    let failed = |error| Error::database("reading a dirty mark", error).of(&shared.name);
    Ok(rows.map_err(failed)?.into_iter().map(|row| row.0).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sight() -> impl Strategy<Value = Sight> {
        let mark = (any::<bool>(), 0..3_i64);
        let marks = proptest::collection::vec(mark, 0..2);
        (any::<bool>(), any::<bool>(), marks).prop_map(|(in_old, in_new, marks)| Sight {
            in_old,
            in_new,
            marks: marks
                .into_iter()
                .map(|(old, at)| vec![if old { "old" } else { "new" }.into(), at.into()])
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn only_what_is_seen_as_it_is_and_missing_in_new_is_copied(
            now in sight(), seen in sight()
        ) {
            let copies = judge(&now, &seen) == Verdict::Copy;
            prop_assert_eq!(copies, now == seen && now.in_old && !now.in_new);
            prop_assert_eq!(judge(&now, &seen) == Verdict::Behind, now != seen);
        }
    }

    #[test]
    fn a_mark_that_was_made_again_is_another() {
        let at = |time: i64| Sight {
            in_old: true,
            in_new: false,
            marks: vec![vec!["new".into(), time.into()]],
        };
        assert_eq!(judge(&at(2), &at(1)), Verdict::Behind);
        assert_eq!(judge(&at(2), &at(2)), Verdict::Copy);
    }
}
