//! What the catalogue of MySQL and MariaDB says of the tables of a migration, and the forms of their keys.

use sqlx::MySqlConnection;

use crate::database::mysql::MySqlAdapter;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlRow, SqlValue};
use crate::error::known::learn;
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Spelling, Unfit, UuidAs, Wrap};
use crate::preflight::schema::{Column, Index, PlainEquality, Table, TableName};

const COLUMNS: &str = "SELECT t.table_type, c.column_name, c.is_nullable, c.column_type, c.data_type, \
     c.collation_name, c.character_set_name, \
     CAST(COALESCE(c.character_maximum_length, -1) AS SIGNED), \
     CAST(COALESCE(c.numeric_precision, -1) AS SIGNED), CAST(COALESCE(c.numeric_scale, -1) AS SIGNED), \
     c.column_default, c.extra FROM information_schema.columns c \
     JOIN information_schema.tables t ON t.table_schema = ? AND t.table_name = ? \
     WHERE c.table_schema = ? AND c.table_name = ? ORDER BY c.ordinal_position";

const INDEXES: &str = "SELECT index_name, CAST(non_unique AS SIGNED), column_name, \
     CAST(COALESCE(sub_part, 0) AS SIGNED) FROM information_schema.statistics \
     WHERE table_schema = ? AND table_name = ? AND index_type = 'BTREE' \
     ORDER BY index_name, seq_in_index";

const CONSTRAINTS: &str = "SELECT CAST(constraint_name AS CHAR) FROM information_schema.table_constraints \
     WHERE table_schema = ? AND table_name = ?";

pub(super) async fn read(
    conn: &mut MySqlConnection,
    names: &[TableName],
) -> sqlx::Result<Vec<Option<Table>>> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        // By its value: with an expression in its place the server looks at the tables of every schema.
        let schema = match &name.schema {
            Some(schema) => Some(schema.clone()),
            None => present_schema(conn).await?,
        };
        let values = [SqlValue::Text(schema), SqlValue::from(name.name.as_str())];
        let twice = [values.clone(), values.clone()].concat();
        let rows = MySqlAdapter::fetch(conn, COLUMNS, &twice).await?;
        let Some(first) = rows.first() else {
            learn(&name.name, std::iter::empty());
            tables.push(None);
            continue;
        };
        let mut table = Table {
            name: name.clone(),
            is_view: first.text(0)?.contains("VIEW"),
            columns: rows.iter().map(column).collect::<sqlx::Result<_>>()?,
            indexes: Vec::new(),
        };
        for row in MySqlAdapter::fetch(conn, INDEXES, &values).await? {
            let name = row.text(0)?;
            if table.indexes.last().is_none_or(|last| last.name != name) {
                let unique = row.integer(1)? == 0;
                table.indexes.push(Index { name: name.to_owned(), unique, columns: Vec::new() });
            }
            if let Some(last) = table.indexes.last_mut() {
                // The beginning of a column is no part to go along.
                let whole = row.integer(3)? == 0;
                let column = if whole { row.optional_text(2)?.unwrap_or_default() } else { "" };
                last.columns.push(column.to_owned());
            }
        }
        learn_names(conn, &table, &values).await?;
        tables.push(Some(table));
    }
    Ok(tables)
}

async fn present_schema(conn: &mut MySqlConnection) -> sqlx::Result<Option<String>> {
    let rows = MySqlAdapter::fetch(conn, "SELECT DATABASE()", &[]).await?;
    rows.first().map_or(Ok(None), |row| row.optional_text(0).map(|text| text.map(str::to_owned)))
}

/// Errors name these.
async fn learn_names(
    conn: &mut MySqlConnection,
    table: &Table,
    values: &[SqlValue],
) -> sqlx::Result<()> {
    let own = table.columns.iter().map(|column| &*column.name);
    let own: Vec<&str> = own.chain(table.indexes.iter().map(|index| &*index.name)).collect();
    let constraints = MySqlAdapter::fetch(conn, CONSTRAINTS, values).await?;
    let constraints: Vec<&str> =
        constraints.iter().map(|row| row.text(0)).collect::<sqlx::Result<_>>()?;
    learn(&table.name.name, own.into_iter().chain(constraints));
    Ok(())
}

fn column(row: &SqlRow) -> sqlx::Result<Column> {
    let text = |at| row.optional_text(at).map(|text| text.map(str::to_owned));
    let number = |at| row.integer(at).map(|number| u64::try_from(number).ok());
    let (type_name, extra) = (row.text(3)?.to_owned(), row.text(11)?.to_lowercase());
    let (collation, charset) = (text(5)?, text(6)?);
    Ok(Column {
        name: row.text(1)?.to_owned(),
        base: row.text(4)?.to_lowercase(),
        cast: String::new(),
        is_enum: type_name.starts_with("enum") || type_name.starts_with("set("),
        operators: None,
        is_ordered: true,
        nullable: row.text(2)? == "YES",
        unsigned: type_name.contains("unsigned"),
        is_deterministic: collation.is_none(),
        collation,
        charset,
        length: number(7)?,
        precision: number(8)?,
        scale: number(9)?,
        default: text(10)?,
        is_generated: extra.contains("generated"),
        extra,
        type_name,
    })
}

/// Columns of one type of whole numbers, texts of one character set in which each letter has one form, and columns of two
/// types that write one value in two ways (`1.5` and `1.50`, a time with and without microseconds).
pub(super) fn compared_plainly(old: &Column, new: &Column) -> Option<PlainEquality> {
    let is_text = |base: &str| base.contains("char") || base.contains("text");
    let simple = ["utf8mb4", "utf8mb3", "latin1", "ascii"];
    match (&*old.base, &old.charset) {
        ("tinyint" | "smallint" | "mediumint" | "int" | "bigint", _)
            if old.type_name == new.type_name =>
        {
            Some(PlainEquality::Equal)
        }
        (base, Some(charset)) if is_text(base) && is_text(&new.base) => {
            let is_simple = simple.contains(&&**charset) && new.charset == old.charset;
            is_simple.then_some(PlainEquality::Bytes)
        }
        _ => (old.type_name != new.type_name && are_alike(&old.base, &new.base))
            .then_some(PlainEquality::Equal),
    }
}

/// Whether these types have one kind of values. Not a whole number or a decimal beside a float, which takes more for equal
/// than is.
fn are_alike(one: &str, other: &str) -> bool {
    let families: [&[&str]; 4] = [
        &["tinyint", "smallint", "mediumint", "int", "bigint", "decimal"],
        &["float", "double"],
        &["date", "datetime", "timestamp"],
        &["time"],
    ];
    families.iter().any(|family| family.contains(&one) && family.contains(&other))
}

/// The form of a key column of this kind.
pub(super) fn key_form(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
    if column.is_enum {
        return Err(Unfit::new(
            format!(
                "a column of the type {} is sorted by the number of its member and compared by its text, \
                 so a page of keys has no end",
                column.type_name
            ),
            "use a key column of the type VARCHAR",
        ));
    }
    match (kind, &*column.base) {
        (KeyKind::INTEGER, "bigint") if column.unsigned => Ok(unsigned()),
        (KeyKind::INTEGER, "tinyint" | "smallint" | "mediumint" | "int" | "bigint") => Ok(signed()),
        (KeyKind::INTEGER, "decimal") => Ok(decimal()),
        (KeyKind::UUID | KeyKind::TEXT, "uuid") => Ok(uuid()),
        (KeyKind::UUID, "binary" | "varbinary") => Ok(binary(Wrap::default())),
        (KeyKind::BYTES, "binary" | "varbinary") => Ok(binary(Wrap::new("LOWER(HEX(", "))"))),
        (KeyKind::TEXT, "binary" | "varbinary") => {
            Ok(binary(Wrap::new("CONVERT(", " USING utf8mb4)")))
        }
        (
            KeyKind::TEXT | KeyKind::UUID,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext",
        ) => Ok(text(column, kind)),
        _ => Err(unfit(column, kind)),
    }
}

/// Beside a BIGINT it would become a DECIMAL. ZEROFILL would be read as a part of the text.
fn unsigned() -> KeyForm {
    KeyForm {
        read: Wrap::new("CAST(CAST(", " AS UNSIGNED) AS CHAR)"),
        text: Wrap::new("CAST(CAST(", " AS UNSIGNED) AS CHAR)"),
        order: "integer unsigned".into(),
        has_max: true,
        ..KeyForm::default()
    }
}

/// Beside one another, two of these may become a DECIMAL.
fn signed() -> KeyForm {
    KeyForm {
        read: Wrap::new("CAST(", " AS SIGNED)"),
        text: Wrap::new("CAST(CAST(", " AS SIGNED) AS CHAR)"),
        order: "integer".into(),
        has_max: true,
        ..KeyForm::default()
    }
}

fn uuid() -> KeyForm {
    KeyForm {
        read: Wrap::new("CAST(", " AS CHAR)"),
        bind: Wrap::new("CAST(", " AS UUID)"),
        text: Wrap::new("CAST(", " AS CHAR)"),
        adopt: Wrap::new("CAST(", " AS UUID)"),
        spelling: Spelling::AsciiCase,
        uuid: UuidAs::Text,
        order: "uuid".into(),
        ..KeyForm::default()
    }
}

fn binary(text: Wrap) -> KeyForm {
    KeyForm { text, order: "binary".into(), is_bytes: true, ..KeyForm::default() }
}

/// Read as a text: what is no whole number is named by whoever reads it.
fn decimal() -> KeyForm {
    KeyForm {
        read: Wrap::new("CAST(", " AS CHAR)"),
        text: Wrap::new("CAST(CAST(", " AS DECIMAL(65, 0)) AS CHAR)"),
        order: "decimal".into(),
        ..KeyForm::default()
    }
}

fn text(column: &Column, kind: KeyKind) -> KeyForm {
    let charset = column.charset.as_deref().unwrap_or("utf8mb4");
    let collation = column.collation.as_deref().unwrap_or("utf8mb4_bin");
    let own = format!(" USING {charset}) COLLATE {collation}");
    let is_binary = collation.ends_with("_bin");
    let has_padding = !collation.contains("nopad") && !collation.contains("_0900_");
    KeyForm {
        // A value of the connection's character set is compared by the column's collation, and where that is of
        // another one, by neither.
        bind: match charset {
            "utf8mb4" => Wrap::default(),
            _ => Wrap::new("CONVERT(", own.clone()),
        },
        text: match charset {
            "utf8mb4" => Wrap::default(),
            _ => Wrap::new("CONVERT(", " USING utf8mb4)"),
        },
        adopt: Wrap::new("CONVERT(", own),
        spelling: match (is_binary, has_padding) {
            (true, true) => Spelling::Padded,
            (true, false) => Spelling::Exact,
            (false, _) => Spelling::Loose,
        },
        uuid: if kind == KeyKind::UUID { UuidAs::Text } else { UuidAs::Native },
        order: format!("text {charset} {collation}"),
        has_max: true,
        ..KeyForm::default()
    }
}

fn unfit(column: &Column, kind: KeyKind) -> Unfit {
    let fitting = match &*column.base {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" => {
            Some("an integer key, i64 for example")
        }
        "binary" | "varbinary" => Some("a key of the type Vec<u8>, Uuid or String"),
        "uuid" => Some("a key of the type Uuid or String"),
        "char" | "varchar" | "text" => Some("a String key"),
        _ => None,
    };
    let type_name = &column.type_name;
    let action = match fitting {
        Some(fitting) => format!("give the copy function {fitting}"),
        None => "use another key column, of an integer, text, binary or uuid type".to_owned(),
    };
    Unfit::new(
        format!("the key is {kind}, which a column of the type {type_name} cannot hold"),
        action,
    )
}
