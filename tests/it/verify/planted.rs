//! Exactly the planted differences are found and repaired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dualwrite::verify::KeyDifferenceKind::{Different, MissingInNew, MissingInOld};
use dualwrite::verify::{KeyDifferenceKind, VerifyReport};
use uuid::Uuid;

use super::people::{CopyPeople, People, PersonKey, Way, World, write_on};
use crate::support::db::{Scratch, on_all_databases};

const ROWS: u32 = 120;

type Planted = (u32, &'static str, &'static str, KeyDifferenceKind, &'static [&'static str]);

/// Key, table, what is set there, and what must be found.
const PLANTED: &[Planted] = &[
    (1, "new_person", "", MissingInNew, &[]),
    (2, "old_person", "", MissingInOld, &[]),
    (40, "new_person", "", MissingInNew, &[]),
    (41, "old_person", "", MissingInOld, &[]),
    (3, "new_person", "a = 'changed'", Different, &["a"]),
    (10, "new_person", "b = NULL", Different, &["b"]),
    (11, "new_person", "b = '<null>'", Different, &["b"]),
    (12, "old_person", "b = '<null>'", Different, &["b"]),
    (13, "new_person", "n = '1.0'", Different, &["n"]),
    (14, "new_person", "n = ' 1'", Different, &["n"]),
    (16, "new_person", "a = 'a 16 '", Different, &["a"]),
    (17, "new_person", "a = 'A 17'", Different, &["a"]),
    (19, "new_person", "a = 'á 19'", Different, &["a"]),
    (20, "new_person", "n = NULL, b = NULL", Different, &["b", "n"]),
    (119, "new_person", "", MissingInNew, &[]),
    (120, "old_person", "", MissingInOld, &[]),
];

fn found(report: &VerifyReport) -> BTreeMap<String, (KeyDifferenceKind, Vec<String>)> {
    let all = report.differences.iter();
    all.map(|found| (found.key.clone(), (found.kind, found.fields.clone()))).collect()
}

async fn finds_and_repairs<D: People, K: PersonKey>(db: Scratch<D>, way: Way) {
    let world = World::<D, K>::new(db, ROWS, CopyPeople::new(way)).await;
    assert!(world.migration.verify().batch(16).run().await.unwrap().proven);
    for (number, table, set, _, _) in PLANTED {
        world.plant(table, *number, set).await;
    }
    // Two values whose texts run into one another are two other values.
    world.plant("old_person", 22, "a = 'a|b', b = 'c'").await;
    world.plant("new_person", 22, "a = 'a', b = 'b|c'").await;
    let pair: Planted = (22, "", "", Different, &["a", "b"]);

    let stop = Arc::<AtomicBool>::default();
    let writer = tokio::spawn(write_on::<D, K>(
        world.migration.clone(),
        world.db.pool().clone(),
        60..100,
        Arc::clone(&stop),
    ));
    let report = world.migration.verify().batch(16).run().await.unwrap();
    let expected: BTreeMap<_, _> = PLANTED
        .iter()
        .chain([&pair])
        .map(|(number, _, _, kind, fields)| {
            let named = fields.iter().map(|field| (*field).to_owned());
            let named = if way == Way::Asked { Vec::new() } else { named.collect() };
            (World::<D, K>::key(*number), (*kind, named))
        })
        .collect();
    assert_eq!(found(&report), expected, "{way:?}");
    assert!(!report.proven);
    assert_eq!((report.missing_in_new, report.missing_in_old, report.different), (3, 3, 11));
    if way != Way::Asked {
        let fields: Vec<_> = report.fields.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(fields, [("a", 5), ("b", 5), ("n", 3)]);
    }

    // Chunks that are compared at once find the same, however many connections there are for it.
    for workers in [2, 16] {
        let beside = world.migration.verify().batch(7).workers(workers).run().await.unwrap();
        assert_eq!(found(&beside), expected, "{way:?} by {workers} workers");
    }

    let would = world.migration.verify().batch(16).repair().dry_run().await.unwrap();
    assert_eq!((would.copied, would.removed, would.failed), (14, 3, 0), "{would:?}");
    let again = world.migration.verify().batch(16).run().await.unwrap();
    assert_eq!(found(&again), expected, "a dry run changes nothing");

    let did = world.migration.verify().batch(16).repair().run().await.unwrap();
    assert_eq!((did.copied, did.removed, did.failed), (14, 3, 0), "{did:?}");
    let mut changed: Vec<String> = did.changed.iter().map(|found| found.key.clone()).collect();
    changed.sort();
    assert_eq!(changed, expected.keys().cloned().collect::<Vec<_>>());
    let clean = world.migration.verify().batch(16).run().await.unwrap();
    assert!(clean.proven && clean.is_clean(), "{clean:?}");
    stop.store(true, SeqCst);
    assert!(writer.await.unwrap() > 0, "nobody wrote meanwhile");
    world.runtime.shutdown().await.unwrap();
}

macro_rules! found_and_repaired {
    ($($name:ident $key:ty, $way:ident;)*) => {
        $(async fn $name<D: People>(db: Scratch<D>) {
            finds_and_repairs::<D, $key>(db, Way::$way).await;
        })*
        on_all_databases!($($name),*);
    };
}
found_and_repaired! {
    integers_in_sql i64, Sql;
    integers_in_rust i64, Rust;
    integers_asked i64, Asked;
    uuids_in_sql Uuid, Sql;
    uuids_in_rust Uuid, Rust;
    texts_in_sql String, Sql;
    texts_in_rust String, Rust;
    composites_in_sql (i64, String), Sql;
    composites_in_rust (i64, String), Rust;
    composites_asked (i64, String), Asked;
}
