//! What an expression does: a constant, the same for the whole statement, or anew for each row; and which
//! functions a query calls.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArguments, ObjectName, TableFactor, UnaryOperator, Visit,
    Visitor, visit_expressions,
};

use super::level::Verdict;
use super::token::Part;

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
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_populate_recordset",
    "json_to_recordset",
    "json_tree",
    "json_build_object",
    "json_extract",
    "json_object",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_to_recordset",
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
    "regexp_split_to_table",
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

/// Functions that change a setting of the session, or take a number from a sequence.
const HARMLESS: &[&str] =
    &["set_config", "nextval", "currval", "last_insert_id", "last_insert_rowid"];

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
            let name = builtin_name(&function.name).unwrap_or_default();
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

/// The name of a function of the database itself; `None` of one in a schema of the user's.
fn builtin_name(name: &ObjectName) -> Option<String> {
    let schema = (name.0.len() > 1).then(|| name.0[0].to_string().to_ascii_lowercase());
    schema.is_none_or(|schema| schema == "pg_catalog").then(|| function_name(name))
}

/// Whether nothing changes where a function of this name, in lower case, is called.
fn is_harmless(name: &str) -> bool {
    let volatile_only =
        ["random", "gen_random_uuid", "uuid_generate_v4", "clock_timestamp", "uuid", "rand"];
    [STABLE, PURE, HARMLESS, &volatile_only].iter().any(|list| list.contains(&name))
        || name.starts_with("pragma_")
}

/// The first function of a statement that may change something, as far as known here: also one that stands where a
/// table does.
pub(super) fn effectful_function(tree: &impl Visit) -> Option<String> {
    let mut calls = Calls { found: None };
    let _ = tree.visit(&mut calls);
    calls.found
}

struct Calls {
    found: Option<String>,
}

impl Calls {
    fn called(&mut self, name: &ObjectName) -> ControlFlow<()> {
        if builtin_name(name).is_some_and(|name| is_harmless(&name)) {
            return ControlFlow::Continue(());
        }
        self.found = Some(function_name(name));
        ControlFlow::Break(())
    }
}

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        // What sorts and groups rows without arguments of its own is a function of windows.
        let window = function.over.is_some();
        let without = matches!(function.args, FunctionArguments::None);
        if window || without { ControlFlow::Continue(()) } else { self.called(&function.name) }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.called(name)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What may stand before a parenthesis without being a function.
const NO_FUNCTIONS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "IN",
    "EXISTS",
    "ANY",
    "ALL",
    "SOME",
    "VALUES",
    "AS",
    "SELECT",
    "FROM",
    "WHERE",
    "ON",
    "USING",
    "IF",
    "WHEN",
    "THEN",
    "ELSE",
    "CASE",
    "LIKE",
    "BETWEEN",
    "IS",
    "OVER",
    "FILTER",
    "BY",
    "VARCHAR",
    "CHAR",
    "CHARACTER",
    "VARYING",
    "NUMERIC",
    "DECIMAL",
    "TIMESTAMP",
    "TIME",
    "BIT",
    "INTERVAL",
    "FLOAT",
    "DOUBLE",
    "INT",
    "INTEGER",
    "BIGINT",
    "SMALLINT",
    "TINYINT",
    "DATETIME",
    "VARBINARY",
    "BINARY",
    "ENUM",
    "ROW",
    "ARRAY",
    "CURSOR",
    "RETURN",
    "WHILE",
    "UNTIL",
    "ELSIF",
    "ELSEIF",
    "DISTINCT",
    "SET",
    "CURRENT_USER",
];

/// What is said where the words call a function that is not known here.
pub(super) fn unknown_call(parts: &[Part]) -> Option<Verdict> {
    let opens = |part: &Part| *part == Part::Other("(".to_owned());
    let called = parts.windows(2).enumerate().find_map(|(at, pair)| {
        if !opens(&pair[1]) {
            return None;
        }
        let of_schema = at > 1
            && parts[at - 1] == Part::Other(".".to_owned())
            && !parts[at - 2].is_word("PG_CATALOG");
        match &pair[0] {
            Part::Word(word, written) => {
                let known =
                    is_harmless(&written.to_ascii_lowercase()) || NO_FUNCTIONS.contains(&&**word);
                (of_schema || !known).then(|| written.clone())
            }
            Part::Name(name) => Some(name.clone()),
            _ => None,
        }
    });
    called.map(|function| effectful(&function))
}

/// What is said of a call of a function that is not known here.
pub(super) fn effectful(function: &str) -> Verdict {
    Verdict::warn(
        "select-function",
        format!("`{function}` may change something; no rule here knows it"),
        "look what it does, and waive it with a reason",
    )
}

/// Whether a default names another column, so that it is another value in each row.
pub(super) fn names_columns(expr: &Expr) -> bool {
    holds(expr, &|expr| match expr {
        Expr::Identifier(name) => !STABLE.contains(&&*name.value.to_ascii_lowercase()),
        Expr::CompoundIdentifier(_) => true,
        _ => false,
    })
}

/// Whether a check refuses NULL, or may: `c IS NOT NULL`, however it is written.
pub(super) fn refuses_null(expr: &Expr) -> bool {
    holds(expr, &|expr| match expr {
        Expr::IsNotNull(_) | Expr::IsDistinctFrom(..) => true,
        Expr::UnaryOp { op: UnaryOperator::Not, expr }
        | Expr::IsFalse(expr)
        | Expr::IsNotTrue(expr) => tests_null(expr),
        // `(c IS NULL) = false`
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => {
            tests_null(left) || tests_null(right)
        }
        Expr::Function(function) => {
            ["num_nulls", "num_nonnulls"].contains(&&*function_name(&function.name))
        }
        _ => false,
    })
}

fn tests_null(expr: &Expr) -> bool {
    holds(expr, &|expr| matches!(expr, Expr::IsNull(_) | Expr::IsNotDistinctFrom(..)))
}

/// Whether an expression, or one inside it, is of this kind.
fn holds(expr: &Expr, wanted: &dyn Fn(&Expr) -> bool) -> bool {
    let found = visit_expressions(expr, |expr| match wanted(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}
