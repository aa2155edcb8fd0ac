//! Tells the control tables once a minute how many calls each side had, and how long they took. Where there were none,
//! nothing is asked of the database.

use std::sync::PoisonError;

use crate::copier::joined::Joined;
use crate::observe::traffic::SideTraffic;
use crate::stages::stage::Side;

/// Tells what is new, where it is time.
pub(super) async fn report(shared: &Joined) {
    let Some((news, forget)) = news(shared) else { return };
    let name = &*shared.name;
    if let Err(error) = shared.control.add_traffic(name, &news, forget).await {
        tracing::debug!(migration = name, %error, "the calls of a minute are not in the control tables");
    }
}

fn news(shared: &Joined) -> Option<([SideTraffic; 2], bool)> {
    let mut told = shared.traffic.lock().unwrap_or_else(PoisonError::into_inner);
    told.is_due(shared.clock.now()).then_some(())?;
    let methods: Vec<_> = shared.methods().iter().map(|method| method.figures()).collect();
    told.news([Side::Old, Side::New].map(|side| SideTraffic::of(&methods, side)))
}
