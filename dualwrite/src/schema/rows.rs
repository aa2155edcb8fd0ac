//! Statements on rows: what is read, written and lost, also in a `WITH` and behind `EXPLAIN ANALYZE`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Delete, Expr, InTarget, Insert, ObjectName, OnConflictAction, OnInsert, Query,
    SetExpr, SqliteOnConflict, Statement, TableFactor, TableObject, Update, Visit, Visitor,
};

use super::expression::{effectful, effectful_function};
use super::level::{SqlDialect, Verdict, worst};

/// Judges a query: it may write in a `WITH`, lock rows, or call a function that does anything.
pub(super) fn query(query: &Query, dialect: SqlDialect) -> Verdict {
    let mut found = Vec::new();
    let mut inner = Inner { dialect, found: &mut found };
    let _ = query.visit(&mut inner);
    found.extend(effectful_function(query).map(|function| effectful(&function)));
    worst(found).unwrap_or_else(|| Verdict::safe("select", "reads only"))
}

/// What is said of a query that locks the rows that it reads.
pub(super) fn locked() -> Verdict {
    Verdict::warn(
        "select-for-update",
        "writers of these rows wait until the transaction ends",
        "leave the lock out",
    )
}

/// Finds what writes or locks inside a query.
struct Inner<'f> {
    dialect: SqlDialect,
    found: &'f mut Vec<Verdict>,
}

impl Visitor for Inner<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if !query.locks.is_empty() {
            self.found.push(locked());
        }
        let statement = match &*query.body {
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => statement,
            SetExpr::Select(select) if select.into.is_some() => {
                self.found.push(Verdict::safe("create-table", "a new table"));
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        self.found.extend(written(statement, self.dialect));
        ControlFlow::Continue(())
    }
}

/// Judges a statement that writes rows; `None` where it is another one.
pub(super) fn written(statement: &Statement, dialect: SqlDialect) -> Option<Verdict> {
    if target(statement).is_some_and(is_of_the_catalogue) {
        return Some(Verdict::breaking(
            "write-catalogue",
            "the catalogue is written as rows: nothing checks that it fits what is stored",
            "the statement that is made for it",
        ));
    }
    Some(match statement {
        Statement::Insert(insert) => inserted(insert, dialect),
        Statement::Update(update) => updated(update, dialect),
        Statement::Delete(delete) => deleted(delete),
        Statement::Merge(_) => Verdict::breaking(
            "merge",
            "it may overwrite and delete rows that running code has written",
            "copy by the backfill of a migration, which goes behind no newer write",
        ),
        _ => return None,
    })
}

/// The table that a statement writes, where it is plain.
fn target(statement: &Statement) -> Option<&ObjectName> {
    match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => Some(name),
            _ => None,
        },
        Statement::Update(update) => match &update.table.relation {
            TableFactor::Table { name, .. } => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn is_of_the_catalogue(name: &ObjectName) -> bool {
    let parts: Vec<String> =
        name.0.iter().map(|part| part.to_string().replace(['"', '`'], "").to_lowercase()).collect();
    let schemas = ["pg_catalog", "information_schema", "mysql", "sys", "performance_schema"];
    let of_schema = parts.len() > 1 && schemas.contains(&&*parts[0]);
    let tables = ["sqlite_schema", "sqlite_master", "sqlite_temp_schema", "sqlite_temp_master"];
    let own = parts.last().is_some_and(|table| {
        tables.contains(&&**table) || parts.len() == 1 && table.starts_with("pg_")
    });
    of_schema || own
}

fn inserted(insert: &Insert, dialect: SqlDialect) -> Verdict {
    let replaces = insert.replace_into || insert.or == Some(SqliteOnConflict::Replace);
    if replaces || insert.overwrite {
        return Verdict::breaking(
            "replace",
            "rows with the same key are deleted first, with all columns that it does not name",
            "INSERT … ON CONFLICT DO NOTHING",
        );
    }
    let from_rows = insert.source.as_ref().map(|source| (source, is_values(&source.body)));
    let inner = from_rows.as_ref().map(|(source, _)| query(source, dialect));
    let overwrites = match &insert.on {
        Some(OnInsert::OnConflict(conflict)) => {
            matches!(conflict.action, OnConflictAction::DoUpdate(_))
        }
        Some(_) => true,
        None => false,
    };
    let own = match (overwrites, from_rows) {
        (true, _) => Verdict::warn(
            "insert-overwrites",
            "rows that running code has written may be overwritten",
            "DO NOTHING; or copy by the backfill of a migration",
        ),
        (false, Some((_, false))) => Verdict::warn(
            "insert-select",
            "all rows in one transaction: locks and log of all of them at once, and rows written meanwhile \
             are missed",
            "copy by the backfill of a migration, in batches",
        ),
        _ => Verdict::safe("insert", "adds rows"),
    };
    let called = effectful_function(insert).map(|function| effectful(&function));
    let own = called.map_or(own.clone(), |called| own.worse(called));
    match inner {
        Some(inner) if inner.rule != "select" => own.worse(inner),
        _ => own,
    }
}

fn is_values(body: &SetExpr) -> bool {
    match body {
        SetExpr::Values(_) => true,
        // `INSERT … SELECT 1, 'a'`, without a table.
        SetExpr::Select(select) => select.from.is_empty(),
        SetExpr::Query(query) => is_values(&query.body),
        _ => false,
    }
}

fn updated(update: &Update, dialect: SqlDialect) -> Verdict {
    if update.or == Some(SqliteOnConflict::Replace) {
        return Verdict::breaking(
            "replace",
            "rows with the same unique value are deleted",
            "UPDATE without OR REPLACE",
        );
    }
    let mut found = vec![rows_of(update)];
    let _ = update.visit(&mut Inner { dialect, found: &mut found });
    found.extend(effectful_function(update).map(|function| effectful(&function)));
    worst(found).unwrap_or_else(Verdict::unknown)
}

/// How many rows are written.
fn rows_of(update: &Update) -> Verdict {
    let some = Verdict::warn(
        "update-where",
        "every row that it finds stays locked until the transaction ends",
        "in batches outside of the migration, unless it finds few rows",
    );
    // With other tables beside it, a condition on one of them says nothing of how many rows of this are written.
    let alone = update.from.is_none() && update.table.joins.is_empty();
    match &update.selection {
        Some(condition) if alone && names_one_key(condition) => {
            Verdict::safe("update-one", "one row by its key")
        }
        Some(condition) if !is_always(condition) && (alone || !is_only_values(condition)) => some,
        _ if update.limit.is_some() => some,
        _ => Verdict::blocking(
            "update-all",
            "every row is locked in one transaction, and written anew",
            "backfill in batches: `migration.backfill()`",
        ),
    }
}

/// Comparisons of columns with values alone: nothing ties one table to another.
fn is_only_values(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            is_only_values(left) && is_only_values(right)
        }
        Expr::BinaryOp { left, right, .. } => {
            matches!(&**left, Expr::Value(_)) || matches!(&**right, Expr::Value(_))
        }
        Expr::Nested(inner) => is_only_values(inner),
        _ => false,
    }
}

fn deleted(delete: &Delete) -> Verdict {
    let rule = match &delete.selection {
        Some(condition) if !is_always(condition) => "delete-where",
        _ => "delete",
    };
    Verdict::breaking(
        rule,
        "the rows are lost; code that runs now may read them",
        "in batches outside of the migration, once nobody reads them",
    )
}

/// `id = 5`, or `id IN (1, 2)`.
fn names_one_key(condition: &Expr) -> bool {
    let is_id = |expr: &Expr| match expr {
        Expr::Identifier(name) => name.value.eq_ignore_ascii_case("id"),
        Expr::CompoundIdentifier(names) => {
            names.last().is_some_and(|name| name.value.eq_ignore_ascii_case("id"))
        }
        _ => false,
    };
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_id(left) && matches!(&**right, Expr::Value(_))
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            names_one_key(left) || names_one_key(right)
        }
        Expr::In { expr, target: InTarget::List(list), negated: false, .. } => {
            is_id(expr) && list.iter().all(|value| matches!(value, Expr::Value(_)))
        }
        Expr::Nested(inner) => names_one_key(inner),
        _ => false,
    }
}

/// `WHERE true`, `WHERE 1 = 1`.
fn is_always(condition: &Expr) -> bool {
    match condition {
        Expr::Value(value) => !matches!(value.value.to_string().as_str(), "false" | "0" | "NULL"),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let plain = |expr: &Expr| {
                matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            };
            plain(left) && left == right
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            is_always(left) || is_always(right)
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_always(left) && is_always(right)
        }
        Expr::Nested(inner) => is_always(inner),
        _ => false,
    }
}
