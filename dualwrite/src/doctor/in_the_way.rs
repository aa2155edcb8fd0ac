//! What stands in the way of a statement that changes the schema: a session that holds its table, a replica that is
//! behind. Pure.

use std::time::Duration;

use crate::database::Holder;
use crate::doctor::facts::Follower;

/// Who has a table open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) table: String,
    pub(crate) holder: Holder,
}

/// What the server says of some tables, and of those who follow it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InUse {
    pub(crate) holding: Vec<Holding>,
    pub(crate) followers: Vec<Follower>,
}

/// How much is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WayLimits {
    /// For how long the statement waits for its lock. A transaction that has been open for longer is not expected to end
    /// in that time, and meanwhile every other session would wait behind the statement.
    pub(crate) lock: Duration,
    /// By how much a replica may be behind: what it reads there while the statement runs is missed for longer.
    pub(crate) lag: Duration,
}

/// All that stands in the way, each by its name. What the server does not say is not there.
pub(crate) fn in_the_way(seen: &InUse, limits: WayLimits) -> Vec<String> {
    let holds = |one: &&Holding| {
        let open = one.holder.open_s.and_then(|seconds| u64::try_from(seconds).ok());
        open.is_some_and(|seconds| Duration::from_secs(seconds) >= limits.lock)
    };
    let held = seen.holding.iter().filter(holds);
    let held = held.map(|one| format!("{} has the table {} open", one.holder, one.table));
    let late = seen.followers.iter().filter_map(|one| {
        let behind = one.behind_ms.filter(|ms| u128::from(*ms) >= limits.lag.as_millis())?;
        Some(format!("{} is {behind} ms behind", one.name))
    });
    held.chain(late).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_for_longer_than_the_statement_waits_stands_in_the_way() {
        let limits = WayLimits { lock: Duration::from_secs(2), lag: Duration::from_secs(10) };
        let open = |open_s| Holding {
            table: "note".into(),
            holder: Holder { session: 7, open_s, ..Holder::default() },
        };
        let behind =
            |behind_ms| Follower { name: "replica".into(), behind_ms, ..Follower::default() };
        let found = |holding, followers| in_the_way(&InUse { holding, followers }, limits);
        assert!(found(vec![open(Some(1)), open(None)], vec![behind(None)]).is_empty());
        assert!(found(Vec::new(), vec![behind(Some(9_999))]).is_empty());
        let found = found(vec![open(Some(2))], vec![behind(Some(10_000))]);
        assert_eq!(
            found,
            ["session 7 (open for 2 s) has the table note open", "replica is 10000 ms behind"]
        );
    }
}
