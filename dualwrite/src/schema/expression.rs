//! What an expression does: a constant, the same for the whole statement, or anew for each row; and which
//! functions a query calls.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, FunctionArguments, ObjectName, Visit, visit_expressions};

use super::level::SqlDialect;

/// How often a default is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Volatility {
    /// A literal, or signs and casts around one.
    Constant,
    /// Once for a statement: `now()`.
    Stable,
    /// Anew for each row, or nobody here knows.
    Volatile,
}

const STABLE: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "transaction_timestamp",
    "statement_timestamp",
    "utc_timestamp",
    "utc_date",
    "curdate",
    "current_user",
    "session_user",
    "user",
    "current_schema",
    "current_setting",
    "timezone",
];

/// Functions of the database that change nothing and compute the same from the same arguments.
const PURE: &[&str] = &[
    "abs",
    "array_length",
    "array_agg",
    "array_append",
    "array_position",
    "avg",
    "bit_length",
    "bool_and",
    "bool_or",
    "cardinality",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "convert",
    "count",
    "date",
    "date_add",
    "date_part",
    "date_sub",
    "date_trunc",
    "datetime",
    "decode",
    "encode",
    "extract",
    "exists",
    "floor",
    "format",
    "from_unixtime",
    "generate_series",
    "greatest",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "instr",
    "json",
    "json_agg",
    "json_array",
    "json_build_object",
    "json_extract",
    "json_object",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_build_object",
    "jsonb_set",
    "julianday",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "max",
    "md5",
    "min",
    "mod",
    "nullif",
    "position",
    "pow",
    "power",
    "quote_ident",
    "quote_literal",
    "rank",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "sha256",
    "sign",
    "split_part",
    "sqrt",
    "strftime",
    "string_agg",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "sum",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_regclass",
    "to_timestamp",
    "total",
    "trim",
    "typeof",
    "unhex",
    "unix_timestamp",
    "unnest",
    "upper",
    "version",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_size_pretty",
    "has_table_privilege",
];

/// Functions that change a setting of the session, a sequence, or take a number from one.
const HARMLESS: &[&str] =
    &["set_config", "setval", "nextval", "currval", "last_insert_id", "last_insert_rowid"];

/// How often a default has to be computed.
pub(super) fn volatility(expr: &Expr) -> Volatility {
    let mut found = Volatility::Constant;
    let _ = visit_expressions(expr, |expr| {
        found = found.max(of_node(expr));
        ControlFlow::<()>::Continue(())
    });
    found
}

fn of_node(expr: &Expr) -> Volatility {
    match expr {
        Expr::Function(function) => {
            let name = function_name(&function.name);
            if STABLE.contains(&&*name) {
                Volatility::Stable
            } else if PURE.contains(&&*name) && name != "generate_series" {
                Volatility::Constant
            } else {
                Volatility::Volatile
            }
        }
        Expr::Identifier(name) => {
            match STABLE.contains(&&*name.value.to_ascii_lowercase()) && name.quote_style.is_none()
            {
                true => Volatility::Stable,
                false => Volatility::Constant,
            }
        }
        Expr::Subquery(_) | Expr::Exists { .. } => Volatility::Volatile,
        _ => Volatility::Constant,
    }
}

/// Whether it is written as SQLite wants the default of an added column: a literal, with a sign or without.
pub(super) fn is_plain_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::UnaryOp { expr, .. } => is_plain_literal(expr),
        _ => false,
    }
}

pub(super) fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, sqlparser::ast::Value::Null),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_null(expr),
        _ => false,
    }
}

pub(super) fn function_name(name: &ObjectName) -> String {
    let last = name.0.last().map(ToString::to_string).unwrap_or_default();
    last.trim_matches(['"', '`']).to_ascii_lowercase()
}

/// The first function of a statement that may change something, as far as known here.
pub(super) fn effectful_function(tree: &impl Visit, dialect: SqlDialect) -> Option<String> {
    let mut found = None;
    let _ = visit_expressions(tree, |expr| {
        if let Expr::Function(function) = expr {
            let name = function_name(&function.name);
            // What sorts and groups rows without arguments of its own is a function of windows.
            let window = function.over.is_some();
            let known = [STABLE, PURE, HARMLESS].iter().any(|list| list.contains(&&*name));
            let without = matches!(function.args, FunctionArguments::None);
            let volatile_only = [
                "random",
                "gen_random_uuid",
                "uuid_generate_v4",
                "clock_timestamp",
                "uuid",
                "rand",
            ]
            .contains(&&*name);
            if !known && !window && !without && !volatile_only {
                found = Some(name);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    let _ = dialect;
    found
}
