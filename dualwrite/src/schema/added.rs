//! A column that is added to a table with rows.

use sqlparser::ast::{
    ColumnDef, ColumnOption, DataType, Expr, GeneratedAs, GeneratedExpressionMode,
};

use super::expression::{
    Volatility, function_name, is_null, is_plain_literal, names_columns, volatility,
};
use super::level::{SqlDialect, Verdict, worst};

const NULLABLE_FIRST: &str =
    "add it without NOT NULL, write it from every release, backfill it, then make it NOT NULL";

/// What the options of a column say.
struct Column<'c> {
    name: String,
    data_type: &'c DataType,
    not_null: bool,
    default: Option<&'c Expr>,
    identity: bool,
    stored: bool,
    generated: bool,
    unique: bool,
    primary: bool,
    check: bool,
    foreign: bool,
    auto_increment: bool,
}

impl<'c> Column<'c> {
    fn read(column: &'c ColumnDef) -> Self {
        let mut read = Self {
            name: column.name.to_string(),
            data_type: &column.data_type,
            not_null: false,
            default: None,
            identity: false,
            stored: false,
            generated: false,
            unique: false,
            primary: false,
            check: false,
            foreign: false,
            auto_increment: false,
        };
        for option in &column.options {
            read.option(&option.option);
        }
        read
    }

    fn option(&mut self, option: &'c ColumnOption) {
        match option {
            ColumnOption::NotNull => self.not_null = true,
            ColumnOption::Default(expr) => {
                self.default = (!is_null(expr)).then_some(expr);
            }
            ColumnOption::PrimaryKey(_) => self.primary = true,
            ColumnOption::Unique(_) => self.unique = true,
            ColumnOption::ForeignKey(_) => self.foreign = true,
            ColumnOption::Check(_) => self.check = true,
            ColumnOption::Identity(_) => self.identity = true,
            ColumnOption::Generated {
                generated_as, generation_expr, generation_expr_mode, ..
            } => {
                self.generated = true;
                self.identity |= generation_expr.is_none();
                self.stored |=
                    matches!(generation_expr_mode, Some(GeneratedExpressionMode::Stored))
                        || matches!(generated_as, GeneratedAs::ExpStored);
            }
            ColumnOption::DialectSpecific(tokens) => {
                let spelled = tokens.iter().map(ToString::to_string).collect::<String>();
                let spelled = spelled.to_ascii_uppercase();
                self.auto_increment |= spelled.contains("AUTO_INCREMENT");
            }
            _ => {}
        }
    }

    fn is_serial(&self) -> bool {
        matches!(self.data_type, DataType::Custom(name, _)
            if ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"]
                .contains(&&*function_name(name)))
    }

    fn is_json(&self) -> bool {
        matches!(self.data_type, DataType::JSON)
    }
}

/// What adding it to `table` does.
pub(super) fn column(table: &str, column: &ColumnDef, dialect: SqlDialect) -> Verdict {
    let column = Column::read(column);
    let found = match dialect {
        SqlDialect::Postgres => postgres(table, &column),
        SqlDialect::Mysql => mysql(table, &column),
        SqlDialect::Sqlite => sqlite(&column),
    };
    worst(found).unwrap_or_else(|| {
        let reason = match (column.not_null, column.default.is_some()) {
            (true, true) => "a constant default: no rewrite, and old INSERTs take the default",
            _ => "a nullable column: the catalogue alone changes, and old INSERTs go on",
        };
        let rule = match (column.not_null, column.default.is_some()) {
            (true, _) => "add-column-not-null-default",
            (_, true) => "add-column-default",
            _ => "add-column-nullable",
        };
        Verdict::safe(rule, reason)
    })
}

fn postgres(table: &str, column: &Column<'_>) -> Vec<Verdict> {
    let (name, mut found) = (&column.name, Vec::new());
    let rewrite = "the table is rewritten under ACCESS EXCLUSIVE: nobody reads or writes meanwhile";
    if column.not_null
        && column.default.is_none()
        && !column.generated
        && !column.identity
        && !column.is_serial()
    {
        found.push(Verdict::breaking(
            "add-column-not-null",
            "it fails at once on a table with rows, and INSERTs of running code that leave it out fail",
            NULLABLE_FIRST,
        ));
    }
    if column.default.is_some_and(|default| volatility(default) == Volatility::Volatile) {
        found.push(Verdict::blocking(
            "add-column-volatile-default",
            format!("the default is computed for each row: {rewrite}"),
            format!(
                "ALTER TABLE {table} ADD COLUMN {name} …; then SET DEFAULT; then backfill in batches"
            ),
        ));
    }
    found.extend(numbered(column, rewrite));
    if column.stored {
        found.push(Verdict::blocking(
            "add-column-generated-stored",
            rewrite,
            format!(
                "add {name} as a plain column, fill it by a trigger or by the writers, and backfill it"
            ),
        ));
    }
    found.extend(constraints(table, column, "ACCESS EXCLUSIVE"));
    if column.is_json() {
        found.push(Verdict::warn(
            "add-column-json",
            "json has no equality: SELECT DISTINCT and GROUP BY over it fail",
            format!("ALTER TABLE {table} ADD COLUMN {name} jsonb"),
        ));
    }
    found
}

/// A column that draws its values from a sequence.
fn numbered(column: &Column<'_>, rewrite: &str) -> Option<Verdict> {
    let name = &column.name;
    (column.is_serial() || column.identity).then(|| {
        let rule = if column.identity { "add-column-identity" } else { "add-column-serial" };
        Verdict::blocking(
            rule,
            format!("each row draws a number: {rewrite}"),
            format!(
                "add {name} as a nullable bigint, make a sequence, SET DEFAULT nextval(…), then backfill \
                 in batches"
            ),
        )
    })
}

/// Constraints that are written behind the column.
fn constraints(table: &str, column: &Column<'_>, lock: &str) -> Vec<Verdict> {
    let (name, mut found) = (&column.name, Vec::new());
    if column.primary {
        found.push(Verdict::blocking(
            "add-primary-key",
            format!("an index is built under {lock}"),
            format!(
                "add {name} alone, fill it, CREATE UNIQUE INDEX CONCURRENTLY, then ADD PRIMARY KEY USING \
                 INDEX"
            ),
        ));
    }
    if column.unique {
        found.push(Verdict::blocking(
            "add-unique",
            format!("an index is built under {lock}"),
            format!(
                "add {name} alone, CREATE UNIQUE INDEX CONCURRENTLY on {table}, then ADD CONSTRAINT … \
                 UNIQUE USING INDEX"
            ),
        ));
    }
    if column.check {
        found.push(Verdict::blocking(
            "add-check",
            format!("all rows are checked under {lock}"),
            format!("add {name} alone, then ADD CONSTRAINT … CHECK (…) NOT VALID, then VALIDATE"),
        ));
    }
    if column.foreign {
        found.push(Verdict::blocking(
            "add-fk",
            "both tables are locked against writes while the rows are checked",
            format!("add {name} alone, then ADD FOREIGN KEY … NOT VALID, then VALIDATE CONSTRAINT"),
        ));
    }
    found
}

fn mysql(table: &str, column: &Column<'_>) -> Vec<Verdict> {
    let (name, mut found) = (&column.name, Vec::new());
    if column.not_null && column.default.is_none() && !column.auto_increment && !column.generated {
        found.push(Verdict::breaking(
            "add-column-not-null",
            "rows there get '' or 0 without a word, and strict INSERTs that leave it out fail (1364)",
            NULLABLE_FIRST,
        ));
    }
    if column.auto_increment || column.is_serial() {
        found.push(Verdict::blocking(
            "add-column-auto-increment",
            "each row draws a number: the table is copied, and writers wait",
            "make a new table and move the rows to it",
        ));
    }
    if column.stored {
        found.push(Verdict::blocking(
            "add-column-generated-stored",
            "the table is rebuilt, and writers wait",
            format!("ALTER TABLE {table} ADD COLUMN {name} … VIRTUAL"),
        ));
    }
    let computed = |default| volatility(default) == Volatility::Volatile || names_columns(default);
    if column.default.is_some_and(computed) {
        found.push(Verdict::blocking(
            "add-column-volatile-default",
            "the default is computed for each row: the table is copied, and writers wait",
            "add it nullable, backfill it in batches, then set the default",
        ));
    }
    found.extend(mysql_constraints(column));
    found
}

/// Constraints that are written behind the column.
fn mysql_constraints(column: &Column<'_>) -> Vec<Verdict> {
    let mut found = Vec::new();
    if column.primary {
        found.push(Verdict::blocking(
            "add-primary-key",
            "the table is rebuilt",
            "make a new table and move the rows to it",
        ));
    }
    if column.unique {
        found.push(Verdict::warn(
            "add-unique",
            "it fails where values come twice, and INSERTs of running code may fail from then on",
            "look for duplicates first",
        ));
    }
    if column.check {
        found.push(Verdict::blocking(
            "add-check",
            "the table is copied, and writers wait",
            "check in the application",
        ));
    }
    if column.foreign {
        found.push(Verdict::blocking(
            "add-fk",
            "the table is copied, and writers wait",
            "add the column alone; a foreign key only on a new table",
        ));
    }
    found
}

fn sqlite(column: &Column<'_>) -> Vec<Verdict> {
    let mut found = Vec::new();
    let mut refused = |rule, reason: &str, instead: &str| {
        found.push(Verdict::breaking(rule, format!("SQLite refuses it: {reason}"), instead));
    };
    if column.not_null && column.default.is_none() && !column.generated {
        refused("add-column-not-null", "a NOT NULL column needs a default", NULLABLE_FIRST);
    }
    if column.default.is_some_and(|default| !is_plain_literal(default)) {
        let reason = "the default of an added column must be constant where there are rows";
        refused("add-column-default-nonconst", reason, "write a literal, or backfill the value");
    }
    if column.primary || column.unique {
        let reason = "an added column cannot be UNIQUE or PRIMARY KEY";
        refused("add-unique", reason, "add it alone, then CREATE UNIQUE INDEX");
    }
    if column.stored {
        let reason = "an added column cannot be generated and stored";
        refused("add-column-generated-stored", reason, "write VIRTUAL");
    }
    if column.foreign && column.default.is_some() {
        let reason = "an added column that references another table needs NULL as its default";
        refused("add-fk", reason, "leave the default out");
    }
    if column.check {
        found.push(Verdict::warn(
            "add-check",
            "all rows are checked while the database is locked for writers",
            "check in the application, or accept the wait on a small table",
        ));
    }
    found
}
