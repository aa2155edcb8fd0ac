//! Which values have to be compared by what they say, because they can be written in several ways: JSON, also inside of
//! domains, arrays and composite types. This module asks once for each field. A statement that asked for each row would have
//! so high an estimated cost that PostgreSQL would compile it (JIT), which takes longer than reading the rows.

use std::fmt::Write as _;

use sqlx::PgConnection;

use crate::database::postgres::PostgresAdapter;
use crate::database::sealed::Adapter as _;
use crate::preflight::schema::PlainEquality;

/// For each pair of scalar queries.
pub(super) async fn compared(
    conn: &mut PgConnection,
    sides: &[[String; 2]],
) -> sqlx::Result<Vec<Option<PlainEquality>>> {
    let mut found = vec![Some(PlainEquality::Letters); sides.len()];
    if sides.is_empty() {
        return Ok(found);
    }
    for row in PostgresAdapter::fetch(conn, &with_json(sides), &[]).await? {
        let field = usize::try_from(row.integer(0)?).unwrap_or(usize::MAX);
        if let Some(found) = found.get_mut(field) {
            let is_alone = row.integer(1)? == 1;
            let equality = if is_alone { PlainEquality::Json } else { PlainEquality::JsonInside };
            *found = Some(equality);
        }
    }
    Ok(found)
}

/// The fields that have JSON on both sides, and whether it is all that they have.
fn with_json(sides: &[[String; 2]]) -> String {
    let mut asked = String::new();
    for (field, queries) in sides.iter().enumerate() {
        for (side, query) in queries.iter().enumerate() {
            let union = if asked.is_empty() { "" } else { " UNION ALL " };
            let _ = write!(asked, "{union}SELECT {field}, {side}, pg_typeof(({query}))::oid");
        }
    }
    format!(
        "WITH RECURSIVE asked (field, side, oid) AS ({asked}), \
         inside (field, side, oid, is_alone) AS (SELECT field, side, oid, true FROM asked \
         UNION SELECT i.field, i.side, part.oid, part.is_alone AND i.is_alone \
         FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.oid CROSS JOIN LATERAL (\
         SELECT t.typbasetype, true WHERE t.typtype = 'd' \
         UNION ALL SELECT t.typelem, false WHERE t.typcategory = 'A' AND t.typtype <> 'd' \
         UNION ALL SELECT a.atttypid, false FROM pg_catalog.pg_attribute a WHERE t.typtype = 'c' \
         AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part (oid, is_alone)) \
         SELECT field::bigint, (bool_or(side = 0 AND is_alone) AND bool_or(side = 1 AND is_alone))::int::bigint \
         FROM inside WHERE oid IN ('json'::regtype, 'jsonb'::regtype) \
         GROUP BY field HAVING bool_or(side = 0) AND bool_or(side = 1)"
    )
}
