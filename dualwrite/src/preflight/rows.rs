//! What the catalogue says of the rows that a copy writes: columns that the database fills, what new asks of a row that
//! old does not, triggers of the application, rights and settings. Pure.

use super::finding::{Finding, FindingLevel};
use super::schema::{Column, SideSchema, Subject};
use crate::stages::stage::Side;

/// What an adapter knows of a table beyond its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct TableNotes {
    /// Triggers of the application that run for rows that are inserted or updated.
    pub(crate) triggers: Vec<String>,
    /// Rights on the table that the role lacks.
    pub(crate) missing_rights: Vec<String>,
    /// Row-level security keeps rows from the role.
    pub(crate) hides_rows: bool,
    /// The engine of the table, where it has no transactions.
    pub(crate) cannot_roll_back: Option<String>,
    /// The column in which the server writes its next number in the place of a 0.
    pub(crate) renumbers_zero: Option<String>,
    /// Constraints that are judged as late as at COMMIT.
    pub(crate) deferred: Option<String>,
    /// The server cuts values that do not fit, in silence.
    pub(crate) cuts_values: bool,
    /// The server appends blanks to what is read of a CHAR.
    pub(crate) pads_values: bool,
    /// How a file of SQLite keeps what a transaction changes, where it is no write-ahead log.
    pub(crate) journal: Option<String>,
}

fn found(
    check: &str,
    level: FindingLevel,
    side: &SideSchema,
    column: Option<&str>,
    (why, action): (String, &str),
) -> Finding {
    Finding::new(check, level, (side.side, &side.name.to_string(), column), why, action)
}

fn columns(side: &SideSchema) -> impl Iterator<Item = &Column> {
    side.table.iter().flat_map(|table| &table.columns)
}

/// Whether a copy writes rows of old, too: where both sides are one table.
fn is_one_table(subject: &Subject) -> bool {
    subject.new.as_ref().is_none_or(|new| new.name == subject.old.name)
}

/// The sides whose rows a copy writes.
fn written(subject: &Subject) -> impl Iterator<Item = &SideSchema> {
    let old = is_one_table(subject).then_some(&subject.old);
    let new = subject.new.as_ref().filter(|_| old.is_none());
    old.into_iter().chain(new)
}

/// Columns that would say that a row was changed when it was only copied.
pub(crate) fn self_updating(subject: &Subject, out: &mut Vec<Finding>) {
    for side in written(subject) {
        for column in columns(side).filter(|c| c.extra.to_ascii_lowercase().contains("on update")) {
            let why = "the database gives it the present time whenever its row is updated, and a statement of your \
                       own that copies does update it (a ready copy of columns keeps its value)";
            let action =
                "assign it in the statements that copy: `at = at`, or the value of the old side";
            let at = Some(column.name.as_str());
            out.push(found(
                "self_updating",
                FindingLevel::Warn,
                side,
                at,
                (why.to_owned(), action),
            ));
        }
    }
}

/// Columns that nobody may write.
pub(crate) fn generated(subject: &Subject, out: &mut Vec<Finding>) {
    for side in written(subject) {
        for column in columns(side).filter(|column| column.is_generated) {
            let why = "the database computes it, and refuses a statement that names it".to_owned();
            let action = "leave it out of what is copied and mirrored";
            let at = Some(column.name.as_str());
            out.push(found("generated_column", FindingLevel::Note, side, at, (why, action)));
        }
    }
}

/// What new asks of a row, and old does not.
pub(crate) fn stricter(subject: &Subject, out: &mut Vec<Finding>) {
    let Some(new) = subject.new.as_ref().filter(|_| !is_one_table(subject)) else { return };
    for column in columns(new).filter(|c| !c.nullable && c.default.is_none() && !c.is_generated) {
        if subject.old.column(&column.name).is_some_and(|old| old.nullable) {
            let why = "it is NOT NULL here and may be NULL on the old side: such rows become dead letters";
            let action = "fill those rows of the old side first, give the column a default, or let it be NULL";
            let at = Some(column.name.as_str());
            out.push(found("not_null", FindingLevel::Warn, new, at, (why.to_owned(), action)));
        }
    }
    let unique = |side: &SideSchema| -> Vec<Vec<String>> {
        let indexes = side.table.iter().flat_map(|table| &table.indexes);
        indexes.filter(|index| index.unique).map(|index| index.columns.clone()).collect()
    };
    let of_old = unique(&subject.old);
    for columns in unique(new).into_iter().filter(|columns| *columns != new.key) {
        if !of_old.contains(&columns) {
            let list = columns.join("`, `");
            let why = format!(
                "a unique index over `{list}` that the old side does not have: of rows with equal values all but one become \
                 dead letters"
            );
            let action = "look for such rows on the old side before the backfill";
            out.push(found("unique_index", FindingLevel::Warn, new, None, (why, action)));
        }
    }
}

/// What an upsert must not leave out.
pub(crate) fn demanded(subject: &Subject, out: &mut Vec<Finding>) {
    let fills = |column: &Column| {
        let extra = column.extra.to_ascii_lowercase();
        column.is_generated || extra.contains("identity") || extra.contains("auto_increment")
    };
    for side in written(subject) {
        let wanted: Vec<&str> = columns(side)
            .filter(|column| !column.nullable && column.default.is_none() && !fills(column))
            .map(|column| column.name.as_str())
            .filter(|name| !side.key.iter().any(|key| key.eq_ignore_ascii_case(name)))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let why = format!(
            "NOT NULL without a default: `{}`. The database asks for them before `INSERT … ON CONFLICT` or `ON \
             DUPLICATE KEY` finds the row, so an upsert that leaves one out fails, also where the row is there",
            wanted.join("`, `")
        );
        let action = "name them all in an upsert, or UPDATE, and INSERT where no row was found, as `Columns::save`";
        out.push(found("upsert", FindingLevel::Note, side, None, (why, action)));
    }
}

/// What no verification would say: rows that the role does not see, and writes that stay where a transaction is
/// rolled back.
pub(crate) fn unsound(side: &SideSchema, notes: &TableNotes, out: &mut Vec<Finding>) {
    if let Some(engine) = &notes.cannot_roll_back {
        let why = format!(
            "the engine {engine} has no transactions: what a dual write or a page did to it stays where the other \
             side is rolled back, and nobody notices"
        );
        let action = "give the table an engine with transactions: ALTER TABLE … ENGINE = InnoDB";
        out.push(found("engine", FindingLevel::Refuse, side, None, (why, action)));
    }
    if notes.hides_rows {
        let why = "row-level security applies to the role, and its policies may hide rows: those are neither copied \
                   nor compared, and a verification says that all is equal";
        let action = "give the role BYPASSRLS or a policy USING (true), or take the role that owns the table, without \
                      FORCE ROW LEVEL SECURITY";
        out.push(found("row_security", FindingLevel::Refuse, side, None, (why.to_owned(), action)));
    }
}

/// The column of the side that rows are read from, by its place in the key, whose 0 would become another number in this
/// one: where such a row is there, it does not arrive.
pub(crate) fn renumbered(
    side: &SideSchema,
    from: &SideSchema,
    notes: &TableNotes,
) -> Option<usize> {
    const NUMBERS: [&str; 6] = ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal"];
    let column = notes.renumbers_zero.as_ref()?;
    let place = side.key.iter().position(|key| key.eq_ignore_ascii_case(column))?;
    let source = from.column(from.key.get(place)?)?;
    NUMBERS.contains(&&*source.base).then_some(place)
}

/// A row is there whose key is 0.
pub(crate) fn zero(side: &SideSchema, notes: &TableNotes, out: &mut Vec<Finding>) {
    let why = "a row of the other table has 0 in this part of the key, and the column is AUTO_INCREMENT: the server writes \
               its next number in the place of the 0, so that the row arrives under another key with every copy"
        .to_owned();
    let action = "add NO_AUTO_VALUE_ON_ZERO to the `sql_mode` of the service's connections, or give that row another key";
    let at = notes.renumbers_zero.as_deref();
    let level = match side.side {
        Side::New => FindingLevel::Refuse,
        Side::Old => FindingLevel::Warn,
    };
    out.push(found("key_zero", level, side, at, (why, action)));
}

/// What a file of SQLite does where it keeps no write-ahead log.
fn journal(side: &SideSchema, notes: &TableNotes, out: &mut Vec<Finding>) {
    let Some(mode) = &notes.journal else { return };
    let action = "PRAGMA journal_mode = WAL, once: the file keeps it";
    let (level, why) = match &**mode {
        "off" => (
            FindingLevel::Refuse,
            "`journal_mode` is off: nothing is rolled back, so that half of a dual write stays where the other half \
             failed"
                .to_owned(),
        ),
        mode => (
            FindingLevel::Warn,
            format!(
                "`journal_mode` is {mode}, not wal: whoever reads waits while a page of a backfill or a dual write is \
                 stored, and the other way round"
            ),
        ),
    };
    out.push(found("journal_mode", level, side, None, (why, action)));
}

/// What has to be asked for each table that is written.
pub(crate) fn notes(side: &SideSchema, notes: &TableNotes, out: &mut Vec<Finding>) {
    for trigger in &notes.triggers {
        let why = format!(
            "the trigger `{trigger}` runs for rows that the library copies, too: a column that it sets, such as \
             `updated_at`, then says that they were changed"
        );
        let action = "let the trigger leave out what only a copy changes, or accept it";
        out.push(found("trigger", FindingLevel::Warn, side, None, (why, action)));
    }
    if let Some(names) = &notes.deferred {
        let why = format!(
            "{names} may be judged at the commit. The library judges them before, for each mirror write and each \
             page: a row that violates one is marked or becomes a dead letter, also where a later statement of \
             the same transaction would have made it right"
        );
        let action = "write what a row refers to before the row";
        out.push(found("deferred_constraint", FindingLevel::Note, side, None, (why, action)));
    }
    if !notes.missing_rights.is_empty() {
        let why = format!("the role lacks {} on it", notes.missing_rights.join(", "));
        let action = "grant it before the first row is copied";
        out.push(found("rights", FindingLevel::Warn, side, None, (why, action)));
    }
    unsound(side, notes, out);
    journal(side, notes, out);
    if notes.cuts_values {
        let why = "`sql_mode` has neither STRICT_TRANS_TABLES nor STRICT_ALL_TABLES: the server cuts values that do \
                   not fit, and refuses none";
        let action = "set a strict `sql_mode` for the service's connections";
        out.push(found("sql_mode", FindingLevel::Warn, side, None, (why.to_owned(), action)));
    }
    if notes.pads_values {
        for column in columns(side).filter(|column| column.base == "char") {
            let why = "`sql_mode` has PAD_CHAR_TO_FULL_LENGTH: a CHAR is read with blanks to its full length, and \
                       differs from the same text in a VARCHAR of the other side, so that no verification is clean";
            let action = "leave it out of the `sql_mode` of the service's connections";
            let at = Some(column.name.as_str());
            out.push(found("sql_mode", FindingLevel::Warn, side, at, (why.to_owned(), action)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Index, Table, TableName};
    use super::*;
    use crate::key::KeyKind;
    use crate::stages::stage::Side;

    fn side(side: Side, name: &str, columns: Vec<Column>, indexes: Vec<Index>) -> SideSchema {
        let name = TableName { schema: None, name: name.to_owned() };
        let table = Table { name: name.clone(), is_view: false, columns, indexes };
        SideSchema { side, name, key: vec!["id".to_owned()], table: Some(table) }
    }

    fn column(name: &str, nullable: bool, extra: &str) -> Column {
        let (name, extra) = (name.to_owned(), extra.to_owned());
        Column { name, nullable, extra, ..Column::default() }
    }

    fn checks(subject: &Subject) -> Vec<String> {
        let mut out = Vec::new();
        self_updating(subject, &mut out);
        generated(subject, &mut out);
        stricter(subject, &mut out);
        demanded(subject, &mut out);
        out.into_iter().map(|finding| format!("{} {:?}", finding.check, finding.column)).collect()
    }

    #[test]
    fn what_new_does_by_itself_or_asks_for_is_named() {
        let unique =
            Index { name: "u".to_owned(), unique: true, columns: vec!["email".to_owned()] };
        let mut total = column("total", true, "VIRTUAL GENERATED");
        total.is_generated = true;
        let columns = vec![
            column("email", false, ""),
            column("at", false, "on update current_timestamp()"),
            total,
        ];
        let subject = Subject {
            kind: KeyKind::INTEGER,
            old: side(Side::Old, "o", vec![column("email", true, "")], Vec::new()),
            new: Some(side(Side::New, "n", columns, vec![unique])),
        };
        assert_eq!(
            checks(&subject),
            [
                "self_updating Some(\"at\")",
                "generated_column Some(\"total\")",
                "not_null Some(\"email\")",
                "unique_index None",
                "upsert None"
            ]
        );
    }

    #[test]
    fn what_an_upsert_must_not_leave_out_is_named() {
        let mut filled = column("filled", false, "");
        filled.default = Some("0".to_owned());
        let columns = vec![
            column("id", false, ""),
            column("name", false, ""),
            column("email", true, ""),
            column("number", false, "auto_increment"),
            column("created_at", false, ""),
            filled,
        ];
        let subject = Subject {
            kind: KeyKind::INTEGER,
            old: side(Side::Old, "customer", columns.clone(), Vec::new()),
            new: Some(side(Side::New, "customer", columns, Vec::new())),
        };
        let mut out = Vec::new();
        demanded(&subject, &mut out);
        let [finding] = out.as_slice() else { panic!("{out:?}") };
        let text = finding.to_string();
        assert!(text.starts_with("note upsert: table `customer`: "), "{text}");
        assert!(text.contains(": `name`, `created_at`. "), "{text}");
    }

    #[test]
    fn what_has_to_be_asked_is_told_by_name() {
        let code = Column { base: "char".to_owned(), ..column("code", false, "") };
        let table = side(Side::New, "n", vec![code, column("word", true, "")], Vec::new());
        let mut out = Vec::new();
        notes(&table, &TableNotes::default(), &mut out);
        assert!(out.is_empty());
        let known = TableNotes {
            triggers: vec!["touch".to_owned()],
            missing_rights: vec!["DELETE".to_owned()],
            hides_rows: true,
            cannot_roll_back: Some("MyISAM".to_owned()),
            renumbers_zero: None,
            deferred: Some("\"n_parent\"".to_owned()),
            cuts_values: true,
            pads_values: true,
            journal: Some("delete".to_owned()),
        };
        notes(&table, &known, &mut out);
        let all: String = out.iter().map(ToString::to_string).collect();
        for word in [
            "`touch`",
            "n_parent",
            "DELETE",
            "row-level",
            "MyISAM",
            "STRICT_TRANS_TABLES",
            "column `code`",
            "`journal_mode` is delete",
        ] {
            assert!(all.contains(word), "{all}");
        }
    }

    #[test]
    fn where_both_sides_are_one_table_its_rows_are_written() {
        let columns = || vec![column("at", true, "on update current_timestamp()")];
        let written = |new: Option<SideSchema>| {
            let old = side(Side::Old, "o", columns(), Vec::new());
            let mut out = Vec::new();
            self_updating(&Subject { kind: KeyKind::INTEGER, old, new }, &mut out);
            out.into_iter().map(|one| one.side).collect::<Vec<_>>()
        };
        assert_eq!(written(None), [Side::Old], "the copy function names no other");
        let new = |name| Some(side(Side::New, name, columns(), Vec::new()));
        assert_eq!((written(new("o")), written(new("n"))), (vec![Side::Old], vec![Side::New]));
    }

    #[test]
    fn a_column_is_stricter_only_without_null_default_or_generation() {
        let found = |new: Column, old_is_free: bool, name: &str| {
            let old = side(Side::Old, "o", vec![column("a", old_is_free, "")], Vec::new());
            let new = side(Side::New, name, vec![new], Vec::new());
            let mut out = Vec::new();
            stricter(&Subject { kind: KeyKind::INTEGER, old, new: Some(new) }, &mut out);
            checks_of(&out)
        };
        let strict = || column("a", false, "");
        assert_eq!(found(strict(), true, "n"), ["not_null"]);
        assert_eq!(found(strict(), false, "n"), [""; 0], "the old side is as strict");
        assert_eq!(found(strict(), true, "o"), [""; 0], "it is one table");
        assert_eq!(found(column("a", true, ""), true, "n"), [""; 0]);
        let default = Column { default: Some("0".to_owned()), ..strict() };
        let generated = Column { is_generated: true, ..strict() };
        assert_eq!((found(default, true, "n"), found(generated, true, "n")), (vec![], vec![]));
        assert_eq!(
            found(column("b", false, ""), true, "n"),
            [""; 0],
            "the old side has no such one"
        );
    }

    fn checks_of(found: &[Finding]) -> Vec<String> {
        found.iter().map(|one| one.check.clone()).collect()
    }

    #[test]
    fn a_unique_index_is_named_unless_it_is_of_the_key_or_of_both_sides() {
        let unique = |unique, name: &str| Index {
            name: "u".to_owned(),
            unique,
            columns: vec![name.to_owned()],
        };
        let found = |old: Vec<Index>, new: Vec<Index>| {
            let old = side(Side::Old, "o", Vec::new(), old);
            let new = Some(side(Side::New, "n", Vec::new(), new));
            let mut out = Vec::new();
            stricter(&Subject { kind: KeyKind::INTEGER, old, new }, &mut out);
            checks_of(&out)
        };
        assert_eq!(found(vec![], vec![unique(true, "a")]), ["unique_index"]);
        assert_eq!(found(vec![unique(false, "a")], vec![unique(true, "a")]), ["unique_index"]);
        assert_eq!(found(vec![unique(true, "a")], vec![unique(true, "a")]), [""; 0]);
        assert_eq!(found(vec![], vec![unique(true, "id"), unique(false, "a")]), [""; 0]);
    }

    #[test]
    fn an_upsert_may_leave_out_what_the_database_fills() {
        let found = |columns: Vec<Column>| {
            let old = side(Side::Old, "o", Vec::new(), Vec::new());
            let new = Some(side(Side::New, "n", columns, Vec::new()));
            let mut out = Vec::new();
            demanded(&Subject { kind: KeyKind::INTEGER, old, new }, &mut out);
            checks_of(&out)
        };
        assert_eq!(found(vec![column("a", false, "")]), ["upsert"]);
        for filled in [
            column("a", true, ""),
            column("a", false, "IDENTITY"),
            column("a", false, "AUTO_INCREMENT"),
            Column { is_generated: true, ..column("a", false, "") },
            Column { default: Some("0".to_owned()), ..column("a", false, "") },
            column("ID", false, ""),
        ] {
            assert_eq!(found(vec![filled.clone()]), [""; 0], "{filled:?}");
        }
    }

    #[test]
    fn a_zero_is_renumbered_in_the_part_of_the_key_that_counts_up() {
        let keyed = |of, base: &str| {
            let typed = |name: &str| Column { base: base.to_owned(), ..column(name, false, "") };
            let columns = vec![typed("shop"), typed("id")];
            SideSchema {
                key: vec!["shop".to_owned(), "id".to_owned()],
                ..side(of, "t", columns, vec![])
            }
        };
        let place = |counts_up: Option<&str>, base: &str| {
            let renumbers_zero = counts_up.map(str::to_owned);
            let notes = TableNotes { renumbers_zero, ..TableNotes::default() };
            renumbered(&keyed(Side::New, "bigint"), &keyed(Side::Old, base), &notes)
        };
        assert_eq!((place(Some("SHOP"), "int"), place(Some("id"), "bigint")), (Some(0), Some(1)));
        assert_eq!(place(None, "int"), None);
        assert_eq!(place(Some("other"), "int"), None, "it is no part of the key");
        assert_eq!(place(Some("id"), "varchar"), None, "a text is no zero");
        let level = |of| {
            let notes =
                TableNotes { renumbers_zero: Some("id".to_owned()), ..TableNotes::default() };
            let mut out = Vec::new();
            zero(&keyed(of, "int"), &notes, &mut out);
            let [found] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!((&*found.check, found.column.as_deref()), ("key_zero", Some("id")));
            found.level
        };
        assert_eq!(
            (level(Side::New), level(Side::Old)),
            (FindingLevel::Refuse, FindingLevel::Warn)
        );
    }
}
