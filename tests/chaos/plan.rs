//! What is drawn from the seed: what each round is like. The same seed draws the same rounds; what happens in them
//! depends on how the machine schedules their processes, too.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use dualwrite::Stage;

use crate::support::dice::Dice;

/// Where a round takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MySql,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MySql];

    /// As `TestDb::NAME`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// How long a run lasts where nobody says.
const SECONDS: u64 = 24;
const LONG: Duration = Duration::from_secs(120);

/// What the environment says.
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) time: Duration,
    /// Instead of the time.
    pub(crate) rounds: Option<u64>,
    /// The number of the first round.
    pub(crate) first: u64,
    pub(crate) databases: Vec<Kind>,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let databases = match setting::<String>("DATABASE") {
            Some(names) => {
                let kind = |name: &str| {
                    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
                    found.unwrap_or_else(|| {
                        panic!("DUALWRITE_CHAOS_DATABASE is of sqlite, postgres, mysql, not {name}")
                    })
                };
                names.split(',').map(kind).collect()
            }
            None => Kind::ALL.to_vec(),
        };
        Self {
            seed: setting("SEED").unwrap_or(now.as_secs()),
            time: Duration::from_secs(setting("SECONDS").unwrap_or(SECONDS)),
            rounds: setting("ROUNDS"),
            first: setting("FIRST").unwrap_or(0),
            databases,
        }
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let name = format!("DUALWRITE_CHAOS_{name}");
    let text = std::env::var(&name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} cannot be `{text}`")))
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.databases.iter().map(|kind| kind.name()).collect();
        let names = names.join(",");
        write!(f, "DUALWRITE_CHAOS_SEED={} DUALWRITE_CHAOS_DATABASE={names} ", self.seed)?;
        match self.rounds {
            Some(rounds) => write!(f, "DUALWRITE_CHAOS_ROUNDS={rounds}"),
            None => write!(f, "DUALWRITE_CHAOS_SECONDS={}", self.time.as_secs()),
        }
    }
}

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) database: Kind,
    pub(crate) instances: usize,
    pub(crate) load: Duration,
    /// Of each instance.
    pub(crate) lease: Duration,
    /// Where both migrations stand at the beginning.
    pub(crate) start: Stage,
    /// Their backfill is complete and verified then, where both sides are written.
    pub(crate) copied: bool,
    /// Keys are copied when they are first read.
    pub(crate) lazy: bool,
    /// Others write the old tables, with triggers that record it.
    pub(crate) foreign: bool,
    /// The server is restarted in the middle.
    pub(crate) restart: bool,
    /// How long the operators pause between two orders, at most.
    pub(crate) pause: Duration,
    /// Of a hundred writes, so many whose mirror fails.
    pub(crate) mirror_failures: u64,
}

impl Plan {
    pub(crate) fn draw(settings: &Settings, number: u64) -> Self {
        let mut dice = Dice::new(settings.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.roll();
        let database = settings.databases[(number % settings.databases.len() as u64) as usize];
        // A run of three rounds shall have them all.
        let turn = number / settings.databases.len() as u64 + number;
        // Where there is time, rounds are longer than what comes before and after them.
        let longer = if settings.rounds.is_none() && settings.time < LONG { 1 } else { 2 };
        let foreign = turn.is_multiple_of(3);
        // What others write to old at `Complete` is lost to new; so a gate keeps that shut.
        let stages = if foreign { &Stage::ALL[..5] } else { &Stage::ALL[..] };
        Self {
            database,
            start: *dice.pick(stages),
            copied: dice.one_in(2),
            instances: 2 + dice.below(2),
            load: Duration::from_millis(4_000 + 500 * dice.below(5) as u64) * longer,
            lease: Duration::from_millis(800 + 200 * dice.below(6) as u64),
            lazy: dice.one_in(3),
            foreign,
            restart: database != Kind::Sqlite && (number < 3 || dice.one_in(3)),
            pause: Duration::from_millis([40, 120, 300][dice.below(3)]),
            mirror_failures: [0, 2, 8][dice.below(3)],
            seed: dice.roll(),
        }
    }

    /// About how long the round lasts.
    pub(crate) fn takes(&self) -> Duration {
        self.load + Duration::from_secs(3)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, load, lease, .. } = self;
        let name = self.database.name();
        write!(
            f,
            "{name} from {}, {instances} instances with a lease of {lease:?} for {load:?}",
            self.start
        )?;
        for (is_so, text) in
            [(self.lazy, "lazy"), (self.foreign, "foreign writers"), (self.restart, "restart")]
        {
            if is_so {
                write!(f, ", {text}")?;
            }
        }
        Ok(())
    }
}
