//! What is particular to `ALTER TABLE` on MySQL and MariaDB.

use sqlparser::ast::{AlterTableOperation, ColumnOption, TableConstraint};

use super::level::{Level, Verdict};
use super::token::{Cursor, Part};

/// `CHANGE` and `MODIFY`.
pub(super) fn modified(operation: &AlterTableOperation) -> Verdict {
    let (renamed, options) = match operation {
        AlterTableOperation::ChangeColumn { old_name, new_name, options, .. } => {
            (!old_name.value.eq_ignore_ascii_case(&new_name.value), options)
        }
        AlterTableOperation::ModifyColumn { options, .. } => (false, options),
        _ => return Verdict::unknown(),
    };
    if renamed {
        return Verdict::breaking(
            "rename-column",
            "CHANGE gives the column another name: code that runs now names the old one",
            "add a new column, write both, backfill, move the readers, then drop the old one",
        );
    }
    if options.iter().any(|option| matches!(option, ColumnOption::NotNull)) {
        return Verdict::breaking(
            "set-not-null",
            "writers of running code that leave NULL fail, and the table may be copied",
            "when no release writes NULL, and with ALGORITHM=INPLACE, LOCK=NONE",
        );
    }
    Verdict::blocking(
        "alter-column-type-rewrite",
        "a change of the type copies the table (ALGORITHM=COPY): writers wait",
        "add a new column, write both and backfill; or write ALGORITHM=INPLACE, LOCK=NONE, so that it fails \
         instead of blocking",
    )
}

pub(super) fn constraint(constraint: &TableConstraint) -> Verdict {
    match constraint {
        TableConstraint::Index(_) => {
            Verdict::safe("create-index", "InnoDB builds secondary indexes beside writers")
        }
        TableConstraint::Unique(_) => Verdict::warn(
            "add-unique",
            "it fails where values come twice, and INSERTs of running code may fail from then on",
            "look for duplicates first",
        ),
        TableConstraint::FulltextOrSpatial(_) => Verdict::blocking(
            "add-fulltext",
            "LOCK=NONE is refused for it: writers wait",
            "make a new table with it and migrate to that",
        ),
        TableConstraint::ForeignKey(_) => Verdict::blocking(
            "add-fk",
            "LOCK=NONE is refused for it: the table is copied, and writers wait",
            "a foreign key only on a new table; or SET foreign_key_checks = 0 in this session, once the rows \
             are known to be right",
        ),
        TableConstraint::Check(_) => Verdict::blocking(
            "add-check",
            "LOCK=NONE is refused for it: the table is copied, and writers wait",
            "check in the application, or on a new table",
        ),
        TableConstraint::PrimaryKey(_) => Verdict::blocking(
            "add-primary-key",
            "the table is rebuilt",
            "make a new table with it and migrate to that",
        ),
        _ => Verdict::unknown(),
    }
}

/// `ALGORITHM=INPLACE, LOCK=NONE` (or INSTANT) makes a statement fail where it would block.
pub(super) fn under_its_options(verdict: Verdict, actions: &[&[Part]]) -> Verdict {
    let has = |words: &[&str]| {
        actions.iter().any(|action| words.iter().any(|word| Cursor(action).has_run(word)))
    };
    let online = has(&["LOCK = NONE", "LOCK NONE", "ALGORITHM = INSTANT", "ALGORITHM INSTANT"]);
    if online && verdict.level == Level::Blocking {
        return Verdict::warn(
            verdict.rule,
            "the server refuses it where it would block, so nobody waits; it may not be done at all",
            verdict.instead,
        );
    }
    verdict
}
