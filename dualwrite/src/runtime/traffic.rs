//! Tells the control tables once a minute how many calls each side had, and how long they took. Where there were none,
//! nothing is asked of the database.

use std::sync::PoisonError;

use crate::copier::joined::Joined;
use crate::observe::traffic::SideTraffic;
use crate::stages::stage::Side;

/// Tells what is new, where it is time.
pub(super) async fn report(shared: &Joined) {
    store(shared, news(shared)).await;
}

/// Tells what is left, at the end of this instance.
pub(super) async fn flush(shared: &Joined) {
    store(shared, rest(shared)).await;
}

type News = Option<([SideTraffic; 2], bool)>;

async fn store(shared: &Joined, news: News) {
    let Some((news, forget)) = news else { return };
    let name = &*shared.name;
    if let Err(error) = shared.control.add_traffic(name, &news, forget).await {
        tracing::debug!(migration = name, %error, "the calls of a minute are not in the control tables");
    }
}

fn news(shared: &Joined) -> News {
    let mut told = shared.measured.traffic.lock().unwrap_or_else(PoisonError::into_inner);
    told.is_due(shared.clock.now()).then_some(())?;
    told.news(totals(shared))
}

fn rest(shared: &Joined) -> News {
    let mut told = shared.measured.traffic.lock().unwrap_or_else(PoisonError::into_inner);
    told.news(totals(shared))
}

fn totals(shared: &Joined) -> [SideTraffic; 2] {
    let methods: Vec<_> = shared.methods().iter().map(|method| method.figures()).collect();
    [Side::Old, Side::New].map(|side| SideTraffic::of(&methods, side))
}
