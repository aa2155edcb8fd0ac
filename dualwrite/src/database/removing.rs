//! The triggers that record who writes what is to be removed. None of them fails the statement that fires it. A row of
//! theirs is shared by connections of one account in one slot alone, and is written once a minute where the database lets
//! one look before.

use super::Dialect;

/// How many rows the connections of one account share.
const SLOTS: u32 = 512;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// A validated name.
    pub(crate) removal: String,
    /// Quoted, as is the column.
    pub(crate) table: String,
    pub(crate) column: Option<String>,
    /// The database fills the column by itself, so that an insert does not say whether somebody wrote it.
    pub(crate) fills_itself: bool,
    /// What the names of the triggers are made of; it stays when the object has another name.
    pub(crate) object: String,
}

impl Watch {
    fn name(&self) -> String {
        let parts = format!("{}\0{}", self.removal, self.object);
        format!("dualwrite_removal_{:016x}", xxhash_rust::xxh3::xxh3_64(parts.as_bytes()))
    }

    /// The statements that make the triggers. What is there is made anew.
    pub(crate) fn create(&self, dialect: &Dialect) -> Vec<String> {
        match (dialect.numbered, dialect.on_duplicate_key) {
            (true, _) => self.create_postgres(),
            (_, true) => self.create_mysql(),
            _ => self.create_sqlite(),
        }
    }

    /// The statements that remove them, whatever is there of them.
    pub(crate) fn remove(&self, dialect: &Dialect) -> Vec<String> {
        let name = self.name();
        let parts = ["i", "u", "d"];
        if !dialect.numbered {
            let drop = |part| format!("DROP TRIGGER IF EXISTS {name}_{part}");
            return parts.map(drop).into();
        }
        // With its function its triggers go.
        vec![format!("DROP FUNCTION IF EXISTS {name}() CASCADE")]
    }

    /// By the path of the control tables, and with the rights of whoever installs it.
    fn create_postgres(&self) -> Vec<String> {
        let (name, table, removal) = (self.name(), &self.table, &self.removal);
        let function = format!(
            "DO $install$ BEGIN EXECUTE $create$\
             CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path FROM CURRENT AS $dualwrite$ \
             DECLARE is_now bigint := floor(extract(epoch FROM clock_timestamp()) / 60)::bigint; \
             named text := left(session_user || coalesce(' (' || nullif(current_setting('application_name', true), '') \
             || ')', ''), 100); BEGIN \
             IF to_regclass('dualwrite_removal_use') IS NULL THEN RETURN NULL; END IF; \
             IF NOT EXISTS (SELECT FROM dualwrite_removal_use WHERE removal = '{removal}' AND kind = 'write' \
             AND who = named AND slot = pg_backend_pid() % {SLOTS} AND minute >= is_now) THEN \
             INSERT INTO dualwrite_removal_use AS u (removal, kind, who, slot, minute) \
             VALUES ('{removal}', 'write', named, pg_backend_pid() % {SLOTS}, is_now) \
             ON CONFLICT (removal, kind, who, slot) DO UPDATE SET minute = excluded.minute \
             WHERE u.minute < excluded.minute; END IF; \
             RETURN NULL; END $dualwrite$ $create$; \
             EXECUTE (SELECT format('ALTER FUNCTION {name}() SET search_path = pg_catalog, %s, pg_temp', \
             relnamespace::regnamespace) FROM pg_class WHERE oid = 'dualwrite_removal_use'::regclass); \
             REVOKE ALL ON FUNCTION {name}() FROM PUBLIC; END $install$"
        );
        let trigger = |part: &str, event: &str, each: &str| {
            format!(
                "CREATE OR REPLACE TRIGGER {name}_{part} AFTER {event} ON {table} FOR EACH {each} \
                 EXECUTE FUNCTION {name}()"
            )
        };
        let mut found = vec![function];
        match &self.column {
            None => {
                found.push(trigger("u", "INSERT OR UPDATE OR DELETE OR TRUNCATE", "STATEMENT"));
            }
            Some(column) => {
                found.push(trigger("u", &format!("UPDATE OF {column}"), "STATEMENT"));
                if !self.fills_itself {
                    let each = format!("ROW WHEN (NEW.{column} IS NOT NULL)");
                    found.push(trigger("i", "INSERT", &each));
                }
            }
        }
        found
    }

    /// When it fires: the part of the name, the event, and a condition.
    fn events(&self) -> Vec<(&'static str, &'static str, String)> {
        let Some(column) = &self.column else {
            let always = |(part, event)| (part, event, String::new());
            return [("i", "INSERT"), ("u", "UPDATE"), ("d", "DELETE")].map(always).into();
        };
        let updated = ("u", "UPDATE", format!("NOT (NEW.{column} <=> OLD.{column})"));
        let inserted = ("i", "INSERT", format!("NEW.{column} IS NOT NULL"));
        match self.fills_itself {
            true => vec![updated],
            false => vec![updated, inserted],
        }
    }

    fn create_mysql(&self) -> Vec<String> {
        let (name, table, removal) = (self.name(), &self.table, &self.removal);
        let minute = "FLOOR(UNIX_TIMESTAMP(SYSDATE()) / 60)";
        let mut found = self.remove_parts();
        for (part, event, when) in self.events() {
            let when = if when.is_empty() { "TRUE".to_owned() } else { when };
            found.push(format!(
                "CREATE TRIGGER {name}_{part} AFTER {event} ON {table} FOR EACH ROW BEGIN \
                 DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; \
                 IF {when} THEN INSERT INTO dualwrite_removal_use (removal, kind, who, slot, minute) \
                 VALUES ('{removal}', 'write', LEFT(USER(), 100), CONNECTION_ID() % {SLOTS}, {minute}) \
                 ON DUPLICATE KEY UPDATE minute = GREATEST(minute, VALUES(minute)); END IF; END"
            ));
        }
        found
    }

    fn remove_parts(&self) -> Vec<String> {
        let name = self.name();
        ["i", "u", "d"].map(|part| format!("DROP TRIGGER IF EXISTS {name}_{part}")).into()
    }

    /// There are no accounts.
    fn create_sqlite(&self) -> Vec<String> {
        let (name, table, removal) = (self.name(), &self.table, &self.removal);
        let mut found = self.remove_parts();
        for (part, event, when) in self.events() {
            let (event, when) = match (&self.column, part) {
                (Some(column), "u") => (format!("UPDATE OF {column}"), String::new()),
                (Some(_), _) => (event.to_owned(), format!("WHEN {when} ")),
                (None, _) => (event.to_owned(), String::new()),
            };
            found.push(format!(
                "CREATE TRIGGER {name}_{part} AFTER {event} ON {table} FOR EACH ROW {when}BEGIN \
                 INSERT INTO dualwrite_removal_use (removal, kind, who, slot, minute) \
                 VALUES ('{removal}', 'write', 'a connection to the file', 0, \
                 CAST(strftime('%s', 'now') AS INTEGER) / 60) \
                 ON CONFLICT (removal, kind, who, slot) DO UPDATE SET minute = excluded.minute \
                 WHERE minute < excluded.minute; END"
            ));
        }
        found
    }
}
