//! How a database spells what standard SQL leaves open.

use std::borrow::Cow;

use crate::database::text;
use crate::preflight::schema::PlainEquality;

/// When two columns say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Alike {
    /// The database says that they are equal.
    Equal,
    /// They are the same text to the letter, whatever the collation says.
    Letters,
}

/// How a database spells what standard SQL leaves open.
#[derive(Debug)]
#[doc(hidden)]
pub struct Dialect {
    /// Microseconds since 1970 by the database's clock.
    pub(crate) now: &'static str,
    pub(crate) quote: char,
    /// `$1` instead of `?`.
    pub(crate) numbered: bool,
    /// A NULL that is bound has the type that it is bound as.
    pub(crate) null_has_a_type: bool,
    /// A column holds values of its type alone; elsewhere each value has its own.
    pub(crate) typed_columns: bool,
    /// `ON DUPLICATE KEY UPDATE` instead of `ON CONFLICT`.
    pub(crate) on_duplicate_key: bool,
    /// Appended to a SELECT to lock its rows until the end of the transaction.
    pub(crate) for_update: &'static str,
    /// The same, passing over rows that are locked already.
    pub(crate) for_update_skip: &'static str,
    /// `(a, b) > (x, y)` is written out, because the planner does not use an index for the short form.
    pub(crate) expand_row_comparison: bool,
    /// Replaces an older savepoint of the same name by itself.
    pub(crate) savepoint_replaces: bool,
    /// A statement that has waited for a row sees it as it is now, and everything else as it was before the
    /// wait: rows are locked by a statement that comes before those that look elsewhere, too.
    pub(crate) wait_keeps_snapshot: bool,
    /// Writers hold the migration's own row: whoever waits to change it makes others wait.
    pub(crate) fence_is_the_row: bool,
    /// Another text on another server that takes over.
    pub(crate) identity: &'static str,
    /// Of the terms that an instance declares, a text that is as different and not as long.
    pub(crate) terms_digest: &'static str,
    /// There is a server, and a connection to it can be thrown away without losing anything.
    pub(crate) server: bool,
    /// A connection cannot be used again where a statement on it was dropped before its answer.
    pub(crate) interruption_breaks: bool,
}

impl Dialect {
    /// A statement written with `?`, in this database's placeholders. `{now}` stands for its clock. What was put
    /// in by [`verbatim`](super::verbatim) comes out as it was.
    pub(crate) fn statement<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        let is_place = |c| c == '{' || c == text::MARK || (c == '?' && self.numbered);
        if !sql.contains(is_place) {
            return Cow::Borrowed(sql);
        }
        let (mut out, mut rest, mut count) = (String::with_capacity(sql.len() + 8), sql, 0);
        while let Some(at) = rest.find(is_place) {
            out.push_str(&rest[..at]);
            let mut after = rest[at..].chars();
            match after.next() {
                Some('?') => {
                    count += 1;
                    out.push_str(&format!("${count}"));
                }
                Some('{') if rest[at..].starts_with("{now}") => {
                    out.push_str(self.now);
                    after = rest[at + "{now}".len()..].chars();
                }
                Some('{') => out.push('{'),
                _ => out.extend(after.next().map(text::unmarked)),
            }
            rest = after.as_str();
        }
        out.push_str(rest);
        Cow::Owned(out)
    }

    /// Reads a user's text as the database will.
    pub(crate) fn scan(&self, text: &str) -> text::Scanned {
        let rules = match (self.numbered, self.on_duplicate_key) {
            (true, _) => text::Rules::Postgres,
            (false, true) => text::Rules::MySql,
            (false, false) => text::Rules::Sqlite,
        };
        text::scan(text, rules)
    }

    /// The condition that two columns do not say the same; NULL is the same as NULL.
    pub(crate) fn differs(&self, left: &str, right: &str, alike: Alike) -> String {
        match (self.numbered, self.on_duplicate_key, alike) {
            (true, _, Alike::Equal) => format!("{left} IS DISTINCT FROM {right}"),
            (true, _, Alike::Letters) => letters_differ_on_postgres(left, right),
            (_, true, Alike::Equal) => format!("NOT ({left} <=> {right})"),
            // Bytes have no collation, which would take letters for equal or leave blanks out.
            (_, true, Alike::Letters) => {
                let bytes = |side: &str| format!("CAST(CONVERT({side} USING utf8mb4) AS BINARY)");
                format!("NOT ({} <=> {})", bytes(left), bytes(right))
            }
            (_, false, _) => format!("{left} IS NOT {right} COLLATE BINARY"),
        }
    }

    /// A text out of JSON: the value itself, or that at a place of an array.
    pub(crate) fn json_text(&self, json: &str, place: Option<usize>) -> String {
        match (self.numbered, self.on_duplicate_key, place) {
            (true, _, None) => format!("(CAST({json} AS json) #>> '{{}}')"),
            (true, _, Some(at)) => format!("(CAST({json} AS json) ->> {at})"),
            (_, true, None) => format!("JSON_UNQUOTE({json})"),
            (_, true, Some(at)) => format!("JSON_UNQUOTE(JSON_EXTRACT({json}, '$[{at}]'))"),
            (_, false, None) => format!("json_extract({json}, '$')"),
            (_, false, Some(at)) => format!("CAST(json_extract({json}, '$[{at}]') AS TEXT)"),
        }
    }

    /// A key as it can stand beside one of another type or collation.
    pub(crate) fn neutral(&self, key: &str, is_text: bool) -> String {
        match (self.numbered, self.on_duplicate_key) {
            (true, _) => format!("CAST({key} AS text)"),
            (_, true) if is_text => format!("CONVERT({key} USING utf8mb4) COLLATE utf8mb4_bin"),
            _ => key.to_owned(),
        }
    }

    /// The condition that two values are not the same to the letter or not by the database's own equality;
    /// NULL is the same as NULL.
    pub(crate) fn differs_exactly(&self, left: &str, right: &str) -> String {
        match (self.numbered, self.on_duplicate_key) {
            (true, _) => letters_differ_on_postgres(left, right),
            (_, true) => differs_on_mysql(left, right),
            // A column of numbers takes the text `1.0` for 1; of one type nothing is converted.
            (_, false) => format!(
                "({} OR (typeof({left}) <> typeof({right}) \
                 AND CAST({left} AS TEXT) IS NOT CAST({right} AS TEXT)))",
                self.differs(left, right, Alike::Letters)
            ),
        }
    }

    /// The same for two columns of which the catalogue says that this is enough.
    pub(crate) fn differs_plainly(&self, left: &str, right: &str, plain: PlainEquality) -> String {
        match (self.on_duplicate_key, plain) {
            (true, PlainEquality::Bytes) => {
                format!("NOT (CAST({left} AS BINARY) <=> CAST({right} AS BINARY))")
            }
            (_, PlainEquality::Equal | PlainEquality::Bytes) => {
                self.differs(left, right, Alike::Equal)
            }
            (_, PlainEquality::Letters) => letters_differ_on_postgres(left, right),
            (_, PlainEquality::Json) => json_differs_on_postgres(left, right),
            (_, PlainEquality::JsonInside) => json_inside_differs_on_postgres(left, right),
        }
    }

    /// The same, unless the row has a higher `version` already, which is overwritten too.
    pub(crate) fn upsert_newer(
        &self,
        table: &str,
        key: &str,
        columns: &[&str],
        version: &str,
    ) -> String {
        if self.on_duplicate_key {
            // Assigned from left to right: the version last, which the others look at.
            let assign = |column: &&str| {
                format!("{column} = IF(VALUES({version}) >= {version}, VALUES({column}), {column})")
            };
            let list = columns.iter().map(assign).collect::<Vec<_>>().join(", ");
            return format!(
                " ON DUPLICATE KEY UPDATE {list}, {version} = GREATEST(VALUES({version}), {version})"
            );
        }
        let all: Vec<&str> = columns.iter().copied().chain([version]).collect();
        let upsert = self.upsert(key, &all);
        format!("{upsert} WHERE {table}.{version} <= excluded.{version}")
    }

    /// The end of an INSERT that adds to these columns of the table where `key` is there already.
    pub(crate) fn upsert_added(&self, table: &str, key: &str, columns: &[&str]) -> String {
        let assign = |column: &&str| match self.on_duplicate_key {
            true => format!("{column} = {column} + VALUES({column})"),
            false => format!("{column} = {table}.{column} + excluded.{column}"),
        };
        let list = columns.iter().map(assign).collect::<Vec<_>>().join(", ");
        match self.on_duplicate_key {
            true => format!(" ON DUPLICATE KEY UPDATE {list}"),
            false => format!(" ON CONFLICT ({key}) DO UPDATE SET {list}"),
        }
    }

    /// The end of an INSERT that overwrites `columns` where `key` is there already.
    pub(crate) fn upsert(&self, key: &str, columns: &[&str]) -> String {
        let assign = |column: &&str| match self.on_duplicate_key {
            true => format!("{column} = VALUES({column})"),
            false => format!("{column} = excluded.{column}"),
        };
        let list = columns.iter().map(assign).collect::<Vec<_>>().join(", ");
        match (self.on_duplicate_key, columns.is_empty()) {
            (true, true) => {
                let first = key.split(',').next().unwrap_or(key);
                format!(" ON DUPLICATE KEY UPDATE {first} = {first}")
            }
            (true, false) => format!(" ON DUPLICATE KEY UPDATE {list}"),
            (false, true) => format!(" ON CONFLICT ({key}) DO NOTHING"),
            (false, false) => format!(" ON CONFLICT ({key}) DO UPDATE SET {list}"),
        }
    }
}

/// Two columns of two collations have no order and no equality, unless they are given one.
fn letters_differ_on_postgres(left: &str, right: &str) -> String {
    format!(
        "CAST({left} AS text) COLLATE \"C\" IS DISTINCT FROM CAST({right} AS text) COLLATE \"C\""
    )
}

/// What JSON says does not depend on how it is written, which `jsonb` does not keep.
fn json_differs_on_postgres(left: &str, right: &str) -> String {
    let json = |side: &str| format!("CAST(CAST({side} AS text) AS jsonb)");
    let letters = letters_differ_on_postgres(left, right);
    format!("({letters} AND {} IS DISTINCT FROM {})", json(left), json(right))
}

/// The same of JSON in arrays and composite types.
fn json_inside_differs_on_postgres(left: &str, right: &str) -> String {
    let unequal =
        |said: &dyn Fn(&str) -> String| format!("{} IS DISTINCT FROM {}", said(left), said(right));
    let json = unequal(&|side| format!("to_jsonb(ROW({side}))"));
    // In JSON nothing tells NULL from the word `null`, and the text of a row does.
    let nulls = unequal(&|side| {
        format!(
            "cardinality(regexp_split_to_array(CAST(ROW({side}) AS text), \
             '[(,{{][\"\\\\[:space:]]*null\\M'))"
        )
    });
    format!("({} AND ({json} OR {nulls}))", letters_differ_on_postgres(left, right))
}

/// Two collations have no equality in common, so texts are compared as bytes of one character set and bytes as
/// bytes. Numbers are compared as numbers, too: a `FLOAT` is written with fewer digits than it has.
fn differs_on_mysql(left: &str, right: &str) -> String {
    let unequal =
        |cast: &dyn Fn(&str) -> String| format!("NOT ({} <=> {})", cast(left), cast(right));
    let bytes = unequal(&|side| format!("CAST({side} AS BINARY)"));
    let letters = unequal(&|side| format!("CAST(CONVERT({side} USING utf8mb4) AS BINARY)"));
    // As numbers, whatever the types: `+ 0` and `<=>` are refused for a `UUID` or a point, also where they are not asked.
    let numbers = format!("({left} IS NOT NULL AND FIELD({left}, {right}, 0e0) <> 1)");
    // What is no text has the character set `binary`; what is no text and no bytes has the coercibility 5.
    let both = |what: &str| format!("CHARSET({left}) {what} AND CHARSET({right}) {what}");
    let is_number = format!(
        "COERCIBILITY({left}) = 5 AND COERCIBILITY({right}) = 5 AND {}",
        both("= 'binary'")
    );
    format!(
        "CASE WHEN {is_number} THEN {bytes} OR {numbers} WHEN {} THEN {letters} ELSE {bytes} END",
        both("<> 'binary'")
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MYSQL: Dialect =
        Dialect { quote: '`', numbered: false, on_duplicate_key: true, ..NUMBERED };
    const SQLITE: Dialect = Dialect { numbered: false, ..NUMBERED };

    const NUMBERED: Dialect = Dialect {
        now: "clock()",
        quote: '"',
        numbered: true,
        null_has_a_type: true,
        typed_columns: true,
        on_duplicate_key: false,
        for_update: "",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
        wait_keeps_snapshot: false,
        fence_is_the_row: false,
        identity: "''",
        terms_digest: "a.terms",
        server: true,
        interruption_breaks: false,
    };

    #[test]
    fn placeholders_are_numbered_and_the_clock_filled_in() {
        let sql = NUMBERED.statement("UPDATE t SET a = ?, at = {now} WHERE b = ?");
        assert_eq!(sql, "UPDATE t SET a = $1, at = clock() WHERE b = $2");
    }

    /// A subquery for each row raises the estimated cost of a chunk so far that PostgreSQL compiles the statement (JIT), which
    /// takes longer than reading the rows.
    #[test]
    fn a_comparison_on_postgres_asks_nothing_else_of_each_row() {
        let plain = [
            PlainEquality::Equal,
            PlainEquality::Letters,
            PlainEquality::Json,
            PlainEquality::JsonInside,
        ];
        let plainly = plain.map(|plain| NUMBERED.differs_plainly("o.a", "n.a", plain));
        let all = plainly.into_iter().chain([NUMBERED.differs_exactly("o.a", "n.a")]);
        for sql in all {
            assert!(!sql.contains("SELECT"), "{sql}");
        }
    }

    #[test]
    fn upserts_name_their_columns() {
        assert_eq!(
            NUMBERED.upsert("a, b", &["c", "d"]),
            " ON CONFLICT (a, b) DO UPDATE SET c = excluded.c, d = excluded.d"
        );
        let mysql = Dialect { on_duplicate_key: true, ..NUMBERED };
        assert_eq!(mysql.upsert("a, b", &["c"]), " ON DUPLICATE KEY UPDATE c = VALUES(c)");
        assert_eq!(mysql.upsert("a, b", &[]), " ON DUPLICATE KEY UPDATE a = a");
        assert_eq!(
            NUMBERED.upsert_newer("t", "a", &["c"], "v"),
            " ON CONFLICT (a) DO UPDATE SET c = excluded.c, v = excluded.v WHERE t.v <= excluded.v"
        );
        assert_eq!(
            mysql.upsert_newer("t", "a", &["c"], "v"),
            " ON DUPLICATE KEY UPDATE c = IF(VALUES(v) >= v, VALUES(c), c), v = GREATEST(VALUES(v), v)"
        );
    }

    #[test]
    fn null_is_the_same_as_null_in_every_dialect() {
        let mysql = Dialect { numbered: false, on_duplicate_key: true, ..NUMBERED };
        let sqlite = Dialect { numbered: false, ..NUMBERED };
        assert_eq!(NUMBERED.differs("a", "b", Alike::Equal), "a IS DISTINCT FROM b");
        assert_eq!(mysql.differs("a", "b", Alike::Equal), "NOT (a <=> b)");
        assert_eq!(sqlite.differs("a", "b", Alike::Letters), "a IS NOT b COLLATE BINARY");
        assert!(NUMBERED.differs_exactly("a", "b").contains("COLLATE \"C\" IS DISTINCT FROM"));
        assert!(mysql.differs_exactly("a", "b").contains("AS BINARY"));
        assert!(sqlite.differs_exactly("a", "b").contains("CAST(a AS TEXT) IS NOT"));
    }

    proptest! {
        #[test]
        fn a_users_text_comes_out_as_it_went_in(
            texts in proptest::collection::vec("[?{}a-z now$1'\u{1}:q bm]{0,12}", 1..5),
            at in 0_usize..5,
        ) {
            for dialect in [&NUMBERED, &MYSQL, &SQLITE] {
                let mut sql = String::new();
                let mut wanted = String::new();
                for (index, text) in texts.iter().enumerate() {
                    sql.push_str(&text::verbatim(text));
                    wanted.push_str(text);
                    if index == at {
                        sql.push_str(" ? {now} ");
                        let place = if dialect.numbered { "$1" } else { "?" };
                        wanted.push_str(&format!(" {place} {} ", dialect.now));
                    }
                }
                prop_assert_eq!(dialect.statement(&sql), wanted);
            }
        }
    }
}
