//! `ALTER TABLE`: each action is judged alone; the statement is as bad as its worst one.

use sqlparser::ast::{
    AlterColumnOperation, AlterTableAlgorithm, AlterTableLock, AlterTableOperation, DataType, Expr,
    GeneratedAs, Statement, TableConstraint,
};
use sqlparser::parser::Parser;

use super::alter_verdicts::{Table, drop_column, drop_constraint, drop_primary_key, rename_table};
use super::expression::{is_null, refuses_null};
use super::level::{Level, SqlDialect, Verdict, worst};
use super::token::{Cursor, Part, parser_dialect, to_sql};
use super::{added, alter_mysql, alter_tokens};

/// Judges `ALTER TABLE` behind these two words.
pub(super) fn table(mut cursor: Cursor<'_>, dialect: SqlDialect) -> (Option<String>, Verdict) {
    cursor.take("IF EXISTS");
    cursor.take("ONLY");
    let Some(name) = cursor.name() else { return (None, Verdict::unknown()) };
    cursor.take("*");
    let table = Table { name: &name, dialect };
    let actions = cursor.split_at_commas();
    let judged: Vec<Verdict> = actions.iter().map(|action| judge(&table, action)).collect();
    let verdict = worst(judged).unwrap_or_else(Verdict::unknown);
    let verdict = match dialect {
        SqlDialect::Mysql => alter_mysql::under_its_options(verdict, &actions),
        _ => verdict,
    };
    (Some(name), verdict)
}

/// `ALTER IGNORE TABLE`, as MariaDB has it.
pub(super) fn ignoring() -> Verdict {
    Verdict::breaking(
        "alter-ignore",
        "rows that come twice under a new unique key are deleted, and values that do not fit are cut, without an error",
        "leave IGNORE out; look for duplicates first",
    )
}

fn judge(table: &Table<'_>, action: &[Part]) -> Verdict {
    if let Some(columns) = columns_in_parentheses(action) {
        let add = |column: &&[Part]| {
            let mut action = vec![Part::Word("ADD".to_owned(), "ADD".to_owned())];
            action.extend_from_slice(column);
            judge(table, &action)
        };
        return worst(columns.iter().map(add)).unwrap_or_else(Verdict::unknown);
    }
    // By its words first: what the parser reads in another sense, or not at all.
    if let Some(verdict) = alter_tokens::action(table, Cursor(action)) {
        return verdict;
    }
    let sql = format!("ALTER TABLE t {}", to_sql(&without_existence(action), table.dialect));
    let parsed = Parser::parse_sql(parser_dialect(table.dialect), &sql);
    match parsed.ok().and_then(|mut all| if all.len() == 1 { all.pop() } else { None }) {
        Some(Statement::AlterTable(alter)) => {
            let found = alter.operations.iter().map(|operation| of_operation(table, operation));
            worst(found).unwrap_or_else(Verdict::unknown)
        }
        _ => Verdict::unknown(),
    }
}

/// `ADD [COLUMN] (a …, b …)`, as MySQL has it.
fn columns_in_parentheses(action: &[Part]) -> Option<Vec<&[Part]>> {
    let mut at = Cursor(action);
    let opens = at.take("ADD") && (at.take("COLUMN (") || at.take("("));
    let closes = matches!(at.0.last(), Some(Part::Other(sign)) if sign == ")");
    (opens && closes).then(|| Cursor(&at.0[..at.0.len() - 1]).split_at_commas())
}

/// Without `IF EXISTS` and `IF NOT EXISTS`, which change nothing in what is done, and which the parser reads in
/// some places alone.
fn without_existence(action: &[Part]) -> Vec<Part> {
    let mut kept = action.to_vec();
    for words in [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]] {
        if let Some(from) =
            (0..kept.len()).find(|from| Cursor(&kept[*from..]).starts(&words.join(" ")))
        {
            kept.drain(from..from + words.len());
        }
    }
    kept
}

fn of_operation(table: &Table<'_>, operation: &AlterTableOperation) -> Verdict {
    use AlterTableOperation as Op;
    match operation {
        Op::AddColumn { column_def, .. } => added::column(table.name, column_def, table.dialect),
        Op::AddConstraint { constraint, not_valid } => {
            constraint_added(table, constraint, *not_valid)
        }
        Op::DropColumn { .. } => drop_column(),
        Op::RenameColumn { .. } => Verdict::breaking(
            "rename-column",
            "code that runs now names the old column, and code to come the new one: one of them fails",
            "add a new column, write both, backfill, move the readers, then drop the old one",
        ),
        Op::RenameTable { .. } => rename_table(),
        Op::RenameConstraint { .. } => Verdict::warn(
            "rename-constraint",
            "code that knows the constraint by its name (ON CONFLICT ON CONSTRAINT, error handling) fails",
            "look for its name in the code first",
        ),
        Op::AlterColumn { column_name, op } => column_altered(table, &column_name.value, op),
        Op::ChangeColumn { .. } | Op::ModifyColumn { .. } => alter_mysql::modified(operation),
        Op::ValidateConstraint { .. } => Verdict::safe(
            "validate-constraint",
            "reads the rows under a lock that lets others read and write",
        ),
        Op::DropConstraint { .. }
        | Op::DropPrimaryKey { .. }
        | Op::DropForeignKey { .. }
        | Op::DropIndex { .. } => dropped(operation),
        Op::OwnerTo { .. } => Verdict::warn(
            "change-owner",
            "roles that had their rights as the owner lose them",
            "grant the rights first",
        ),
        Op::Algorithm { .. } | Op::Lock { .. } => algorithm(operation),
        Op::AutoIncrement { .. } => Verdict::warn(
            "set-auto-increment",
            "a number below the greatest one is ignored; one above leaves a gap",
            "",
        ),
        _ => alter_tokens::other(operation),
    }
}

fn dropped(operation: &AlterTableOperation) -> Verdict {
    use AlterTableOperation as Op;
    match operation {
        Op::DropConstraint { name, .. } => drop_constraint(&name.value),
        Op::DropPrimaryKey { .. } => drop_primary_key(),
        Op::DropForeignKey { .. } => Verdict::warn(
            "drop-foreign-key",
            "rows that nothing holds together can come in from then on",
            "keep it until the new side has it",
        ),
        Op::DropIndex { .. } => Verdict::warn(
            "drop-index",
            "statements that use it become slow, and duplicates come in where it was unique",
            "make the new index first; look at the server's statistics of its use",
        ),
        _ => Verdict::unknown(),
    }
}

fn algorithm(operation: &AlterTableOperation) -> Verdict {
    match operation {
        AlterTableOperation::Lock {
            lock: AlterTableLock::Shared | AlterTableLock::Exclusive,
            ..
        } => Verdict::blocking(
            "lock-shared",
            "writers wait until it is done",
            "write LOCK=NONE, so that it fails instead of blocking",
        ),
        AlterTableOperation::Algorithm { algorithm: AlterTableAlgorithm::Copy, .. } => {
            Verdict::blocking(
                "algorithm-copy",
                "the table is copied, and writers wait",
                "write ALGORITHM=INPLACE or INSTANT, so that it fails instead of blocking",
            )
        }
        _ => Verdict::safe("alter-option", "says how the others are done"),
    }
}

fn constraint_added(table: &Table<'_>, constraint: &TableConstraint, not_valid: bool) -> Verdict {
    match table.dialect {
        SqlDialect::Mysql => return alter_mysql::constraint(constraint),
        SqlDialect::Sqlite => return Verdict::unknown(), // SQLite cannot add constraints
        SqlDialect::Postgres => {}
    }
    let name = table.name;
    match constraint {
        TableConstraint::ForeignKey(_) if not_valid => Verdict::safe(
            "add-fk-not-valid",
            "rows that are there are not read; rows to come are checked",
        ),
        TableConstraint::ForeignKey(_) => Verdict::blocking(
            "add-fk",
            "SHARE ROW EXCLUSIVE on both tables while all rows are checked: writers wait",
            format!(
                "ALTER TABLE {name} ADD … NOT VALID; then, in a transaction of its own, ALTER TABLE {name} \
                 VALIDATE CONSTRAINT …"
            ),
        ),
        TableConstraint::Check(check) if refuses_null(&check.expr) => Verdict::breaking(
            "add-check-not-null",
            "it holds for new rows at once, also NOT VALID: INSERTs of running code that leave NULL fail",
            "only after no release that runs writes NULL there; then NOT VALID, then VALIDATE",
        ),
        TableConstraint::Check(_) if not_valid => Verdict::safe(
            "add-check-not-valid",
            "rows that are there are not read; rows to come are checked",
        ),
        TableConstraint::Check(_) => Verdict::blocking(
            "add-check",
            "ACCESS EXCLUSIVE while all rows are checked: nobody reads or writes",
            format!("ALTER TABLE {name} ADD … NOT VALID; then VALIDATE CONSTRAINT"),
        ),
        _ => index_added(constraint),
    }
}

/// A constraint that an index keeps.
fn index_added(constraint: &TableConstraint) -> Verdict {
    match constraint {
        TableConstraint::UniqueUsingIndex(_) => {
            Verdict::safe("unique-using-index", "the index is there: a short lock")
        }
        TableConstraint::PrimaryKeyUsingIndex(_) => Verdict::warn(
            "primary-key-using-index",
            "columns that are not NOT NULL yet are scanned under ACCESS EXCLUSIVE",
            "make the columns NOT NULL first, by a validated CHECK",
        ),
        TableConstraint::PrimaryKey(_) => Verdict::blocking(
            "add-primary-key",
            "an index is built under ACCESS EXCLUSIVE: nobody reads or writes",
            "CREATE UNIQUE INDEX CONCURRENTLY, then ADD PRIMARY KEY USING INDEX",
        ),
        TableConstraint::Unique(_) => Verdict::blocking(
            "add-unique",
            "an index is built under ACCESS EXCLUSIVE: nobody reads or writes",
            "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX",
        ),
        TableConstraint::Exclude(_) => Verdict::blocking(
            "add-exclude",
            "an index is built under ACCESS EXCLUSIVE, and there is no NOT VALID for it",
            "make a new table with it and migrate to that",
        ),
        _ => Verdict::unknown(),
    }
}

fn column_altered(table: &Table<'_>, column: &str, op: &AlterColumnOperation) -> Verdict {
    let name = table.name;
    match op {
        AlterColumnOperation::SetNotNull => Verdict::breaking(
            "set-not-null",
            "INSERTs of running code that leave NULL fail, and all rows are read under ACCESS EXCLUSIVE",
            format!(
                "when no release writes NULL: ADD CHECK ({column} IS NOT NULL) NOT VALID; VALIDATE; SET NOT \
                 NULL; drop the check"
            ),
        ),
        AlterColumnOperation::DropNotNull => Verdict::warn(
            "drop-not-null",
            "readers whose type is not an Option fail on the first NULL",
            "make the field an Option in every release first",
        ),
        AlterColumnOperation::SetDefault { value } if !is_null(value) => {
            Verdict::safe("set-default", "the catalogue alone changes; it holds for new rows")
        }
        AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault => {
            Verdict::breaking(
                "drop-default",
                "INSERTs of running code that leave the column out fail where it is NOT NULL",
                "when every release gives a value",
            )
        }
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            data_type_set(name, data_type, using.as_ref())
        }
        AlterColumnOperation::AddGenerated { generated_as, .. } => match generated_as {
            Some(GeneratedAs::Always) => Verdict::breaking(
                "add-identity",
                "INSERTs of running code that give a value fail under GENERATED ALWAYS",
                "GENERATED BY DEFAULT AS IDENTITY",
            ),
            _ => Verdict::warn(
                "add-identity",
                "the sequence begins at 1, whatever numbers there are",
                "give START WITH a number above the greatest one",
            ),
        },
        AlterColumnOperation::GenericOptions { .. } => Verdict::unknown(),
    }
}

fn data_type_set(table: &str, data_type: &DataType, using: Option<&Expr>) -> Verdict {
    let widened =
        matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
            && using.is_none();
    let (level, reason) = match widened {
        true => (
            Level::Blocking,
            "no rewrite if the column was a shorter varchar, a rewrite otherwise; statements that running \
             code has prepared fail on open connections until they are closed (0A000)",
        ),
        false => (
            Level::Breaking,
            "readers of running code decode the old type, and the table is rewritten under ACCESS EXCLUSIVE",
        ),
    };
    Verdict::new(
        level,
        "alter-column-type",
        reason,
        format!(
            "ALTER TABLE {table} ADD COLUMN … of the new type, write both, backfill, move the readers"
        ),
    )
}
