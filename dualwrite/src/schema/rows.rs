//! Statements on rows: what is read, written and lost, also in a `WITH` and behind `EXPLAIN ANALYZE`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Delete, Expr, InTarget, Insert, OnConflictAction, OnInsert, Query, SetExpr,
    SqliteOnConflict, Statement, Update, Visit, Visitor,
};

use super::expression::effectful_function;
use super::level::{SqlDialect, Verdict, worst};

/// Judges a query: it may write in a `WITH`, lock rows, or call a function that does anything.
pub(super) fn query(query: &Query, dialect: SqlDialect) -> Verdict {
    let mut found = Vec::new();
    let mut inner = Inner { dialect, found: &mut found };
    let _ = query.visit(&mut inner);
    if !query.locks.is_empty() {
        found.push(Verdict::warn(
            "select-for-update",
            "writers of these rows wait until the transaction ends",
            "leave the lock out",
        ));
    }
    if let Some(function) = effectful_function(query, dialect) {
        found.push(Verdict::warn(
            "select-function",
            format!("`{function}` may change something; no rule here knows it"),
            "look what it does, and waive it with a reason",
        ));
    }
    worst(found).unwrap_or_else(|| Verdict::safe("select", "reads only"))
}

/// Finds what writes inside a query.
struct Inner<'f> {
    dialect: SqlDialect,
    found: &'f mut Vec<Verdict>,
}

impl Visitor for Inner<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
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
    Some(match statement {
        Statement::Insert(insert) => inserted(insert, dialect),
        Statement::Update(update) => updated(update),
        Statement::Delete(delete) => deleted(delete),
        Statement::Merge(_) => Verdict::breaking(
            "merge",
            "it may overwrite and delete rows that running code has written",
            "copy by the backfill of a migration, which goes behind no newer write",
        ),
        _ => return None,
    })
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

fn updated(update: &Update) -> Verdict {
    match &update.selection {
        Some(condition) if names_one_key(condition) => {
            Verdict::safe("update-one", "one row by its key")
        }
        Some(condition) if !is_always(condition) => Verdict::warn(
            "update-where",
            "every row that it finds stays locked until the transaction ends",
            "in batches outside of the migration, unless it finds few rows",
        ),
        _ if update.limit.is_some() => Verdict::warn(
            "update-where",
            "every row that it finds stays locked until the transaction ends",
            "in batches outside of the migration",
        ),
        _ => Verdict::blocking(
            "update-all",
            "every row is locked in one transaction, and written anew",
            "backfill in batches: `migration.backfill()`",
        ),
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
            matches!((&**left, &**right), (Expr::Value(_), Expr::Value(_))) && left == right
        }
        Expr::Nested(inner) => is_always(inner),
        _ => false,
    }
}
