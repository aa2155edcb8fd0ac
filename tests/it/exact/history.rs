//! What concurrent clients see while the authority goes there and back, and instances die at every step. Some rounds by
//! default; `DUALWRITE_TEST_ROUNDS` says how many, and `DUALWRITE_TEST_SEED` which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{Stage, exact::ExactStep};

use super::carts::{CartDb, Carts, Pair, cart, count, find, on_pairs, quiet, save};
use super::oracle::{History, is_delete};
use crate::support::dice::Dice;
use crate::support::notice;
use crate::support::wait::ends;

/// Keys that one client writes each, and a record that all of them count in.
const WRITERS: usize = 3;
const READERS: usize = 2;
const COUNTED: i64 = 100;
const INSTANCES: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[derive(Default)]
struct World {
    histories: Vec<History>,
    /// Counted for certain, and perhaps.
    counted: AtomicU64,
    perhaps: AtomicU64,
    stop: AtomicBool,
}

/// Writes a key, and counts, on whichever instance lives.
async fn write<O: CartDb, N: CartDb>(
    world: Arc<World>,
    instances: Vec<Carts<O, N>>,
    key: usize,
    mut dice: Dice,
) {
    let history = &world.histories[key];
    while !world.stop.load(SeqCst) {
        let carts = dice.pick(&instances);
        if carts.is_dead() {
            tokio::task::yield_now().await;
            continue;
        }
        if dice.one_in(3) {
            world.perhaps.fetch_add(1, SeqCst);
            if count(carts, COUNTED).await.is_ok() {
                world.counted.fetch_add(1, SeqCst);
            }
            continue;
        }
        let number = history.begin();
        let written = cart("written", number as i64);
        let written = (!is_delete(number)).then_some(&written);
        if save(carts, key as i64, written).await.is_ok() {
            history.acknowledge(number);
        }
    }
}

async fn read<O: CartDb, N: CartDb>(
    world: Arc<World>,
    instances: Vec<Carts<O, N>>,
    mut dice: Dice,
) {
    while !world.stop.load(SeqCst) {
        let carts = dice.pick(&instances);
        if carts.is_dead() {
            tokio::task::yield_now().await;
            continue;
        }
        let key = dice.below(WRITERS);
        let history = &world.histories[key];
        let begun = history.now();
        if let Ok(found) = find(carts, key as i64).await {
            history.read(begun, found.map(|cart| cart.count as u64));
        }
    }
}

/// Moves it: there, back, or off and on again. It may be refused, and die on the way.
async fn moves<O: CartDb, N: CartDb>(carts: Carts<O, N>, over: bool) {
    let Ok(status) = carts.status().await else { return };
    if over {
        let _ = match status.stage {
            Stage::DualWrite => carts.advance(Stage::Live).await.map(|()| Stage::Live),
            _ => carts.rollback().await,
        };
        return;
    }
    let _ = match status.stage {
        Stage::Live => carts.advance(Stage::Complete).await,
        _ => carts.advance(Stage::Off).await,
    };
    records_again(&carts).await;
}

/// Has writes recorded again, and copies.
async fn records_again<O: CartDb, N: CartDb>(carts: &Carts<O, N>) {
    let Ok(status) = carts.status().await else { return };
    let _ = match status.stage {
        Stage::Off => carts.advance(Stage::DualWrite).await,
        Stage::Complete => carts.rollback().await.map(drop),
        _ => Ok(()),
    };
    let _ = carts.copy().await;
}

async fn round<O: CartDb, N: CartDb>(
    pair: &Pair<O, N>,
    world: &Arc<World>,
    instances: &mut [Carts<O, N>],
    (step, seed): (ExactStep, u64),
) {
    let mut dice = Dice::new(seed);
    world.stop.store(false, SeqCst);
    let mut clients = Vec::new();
    for key in 0..WRITERS {
        let dice = Dice::new(dice.roll());
        clients.push(tokio::spawn(write(Arc::clone(world), instances.to_vec(), key, dice)));
    }
    for _ in 0..READERS {
        let dice = Dice::new(dice.roll());
        clients.push(tokio::spawn(read(Arc::clone(world), instances.to_vec(), dice)));
    }
    tokio::time::sleep(Duration::from_millis(dice.below(20) as u64)).await;
    let victim = dice.below(INSTANCES);
    let often = matches!(step, ExactStep::Written | ExactStep::Committed | ExactStep::RelayRead);
    instances[victim].die_at(step, if often { dice.below(6) as u32 } else { dice.below(2) as u32 });
    let over = !matches!(step, ExactStep::Recording | ExactStep::Copied) && !dice.one_in(8);
    let mut movers = vec![tokio::spawn(moves(instances[victim].clone(), over))];
    if dice.one_in(2) {
        // Another one at the same time, perhaps in the other direction.
        let other = instances[(victim + 1) % INSTANCES].clone();
        movers.push(tokio::spawn(moves(other, true)));
    }
    for mover in movers {
        ends("a move", mover).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(20 + dice.below(60) as u64)).await;
    world.stop.store(true, SeqCst);
    for client in clients {
        ends("a client", client).await.unwrap();
    }
    let fresh = pair.start().await;
    std::mem::replace(&mut instances[victim], fresh).shutdown().await;
}

/// Both databases say the same, the history can have happened, and nothing that was counted is lost.
async fn judge<O: CartDb, N: CartDb>(
    pair: &Pair<O, N>,
    world: &World,
    carts: &Carts<O, N>,
    about: &str,
) {
    // A hand-over that was left is taken up.
    ends("a hand-over that is taken up", quiet(carts)).await;
    // Before a copy that would make good what was lost.
    let status = carts.status().await.unwrap();
    if status.copied && matches!(status.stage, Stage::DualWrite | Stage::Live) {
        let [old, new] = pair.all().await;
        assert_eq!(old, new, "{about}: the databases differ, and it is not copied again");
    }
    records_again(carts).await;
    quiet(carts).await;
    let [old, new] = pair.all().await;
    assert_eq!(old, new, "{about}: the databases differ");
    let report = carts.verify().await.unwrap();
    assert!(report.is_clean() && report.behind == 0, "{about}: {report:?}");
    for (key, history) in world.histories.iter().enumerate() {
        // What is there at the end is what a last read finds.
        let begun = history.now();
        history.read(begun, old.get(&(key as i64)).map(|cart| cart.count as u64));
        if let Err(wrong) = history.judge() {
            panic!("{about}: key {key}: {wrong}");
        }
    }
    let (counted, perhaps) = (world.counted.load(SeqCst), world.perhaps.load(SeqCst));
    let found = old[&COUNTED].count as u64;
    assert!((counted..=perhaps).contains(&found), "{about}: {found}, not {counted} to {perhaps}");
    // What perhaps happened has, or not.
    world.counted.store(found, SeqCst);
    world.perhaps.store(found, SeqCst);
}

async fn no_read_is_stale_and_no_record_lost_whoever_dies<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let (rounds, seed) =
        (setting("DUALWRITE_TEST_ROUNDS", 22), setting("DUALWRITE_TEST_SEED", 20_261_130));
    let first = pair.at(Stage::DualWrite).await;
    save(&first, COUNTED, Some(&cart("counted", 0))).await.unwrap();
    let mut instances = vec![first];
    while instances.len() < INSTANCES {
        instances.push(pair.start().await);
    }
    let histories = || (0..WRITERS).map(|_| History::default()).collect();
    let mut world = Arc::new(World { histories: histories(), ..World::default() });
    let (mut reads, mut writes) = (0, 0);
    for number in 0..rounds {
        let seed = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9));
        let step = ExactStep::ALL[number as usize % ExactStep::ALL.len()];
        let about = format!("round {number}, seed {seed}, {step:?}");
        round(&pair, &world, &mut instances, (step, seed)).await;
        judge(&pair, &world, &instances[0], &about).await;
        for history in &world.histories {
            let (read, written) = history.len();
            (reads, writes) = (reads + read, writes + written);
        }
        // The next history begins where there is nothing.
        for key in 0..WRITERS {
            save(&instances[0], key as i64, None).await.unwrap();
        }
        let count = |count: &AtomicU64| AtomicU64::new(count.load(SeqCst));
        world = Arc::new(World {
            histories: histories(),
            counted: count(&world.counted),
            perhaps: count(&world.perhaps),
            stop: AtomicBool::new(false),
        });
    }
    let epoch = instances[0].status().await.unwrap().epoch;
    notice(&format!(
        "{} to {}: {rounds} rounds from seed {seed}, {reads} reads, {writes} writes of keys, {} counts, epoch {epoch}",
        O::NAME,
        N::NAME,
        world.counted.load(SeqCst),
    ));
    for carts in instances {
        carts.shutdown().await;
    }
}

on_pairs!(no_read_is_stale_and_no_record_lost_whoever_dies);
