//! What PostgreSQL's catalogue says of the tables of a migration, and the forms of their keys.

use std::fmt::Write as _;

use sqlx::PgConnection;

use crate::database::postgres::PostgresAdapter;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlRow, SqlValue};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Spelling, Unfit, UuidAs, Wrap};
use crate::preflight::schema::{Column, Index, PlainEquality, Table, TableName};

/// The tables by number, and of each type the one below all domains.
fn wanted(count: usize) -> String {
    let mut names = String::new();
    for number in 0..count {
        let comma = if number > 0 { ", " } else { "" };
        let _ = write!(names, "{comma}({number}::bigint, CAST(? AS text))"); // a String takes all
    }
    format!(
        "WITH RECURSIVE wanted (n, oid) AS \
         (SELECT v.n, to_regclass(v.name)::oid FROM (VALUES {names}) v (n, name)), \
         based (own, oid, typmod) AS ( \
         SELECT DISTINCT a.atttypid, a.atttypid, -1 FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid \
         WHERE a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT b.own, t.typbasetype, t.typtypmod FROM based b JOIN pg_type t ON t.oid = b.oid \
         WHERE t.typtype = 'd')"
    )
}

const COLUMNS: &str = " SELECT w.n, c.relkind::text, a.attname::text, \
     (a.attnotnull OR EXISTS (SELECT 1 FROM based d JOIN pg_type dt ON dt.oid = d.oid \
     WHERE d.own = a.atttypid AND dt.typnotnull))::int::bigint, \
     format_type(a.atttypid, a.atttypmod), t.typname::text, \
     quote_ident(tn.nspname) || '.' || quote_ident(t.typname), \
     CASE WHEN t.typtype <> 'e' THEN 0 WHEN a.atttypid = t.oid THEN 1 ELSE 2 END::bigint, \
     (SELECT quote_ident(opn.nspname) FROM pg_opclass oc \
     JOIN pg_am am ON am.oid = oc.opcmethod AND am.amname = 'btree' \
     JOIN pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amoplefttype = oc.opcintype \
     AND ao.amoprighttype = oc.opcintype AND ao.amopstrategy = 1 \
     JOIN pg_operator op ON op.oid = ao.amopopr JOIN pg_namespace opn ON opn.oid = op.oprnamespace \
     WHERE oc.opcdefault AND oc.opcintype = t.oid LIMIT 1), \
     (SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname) FROM pg_collation co \
     JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation), \
     COALESCE((SELECT co.collisdeterministic FROM pg_collation co WHERE co.oid = a.attcollation), true) \
     ::int::bigint, \
     GREATEST(a.atttypmod, b.typmod)::bigint, pg_get_expr(ad.adbin, ad.adrelid), \
     CASE WHEN a.attidentity = 'a' THEN 'identity always' WHEN a.attidentity <> '' THEN 'identity' WHEN a.attgenerated <> '' THEN 'generated' ELSE '' END \
     FROM wanted w JOIN pg_class c ON c.oid = w.oid \
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     JOIN based b ON b.own = a.atttypid JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd' \
     JOIN pg_namespace tn ON tn.oid = t.typnamespace \
     LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum \
     ORDER BY w.n, a.attnum";

const INDEXES: &str = " SELECT w.n, ic.relname::text, i.indisunique::int::bigint, a.attname::text, \
     (oc.opcdefault AND k.collation_oid = a.attcollation)::int::bigint \
     FROM wanted w JOIN pg_index i ON i.indrelid = w.oid JOIN pg_class ic ON ic.oid = i.indexrelid \
     JOIN pg_am am ON am.oid = ic.relam AND am.amname = 'btree' \
     CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[]) \
     WITH ORDINALITY k (attnum, class_oid, collation_oid, place) \
     JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum = k.attnum \
     JOIN pg_opclass oc ON oc.oid = k.class_oid \
     WHERE i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
     ORDER BY w.n, ic.relname, k.place";

pub(super) async fn read(
    conn: &mut PgConnection,
    names: &[TableName],
) -> sqlx::Result<Vec<Option<Table>>> {
    let quoted = |name: &str| format!("\"{name}\"");
    let values: Vec<SqlValue> = names
        .iter()
        .map(|TableName { schema, name }| {
            let schema = schema.iter().map(|schema| quoted(schema) + ".").collect::<String>();
            SqlValue::from(&*(schema + &quoted(name)))
        })
        .collect();
    let mut tables: Vec<Option<Table>> = names.iter().map(|_| None).collect();
    let wanted = wanted(names.len());
    for row in PostgresAdapter::fetch(conn, &format!("{wanted}{COLUMNS}"), &values).await? {
        let number = usize::try_from(row.integer(0)?).unwrap_or(0);
        let table = tables[number].get_or_insert_with(|| Table {
            name: names[number].clone(),
            is_view: false,
            columns: Vec::new(),
            indexes: Vec::new(),
        });
        table.is_view = matches!(row.text(1)?, "v" | "m");
        table.columns.push(column(&row)?);
    }
    for row in PostgresAdapter::fetch(conn, &format!("{wanted}{INDEXES}"), &values).await? {
        let number = usize::try_from(row.integer(0)?).unwrap_or(0);
        let Some(table) = &mut tables[number] else { continue };
        let (name, fits) = (row.text(1)?, row.integer(4)? == 1);
        if table.indexes.last().is_none_or(|last| last.name != name) {
            let unique = row.integer(2)? == 1;
            table.indexes.push(Index { name: name.to_owned(), unique, columns: Vec::new() });
        }
        if let Some(last) = table.indexes.last_mut() {
            // What has another order is no part to go along.
            let column = if fits { row.text(3)? } else { "" };
            last.columns.push(column.to_owned());
        }
    }
    Ok(tables)
}

fn column(row: &SqlRow) -> sqlx::Result<Column> {
    let (base, is_enum) = (row.text(5)?.to_owned(), row.integer(7)? > 0);
    // The operators of enums take no domain of one.
    let is_hidden_enum = row.integer(7)? == 2;
    let operators = row.optional_text(8)?.map(str::to_owned);
    // These are ordered by operators of other types.
    let is_borrowed = is_enum || base == "varchar";
    let is_ordered = (is_borrowed || operators.is_some()) && !is_hidden_enum;
    let modifier = row.integer(11)?;
    let lengthy = matches!(&*base, "bpchar" | "varchar") && modifier >= 4;
    let numeric = base == "numeric" && modifier >= 4;
    let part = |shift: u32| u64::try_from(((modifier - 4) >> shift) & 0xffff).ok();
    let extra = row.text(13)?.to_owned();
    Ok(Column {
        name: row.text(2)?.to_owned(),
        type_name: row.text(4)?.to_owned(),
        cast: row.text(6)?.to_owned(),
        is_enum,
        operators: operators.filter(|schema| schema != "pg_catalog" && !is_borrowed),
        is_ordered,
        nullable: row.integer(3)? == 0,
        unsigned: false,
        collation: row.optional_text(9)?.map(str::to_owned),
        is_deterministic: row.integer(10)? == 1,
        charset: None,
        length: if lengthy { u64::try_from(modifier - 4).ok() } else { None },
        precision: if numeric { part(16) } else { None },
        scale: if numeric { part(0) } else { None },
        default: row.optional_text(12)?.map(str::to_owned),
        is_generated: extra == "generated",
        extra,
        base,
    })
}

/// Columns of one type whose values are equal only where they are written alike, as those of `numeric` (`1.0`, `1.00`) or
/// `interval` are not; and columns of two types that write one value in two ways, where only the value can be equal.
pub(super) fn compared_plainly(old: &Column, new: &Column) -> Option<PlainEquality> {
    let is_own = old.is_enum || new.is_enum || old.operators.is_some() || new.operators.is_some();
    let is_exact = match (&*old.base, &*new.base) {
        ("text" | "varchar", "text" | "varchar") => {
            old.is_deterministic && new.is_deterministic && old.collation == new.collation
        }
        (one, other) if one == other && old.type_name == new.type_name => {
            let exact =
                ["bool", "int2", "int4", "int8", "uuid", "date", "timestamp", "timestamptz"];
            exact.contains(&one)
        }
        // Not a whole number or a decimal beside a float, which takes more for equal than is.
        (one, other) => {
            let families: [&[&str]; 3] = [
                &["int2", "int4", "int8", "numeric"],
                &["float4", "float8"],
                &["date", "timestamp", "timestamptz"],
            ];
            families.iter().any(|family| family.contains(&one) && family.contains(&other))
        }
    };
    (is_exact && !is_own).then_some(PlainEquality::Equal)
}

/// The form of a key column of this kind.
pub(super) fn key_form(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
    if !column.is_ordered {
        return Err(Unfit::new(
            format!("the type {} has no order, so keys cannot be paged through", column.type_name),
            "use a key column of a type that a btree index can hold",
        ));
    }
    match (kind, &*column.base) {
        (KeyKind::INTEGER, "int2" | "int4" | "int8") => Ok(plain("integer", true)),
        (KeyKind::INTEGER, "numeric") => Ok(numeric()),
        (KeyKind::UUID, "uuid") => Ok(KeyForm {
            adopt: Wrap::new("CAST(CAST(", " AS text) AS uuid)"),
            ..plain("uuid", false)
        }),
        (KeyKind::UUID, "bytea") => Ok(KeyForm {
            bind: Wrap::new("uuid_send(", ")"),
            text: Wrap::new("CAST(encode(", ", 'hex') AS uuid)"),
            order: "bytea".into(),
            is_bytes: true,
            ..KeyForm::default()
        }),
        (KeyKind::BYTES, "bytea") => Ok(KeyForm {
            text: Wrap::new("encode(", ", 'hex')"),
            order: "bytea".into(),
            is_bytes: true,
            ..KeyForm::default()
        }),
        (KeyKind::TEXT, "bytea") => Ok(KeyForm {
            bind: Wrap::new("convert_to(", ", 'UTF8')"),
            text: Wrap::new("convert_from(", ", 'UTF8')"),
            order: "bytea".into(),
            is_bytes: true,
            ..KeyForm::default()
        }),
        (KeyKind::TEXT, "uuid") => Ok(cast(column, Spelling::AsciiCase)),
        (KeyKind::TEXT | KeyKind::UUID, "text" | "varchar") => Ok(text(column, kind)),
        (KeyKind::TEXT | KeyKind::UUID, "bpchar" | "name" | "citext") => {
            let spelling = match (&*column.base, column.is_deterministic) {
                ("bpchar", true) => Spelling::Padded,
                ("name", true) => Spelling::Exact,
                _ => Spelling::Loose,
            };
            let uuid = if kind == KeyKind::UUID { UuidAs::Text } else { UuidAs::Native };
            Ok(KeyForm { uuid, ..cast(column, spelling) })
        }
        (KeyKind::TEXT, _) if column.is_enum => Ok(cast(column, Spelling::Exact)),
        _ => Err(unfit(column, kind)),
    }
}

fn plain(order: &str, has_max: bool) -> KeyForm {
    KeyForm {
        text: Wrap::new("CAST(", " AS text)"),
        order: order.into(),
        has_max,
        ..KeyForm::default()
    }
}

/// Read as a text: what is no whole number is named by whoever reads it.
fn numeric() -> KeyForm {
    KeyForm {
        read: Wrap::new("CAST(", " AS text)"),
        bind: Wrap::new("CAST(", " AS numeric)"),
        text: Wrap::new("CAST(trim_scale(", ") AS text)"),
        adopt: Wrap::new("CAST(", " AS numeric)"),
        order: "numeric".into(),
        ..KeyForm::default()
    }
}

fn text(column: &Column, kind: KeyKind) -> KeyForm {
    let collate =
        column.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
    KeyForm {
        text: Wrap::new("CAST(", " AS text)"),
        adopt: Wrap::new("CAST(", format!(" AS text){collate}")),
        spelling: if column.is_deterministic { Spelling::Exact } else { Spelling::Loose },
        uuid: if kind == KeyKind::UUID { UuidAs::Text } else { UuidAs::Native },
        order: format!("text{collate}"),
        has_max: true,
        ..KeyForm::default()
    }
}

/// A type that texts are cast to, and that is read as a text.
fn cast(column: &Column, spelling: Spelling) -> KeyForm {
    let collate =
        column.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
    let to = format!(" AS text) AS {})", column.cast);
    KeyForm {
        read: Wrap::new("CAST(", " AS text)"),
        bind: Wrap::new("CAST(CAST(", to.clone()),
        text: Wrap::new("CAST(", " AS text)"),
        adopt: Wrap::new("CAST(CAST(", format!("{to}{collate}")),
        operators: column.operators.clone(),
        spelling,
        order: format!("{}{collate}", column.cast),
        ..KeyForm::default()
    }
}

fn unfit(column: &Column, kind: KeyKind) -> Unfit {
    let fitting = match &*column.base {
        "int2" | "int4" | "int8" | "numeric" => Some("an integer key, i64 for example"),
        "uuid" => Some("a key of the type Uuid or String"),
        "bytea" => Some("a key of the type Vec<u8>, Uuid or String"),
        "text" | "varchar" | "bpchar" | "name" | "citext" => Some("a String key"),
        _ if column.is_enum => Some("a String key"),
        _ => None,
    };
    let type_name = &column.type_name;
    let action = match fitting {
        Some(fitting) => format!("give the copy function {fitting}"),
        None => "use another key column, of an integer, text or uuid type".to_owned(),
    };
    Unfit::new(
        format!("the key is {kind}, which a column of the type {type_name} cannot hold"),
        action,
    )
}
