//! What of that which was seen hurts a migration. Pure.

use std::time::Duration;

use super::facts::{Examined, Follower, Queue, Seen};
use super::report::{DoctorFinding, DoctorLimits, DoctorReport};
use super::stars::reads_every_column;
use crate::database::Holder;
use crate::preflight::finding::{Finding, FindingLevel};
use crate::preflight::rows::{self, TableNotes};
use crate::preflight::schema::SideSchema;
use crate::stages::hazard::{Hazard, HazardKind, mentions};
use crate::stages::stage::Side;

/// How many sources of a statement are named.
const NAMED_MAX: usize = 5;
/// What is looked at live, so that what was kept of it is not told as well.
const LIVE: [&str; 5] = ["sequence", "trigger", "deferred_constraint", "rights", "sql_mode"];

/// What instances of the service have kept of one migration.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptFindings {
    pub(crate) migration: String,
    pub(crate) preflight: Vec<Finding>,
    pub(crate) hazards: Vec<Hazard>,
}

fn finding(
    check: &str,
    migration: Option<&str>,
    object: impl Into<String>,
    why: impl Into<String>,
    action: impl Into<String>,
) -> DoctorFinding {
    DoctorFinding {
        check: check.to_owned(),
        level: FindingLevel::Warn,
        migration: migration.map(str::to_owned),
        object: object.into(),
        why: why.into(),
        action: action.into(),
    }
}

/// Judges all of it.
pub(crate) fn diagnose(
    examined: &Examined,
    kept: &[KeptFindings],
    limits: &DoctorLimits,
) -> DoctorReport {
    let mut found = Vec::new();
    for (table, index) in &examined.invalid_indexes {
        found.push(invalid_index(table, index));
    }
    let is_long = |holder: &&Holder| {
        holder.open_s.is_some_and(|open| i128::from(open) >= whole(limits.transaction))
    };
    found.extend(examined.transactions.iter().filter(is_long).map(long_transaction));
    let is_queue = |queue: &&Queue| i128::from(queue.waited_s) >= whole(limits.wait);
    found.extend(examined.queues.iter().filter(is_queue).map(lock_queue));
    if examined.is_locked {
        let why = format!(
            "somebody held its write lock for all of {:.0?}, and whoever changes the schema has to wait",
            limits.wait
        );
        let action = "look for a transaction that is held open; SQLite does not say whose";
        found.push(finding("lock_queue", None, "the database file", why, action));
    }
    found.extend(examined.followers.iter().filter_map(|one| follower(one, limits.lag)));
    let upstreams = examined.upstreams.iter();
    found.extend(upstreams.filter_map(|(host, behind)| upstream(host, *behind, limits.lag)));
    for seen in &examined.tables {
        table(seen, &examined.statements, &mut found);
    }
    for kept in kept {
        remembered(kept, examined, &mut found);
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let tables = examined.tables.iter().map(|seen| seen.concerned.table.clone());
    let mut report = DoctorReport {
        findings: Vec::with_capacity(found.len()),
        tables: tables.collect(),
        not_seen: examined.not_seen.clone(),
    };
    report.tables.sort();
    report.tables.dedup();
    for finding in found {
        if !report.findings.contains(&finding) {
            report.findings.push(finding);
        }
    }
    report
}

/// The server counts whole seconds.
fn whole(limit: Duration) -> i128 {
    i128::from(limit.as_secs())
}

fn invalid_index(table: &str, index: &str) -> DoctorFinding {
    let why = format!(
        "an index of {table} that is not valid: building it concurrently failed. No query uses it, and every write \
         still keeps it up; a unique one may refuse rows, and an upsert cannot name it"
    );
    let action = format!(
        "run: DROP INDEX CONCURRENTLY {index}; then build it again, or: REINDEX INDEX CONCURRENTLY {index}"
    );
    finding("invalid_index", None, index, why, action)
}

fn long_transaction(holder: &Holder) -> DoctorFinding {
    let why = "its transaction has been open for long: a change of the schema waits for it, and everybody waits behind \
               that; a copy cannot clean up behind itself meanwhile";
    let action = match holder.session {
        0 => "commit the prepared transaction, or roll it back",
        _ => "have the application end it, or end the session",
    };
    finding("long_transaction", None, holder.to_string(), why, action)
}

fn lock_queue(queue: &Queue) -> DoctorFinding {
    let (object, action) = match queue.holder.session {
        0 => (
            "a table".to_owned(),
            "look for a transaction that has read or written it and is still open",
        ),
        _ => (queue.holder.to_string(), "have it end its transaction before the schema is changed"),
    };
    let (waiting, waited) = (queue.waiting, queue.waited_s);
    let why = format!("sessions that wait for its lock: {waiting}, the first for {waited} s");
    finding("lock_queue", None, object, why, action)
}

fn follower(one: &Follower, limit: Duration) -> Option<DoctorFinding> {
    let (why, action) = match (one.behind_ms, one.kept_bytes) {
        (_, Some(bytes)) => (
            format!(
                "nobody reads from it, and the server keeps {bytes} bytes of its log for it; a backfill makes that more \
                 until the disk is full"
            ),
            "start its reader, or drop the slot",
        ),
        (Some(behind), None) if u128::from(behind) >= limit.as_millis() => (
            format!("it is {behind} ms behind, and whoever reads there misses what was copied"),
            "wait until it has caught up, and give the backfill a limit: `Throttle::replication_lag`",
        ),
        _ => return None,
    };
    Some(finding("replication", None, one.name.clone(), why, action))
}

fn upstream(host: &str, behind_s: Option<u64>, limit: Duration) -> Option<DoctorFinding> {
    let (why, action) = match behind_s {
        None => (
            "it takes nothing over from there now, and whoever reads here reads what was"
                .to_owned(),
            "look at `SHOW REPLICA STATUS` here (PostgreSQL: `pg_stat_wal_receiver`), and start it again",
        ),
        Some(behind) if Duration::from_secs(behind) >= limit => (
            format!("it is {behind} s behind, and whoever reads here misses what was copied"),
            "wait until it has caught up, and give the backfill a limit: `Throttle::replication_lag`",
        ),
        Some(_) => return None,
    };
    Some(finding("replication", None, format!("this server, a replica of {host}"), why, action))
}

fn table(seen: &Seen, statements: &[(String, String)], found: &mut Vec<DoctorFinding>) {
    let Some(table) = &seen.table else { return };
    let migration = Some(&*seen.concerned.migration);
    let name = &seen.concerned.table;
    if !table.is_view && !table.indexes.iter().any(|index| index.unique) {
        let why = "it has neither a primary key nor a unique index, so an upsert finds no row to update and inserts \
                   another one, and a page of keys reads the whole table";
        let action = "add a primary key, or a unique index on the key that rows are copied by";
        found.push(finding("unique_key", migration, name.clone(), why, action));
    }
    for sequence in &seen.sequences {
        found.push(sequence_behind(migration, sequence));
    }
    for note in live_notes(name, table, &seen.notes) {
        found.push(of_preflight(&seen.concerned.migration, &note));
    }
    let plain = &table.name.name;
    let reads = |(_, text): &&(String, String)| mentions(text, plain) && reads_every_column(text);
    let sources: Vec<&str> = statements.iter().filter(reads).map(|(source, _)| &**source).collect();
    if !sources.is_empty() {
        let (count, named) = (sources.len(), sources[..sources.len().min(NAMED_MAX)].join(", "));
        let why = format!(
            "statements that ask for every column by `*`: {count} ({named}). A connection that has such a statement \
             prepared fails, or answers wrongly, once a column is added or dropped"
        );
        let action = "name the columns in these statements before the schema is changed, or recycle the connections of \
                      the service right after it";
        found.push(finding("statement_cache", migration, name.clone(), why, action));
    }
}

fn sequence_behind(migration: Option<&str>, hazard: &Hazard) -> DoctorFinding {
    let action = match &hazard.repair {
        Some(repair) => format!("give the command `advance-sequences`, or run: {repair}"),
        None => "advance it".to_owned(),
    };
    finding("sequence", migration, hazard.name.clone(), hazard.detail.clone(), action)
}

fn live_notes(
    name: &str,
    table: &crate::preflight::schema::Table,
    notes: &TableNotes,
) -> Vec<Finding> {
    let side = SideSchema {
        side: Side::New,
        name: crate::preflight::schema::TableName { schema: None, name: name.to_owned() },
        key: Vec::new(),
        table: Some(table.clone()),
    };
    let mut out = Vec::new();
    rows::notes(&side, notes, &mut out);
    out
}

fn of_preflight(migration: &str, note: &Finding) -> DoctorFinding {
    let object = match &note.column {
        Some(column) => format!("{}.{column}", note.table),
        None => note.table.clone(),
    };
    DoctorFinding {
        level: note.level,
        ..finding(&note.check, Some(migration), object, note.why.clone(), note.action.clone())
    }
}

/// What an instance of the service found last, which knows the copy function, and what was not seen better here.
fn remembered(kept: &KeptFindings, examined: &Examined, found: &mut Vec<DoctorFinding>) {
    let seen = |table: &str| {
        let is = |seen: &Seen| seen.table.is_some() && seen.concerned.table == table;
        examined.tables.iter().any(is)
    };
    for note in &kept.preflight {
        let is_hazard = HazardKind::ALL.iter().any(|kind| kind.as_str() == note.check);
        let is_live = LIVE.contains(&&*note.check) && seen(&note.table);
        if note.level >= FindingLevel::Warn && !is_hazard && !is_live {
            found.push(of_preflight(&kept.migration, note));
        }
    }
    let told: Vec<String> = found.iter().map(|one| one.object.clone()).collect();
    let sequences = kept.hazards.iter().filter(|hazard| hazard.kind == HazardKind::Sequence);
    for hazard in sequences.filter(|hazard| !told.contains(&hazard.name)) {
        found.push(sequence_behind(Some(&kept.migration), hazard));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::Concerned;
    use crate::preflight::schema::{Index, Table, TableName};

    fn holder(open_s: i64) -> Holder {
        Holder { session: 7, open_s: Some(open_s), ..Holder::default() }
    }

    fn checks(report: &DoctorReport) -> Vec<&str> {
        report.findings.iter().map(|finding| &*finding.check).collect()
    }

    fn customer(unique: bool) -> Seen {
        let name = TableName { schema: None, name: "customer".to_owned() };
        let index = Index { name: "i".into(), unique, columns: vec!["id".into()] };
        let (columns, indexes) = (Vec::new(), vec![index]);
        let table = Table { name, is_view: false, columns, indexes };
        let (migration, table_name) = ("mail".to_owned(), "customer".to_owned());
        Seen {
            concerned: Concerned { migration, table: table_name, moved: None },
            table: Some(table),
            notes: TableNotes::default(),
            sequences: Vec::new(),
        }
    }

    #[test]
    fn only_what_passes_a_limit_is_told() {
        let lag = |behind_ms, kept_bytes| Follower { name: "r".into(), behind_ms, kept_bytes };
        let queue = |waited_s| Queue { holder: holder(1), waiting: 2, waited_s };
        let examined = Examined {
            transactions: vec![holder(59), holder(60)],
            queues: vec![queue(0), queue(1)],
            followers: vec![lag(Some(9_999), None), lag(Some(10_000), None), lag(None, Some(0))],
            ..Examined::default()
        };
        let report = diagnose(&examined, &[], &DoctorLimits::default());
        let expected = ["long_transaction", "lock_queue", "replication", "replication"];
        assert_eq!(checks(&report), expected);
        assert!(!report.is_healthy());
        assert!(diagnose(&Examined::default(), &[], &DoctorLimits::default()).is_healthy());
    }

    #[test]
    fn a_replica_is_told_that_is_late_or_stopped() {
        let at = |behind_s| Examined {
            upstreams: vec![("primary:3306".to_owned(), behind_s)],
            ..Examined::default()
        };
        let told = |behind_s| diagnose(&at(behind_s), &[], &DoctorLimits::default()).findings;
        assert!(told(Some(0)).is_empty() && told(Some(9)).is_empty());
        let late = told(Some(10));
        assert_eq!(late[0].object, "this server, a replica of primary:3306");
        assert!(late[0].why.contains("10 s behind"), "{}", late[0]);
        assert!(told(None)[0].why.contains("takes nothing over"), "{:?}", told(None));
    }

    #[test]
    fn a_table_needs_a_unique_key_and_statements_that_name_their_columns() {
        let statements = vec![
            ("session 1".to_owned(), "SELECT * FROM customer WHERE id = $1".to_owned()),
            ("session 2".to_owned(), "SELECT count(*) FROM customer".to_owned()),
            ("session 3".to_owned(), "SELECT * FROM customers".to_owned()),
        ];
        let examined = Examined {
            statements,
            tables: vec![customer(false), customer(true)],
            ..Examined::default()
        };
        let report = diagnose(&examined, &[], &DoctorLimits::default());
        assert_eq!(checks(&report), ["unique_key", "statement_cache"]);
        let text = report.findings[1].to_string();
        assert!(text.contains("session 1") && !text.contains("session 2"), "{text}");
        assert!(text.contains("migration `mail`"), "{text}");
    }

    #[test]
    fn what_instances_kept_is_told_unless_it_was_seen_better() {
        let note = |check: &str, level| {
            Finding::new(check, level, (Side::Old, "customer", Some("id")), "why", "action")
        };
        let kept = KeptFindings {
            migration: "mail".into(),
            preflight: vec![
                note("key_null", FindingLevel::Warn),
                note("sql_mode", FindingLevel::Warn),
                note("upsert", FindingLevel::Note),
                note("foreign_key", FindingLevel::Warn),
            ],
            hazards: vec![
                Hazard::new(HazardKind::Sequence, "sequence s", "behind"),
                Hazard::new(HazardKind::Trigger, "trigger t", "writes"),
            ],
        };
        let examined = Examined { tables: vec![customer(true)], ..Examined::default() };
        let report = diagnose(&examined, &[kept], &DoctorLimits::default());
        assert_eq!(checks(&report), ["key_null", "sequence"]);
        assert_eq!(report.findings[0].object, "customer.id");
    }
}
