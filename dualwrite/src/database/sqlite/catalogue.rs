//! What SQLite's catalogue says of the tables of a migration, and the forms of their keys.

use std::fmt::Write as _;

use sqlx::SqliteConnection;

use crate::database::sealed::Adapter as _;
use crate::database::sqlite::SqliteAdapter;
use crate::database::{SqlRow, SqlValue};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Spelling, Unfit, UuidAs, Wrap};
use crate::preflight::schema::{Column, Index, PlainEquality, Table, TableName};

const COLUMNS: &str = "SELECT c.name, c.type, c.\"notnull\", c.pk, c.dflt_value, c.hidden, l.type, l.wr, l.strict, \
     EXISTS (SELECT 1 FROM pragma_index_list(?, ?) i WHERE i.origin = 'pk') FROM pragma_table_xinfo(?, ?) c \
     LEFT JOIN pragma_table_list(?) l ON l.schema = COALESCE(?, 'main') ORDER BY c.cid";

const INDEXES: &str = "SELECT i.name, i.\"unique\", COALESCE(x.name, ''), x.coll, i.partial \
     FROM pragma_index_list(?, ?) i JOIN pragma_index_xinfo(i.name, ?) x ON x.key = 1 \
     ORDER BY i.seq, x.seqno";

pub(super) async fn read(
    conn: &mut SqliteConnection,
    names: &[TableName],
) -> sqlx::Result<Vec<Option<Table>>> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let schema = SqlValue::Text(name.schema.clone());
        let table = SqlValue::from(name.name.as_str());
        let place = [table.clone(), schema.clone()];
        let values = [place.clone(), place, [table, schema]].concat();
        let rows = SqliteAdapter::fetch(conn, COLUMNS, &values).await?;
        if rows.is_empty() {
            tables.push(None);
            continue;
        }
        let mut table = Table {
            name: name.clone(),
            is_view: rows[0].optional_text(6)? == Some("view"),
            columns: rows.iter().map(column).collect::<sqlx::Result<_>>()?,
            indexes: Vec::new(),
        };
        read_indexes(conn, &mut table).await?;
        probe(conn, &mut table).await?;
        tables.push(Some(table));
    }
    Ok(tables)
}

async fn read_indexes(conn: &mut SqliteConnection, table: &mut Table) -> sqlx::Result<()> {
    // The rows lie in the order of this one.
    let rowid = |column: &&Column| column.extra == "rowid";
    if let Some(column) = table.columns.iter().find(rowid) {
        let columns = vec![column.name.clone()];
        table.indexes.push(Index { name: "rowid".to_owned(), unique: true, columns });
    }
    let schema = SqlValue::Text(table.name.schema.clone());
    let values = [SqlValue::from(table.name.name.as_str()), schema.clone(), schema];
    for row in SqliteAdapter::fetch(conn, INDEXES, &values).await? {
        if row.integer(4)? == 1 {
            continue;
        }
        let (name, part, collation) = (row.text(0)?, row.text(2)?, row.text(3)?);
        if table.indexes.last().is_none_or(|last| last.name != name) {
            let unique = row.integer(1)? == 1;
            table.indexes.push(Index { name: name.to_owned(), unique, columns: Vec::new() });
        }
        if let Some(last) = table.indexes.last_mut() {
            last.columns.push(part.to_owned());
        }
        // One of the application's own can be had from an index alone.
        let is_ours = ["BINARY", "NOCASE", "RTRIM"].map(|own| collation.eq_ignore_ascii_case(own));
        if let (false, Some(column)) =
            (is_ours.contains(&true), table.columns.iter_mut().find(|column| column.name == part))
        {
            column.collation = Some(format!("\"{}\"", collation.replace('"', "\"\"")));
            column.is_deterministic = false;
        }
    }
    Ok(())
}

/// No catalogue knows the collation of a column, so it is tried out; and what the first row holds.
async fn probe(conn: &mut SqliteConnection, table: &mut Table) -> sqlx::Result<()> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let schema = table.name.schema.iter().map(|schema| quoted(schema) + ".").collect::<String>();
    let from = schema + &quoted(&table.name.name);
    for column in &mut table.columns {
        if column.base == "integer" || column.collation.is_some() {
            continue;
        }
        let name = quoted(&column.name);
        let mut sql = String::from("SELECT ");
        for text in ["'A'", "'a '"] {
            // Without the limit the query would be flattened, and the column's collation forgotten.
            let _ = write!(
                sql,
                "(SELECT v = {text} FROM (SELECT {name} AS v FROM {from} WHERE 0 \
                 UNION ALL SELECT 'a' LIMIT -1)), "
            ); // a String takes all
        }
        let _ = write!(
            sql,
            "(SELECT typeof(v) FROM (SELECT {name} AS v FROM {from} WHERE {name} IS NOT NULL LIMIT 1))"
        );
        let rows = SqliteAdapter::fetch(conn, &sql, &[]).await?;
        let Some(row) = rows.first() else { continue };
        column.collation = match (row.integer(0)?, row.integer(1)?) {
            (1, _) => Some("NOCASE".to_owned()),
            (_, 1) => Some("RTRIM".to_owned()),
            _ => Some("BINARY".to_owned()),
        };
        column.cast = row.optional_text(2)?.unwrap_or_default().to_owned();
    }
    Ok(())
}

fn column(row: &SqlRow) -> sqlx::Result<Column> {
    let type_name = row.text(1)?.to_owned();
    let (pk, hidden) = (row.integer(3)?, row.integer(5)?);
    // A primary key with an index of its own is no number of the row: one of several columns, or `DESC`.
    let is_rowid = pk == 1
        && type_name.eq_ignore_ascii_case("integer")
        && row.optional_integer(7)? == Some(0)
        && row.integer(9)? == 0;
    let without_rowid = row.optional_integer(7)? == Some(1);
    let base = affinity(&type_name, row.optional_integer(8)? == Some(1));
    let extra = match (is_rowid, hidden) {
        (true, _) => "rowid",
        (_, 2 | 3) => "generated",
        _ => "",
    };
    Ok(Column {
        name: row.text(0)?.to_owned(),
        base: base.to_owned(),
        is_ordered: true,
        // A primary key takes NULL, unless it is the number of the row or there is none.
        nullable: row.integer(2)? == 0 && !is_rowid && !(without_rowid && pk > 0),
        is_deterministic: true,
        default: row.optional_text(4)?.map(str::to_owned),
        is_generated: extra == "generated",
        extra: extra.to_owned(),
        type_name,
        ..Column::default()
    })
}

/// The mode of the journal, where it is no write-ahead log. A database in memory has none, and nobody waits for a file.
pub(super) async fn journal(conn: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    let sql = "SELECT j.journal_mode FROM pragma_journal_mode() j, pragma_database_list() d \
               WHERE d.name = 'main' AND (d.file <> '' OR j.journal_mode = 'off')";
    let rows = SqliteAdapter::fetch(conn, sql, &[]).await?;
    let mode = rows.first().map(|row| row.text(0).map(str::to_lowercase)).transpose()?;
    Ok(mode.filter(|mode| mode != "wal"))
}

/// What a declared type turns values into.
fn affinity(declared: &str, is_strict: bool) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    match () {
        () if is_strict && declared == "ANY" => "blob",
        () if has(&["INT"]) => "integer",
        () if has(&["CHAR", "CLOB", "TEXT"]) => "text",
        () if declared.is_empty() || has(&["BLOB"]) => "blob",
        () if has(&["REAL", "FLOA", "DOUB"]) => "real",
        () => "numeric",
    }
}

/// Columns of one affinity, which turns all that is stored in them into one class: only there are a text and a number, or
/// `1` and `1.0`, never equal; and columns of numbers, of which one writes `1` and the other `1.0`.
pub(super) fn compared_plainly(old: &Column, new: &Column) -> Option<PlainEquality> {
    let is_number = |column: &Column| matches!(&*column.base, "integer" | "real" | "numeric");
    let is_one = old.base == new.base && old.base != "blob";
    (is_one || (is_number(old) && is_number(new))).then_some(PlainEquality::Equal)
}

/// The form of a key column of this kind.
pub(super) fn key_form(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
    let collation = column.collation.as_deref().unwrap_or("BINARY");
    let spelling = match (column.is_deterministic, collation) {
        (false, _) => Spelling::Loose,
        (_, "NOCASE") => Spelling::AsciiCase,
        (_, "RTRIM") => Spelling::Padded,
        _ => Spelling::Exact,
    };
    let form = KeyForm {
        adopt: Wrap::new("", format!(" COLLATE {collation}")),
        order: format!("text {collation}"),
        has_max: true,
        ..KeyForm::default()
    };
    match (kind, &*column.base) {
        (KeyKind::INTEGER, "integer" | "numeric" | "blob") => Ok(KeyForm {
            text: Wrap::new("CAST(", " AS TEXT)"),
            order: "integer".into(),
            has_max: true,
            ..KeyForm::default()
        }),
        (KeyKind::TEXT, "text" | "blob") => Ok(KeyForm { spelling, ..form }),
        // A declared type such as `BINARY(8)` leaves bytes as they are.
        (KeyKind::BYTES, "blob" | "numeric") => Ok(KeyForm {
            order: "blob".into(),
            has_max: true,
            is_bytes: true,
            ..KeyForm::default()
        }),
        (KeyKind::UUID, "text" | "blob" | "numeric") => {
            let uuid = if column.cast == "text" { UuidAs::Text } else { UuidAs::Native };
            let spelling = if uuid == UuidAs::Text { spelling } else { Spelling::Exact };
            let (is_bytes, is_unsettled) = (uuid == UuidAs::Native, column.cast.is_empty());
            let order = format!("{} {uuid:?}", form.order);
            Ok(KeyForm { uuid, spelling, is_bytes, is_unsettled, order, ..form })
        }
        _ => Err(unfit(column, kind)),
    }
}

fn unfit(column: &Column, kind: KeyKind) -> Unfit {
    let type_name = &column.type_name;
    match (kind, &*column.base) {
        (KeyKind::TEXT, "integer" | "numeric" | "real") => Unfit::new(
            format!(
                "the declared type `{type_name}` turns texts that look like numbers into numbers: `007` becomes 7"
            ),
            "declare the column as TEXT",
        ),
        _ => Unfit::new(
            format!("the key is {kind}, and the declared type `{type_name}` holds something else"),
            match kind {
                KeyKind::INTEGER => {
                    "declare the column as INTEGER, or give the copy function a String key"
                }
                KeyKind::BYTES => "declare the column as BLOB",
                _ => "declare the column as BLOB or TEXT",
            },
        ),
    }
}
