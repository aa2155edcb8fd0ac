//! What a call costs where there are many: methods, migrations, long keys. Each is compared with the same call where there
//! is one method, one migration, a short key.

use std::hint::black_box;
use std::time::Instant;

use dualwrite::testing::TestMigration;
use dualwrite::{Error, Percent, Stage, defaults::SHADOW_CONCURRENCY};

use super::{
    BETWEEN_PASSES, Customer, Customers, DualCustomers, PASSES, Ready, Row, test_migration,
};
use crate::harness::quantile;

/// What a call may cost more.
const MORE_NANOS_MAX: f64 = 10.0;
const ROUNDS: usize = 200;
const CALLS: usize = 500;
const MIGRATIONS: usize = 50;

/// A trait of ten methods, and a function that calls each of them once. More of them in one trait say nothing more, and
/// take minutes to compile.
macro_rules! ten {
    ($($method:ident)*) => {
        #[dualwrite::repository]
        trait Ten {
            $(#[read(key = id)]
            async fn $method(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;)*
        }

        impl Ten for Ready {
            $(async fn $method(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
                Ok(black_box(Some(Customer { id, country: *b"CH" })))
            })*
        }

        async fn call_each(ten: &impl Ten) {
            $(let _ = black_box(ten.$method(black_box(7)).await);)*
        }
    };
}
ten!(m0 m1 m2 m3 m4 m5 m6 m7 m8 m9);

#[dualwrite::repository]
trait ByName {
    #[read(key = name)]
    async fn find(&self, name: &str) -> Result<Option<usize>, sqlx::Error>;
}

impl ByName for Ready {
    async fn find(&self, name: &str) -> Result<Option<usize>, sqlx::Error> {
        Ok(black_box(Some(name.len())))
    }
}

/// Rounds of calls in turns with those that they are compared with, in nanoseconds a call.
#[derive(Default)]
struct Turns {
    figures: Vec<f64>,
    baselines: Vec<f64>,
    differences: Vec<f64>,
}

impl Turns {
    fn add(&mut self, figure: f64, baseline: f64) {
        self.figures.push(figure);
        self.baselines.push(baseline);
        self.differences.push(figure - baseline);
    }

    fn row(&mut self, name: &'static str) -> Row {
        Row {
            name,
            unit: "ns",
            figure: quantile(&mut self.figures, 0.5),
            baseline: quantile(&mut self.baselines, 0.5),
            difference: quantile(&mut self.differences, 0.5),
            target: Some(MORE_NANOS_MAX),
        }
    }
}

async fn nanos(calls: usize, work: impl Future<Output = ()>) -> f64 {
    let start = Instant::now();
    work.await;
    start.elapsed().as_nanos() as f64 / calls as f64
}

async fn at_off() -> Result<TestMigration, Error> {
    let test = test_migration(Percent::ZERO, SHADOW_CONCURRENCY).await?;
    test.put(Stage::Off, Percent::ZERO)?;
    Ok(test)
}

/// The best of several passes, for a neighbour slows whole passes down.
async fn best(mut pass: impl AsyncFnMut() -> Result<Row, Error>) -> Result<Row, Error> {
    let mut best = pass().await?;
    for _ in 1..PASSES {
        tokio::time::sleep(BETWEEN_PASSES / 4).await;
        let row = pass().await?;
        if row.difference < best.difference {
            best = row;
        }
    }
    Ok(best)
}

pub(super) async fn rows() -> Result<Vec<Row>, Error> {
    Ok(vec![many_methods().await?, many_migrations().await?, long_keys().await?])
}

async fn many_methods() -> Result<Row, Error> {
    let one = at_off().await?;
    let single = DualCustomers::new(one.migration(), Ready, Ready);
    let mut many = Vec::new();
    for _ in 0..MIGRATIONS {
        many.push(at_off().await?);
    }
    let wrappers: Vec<_> =
        many.iter().map(|test| DualTen::new(test.migration(), Ready, Ready)).collect();
    best(async || {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            for test in many.iter().chain([&one]) {
                test.send_heartbeat().await?;
            }
            let baseline = nanos(CALLS, async {
                for _ in 0..CALLS {
                    let _ = black_box(single.find(black_box(7)).await);
                }
            });
            let baseline = baseline.await;
            let figure = nanos(CALLS, async {
                for ten in &wrappers {
                    call_each(ten).await;
                }
            });
            turns.add(figure.await, baseline);
        }
        Ok(turns.row("read at Off, 500 methods in turns, to one"))
    })
    .await
}

async fn many_migrations() -> Result<Row, Error> {
    let mut tests = Vec::new();
    for _ in 0..MIGRATIONS {
        tests.push(at_off().await?);
    }
    let wrappers: Vec<_> =
        tests.iter().map(|test| DualCustomers::new(test.migration(), Ready, Ready)).collect();
    best(async || {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            for test in &tests {
                test.send_heartbeat().await?;
            }
            let baseline = nanos(CALLS, async {
                for _ in 0..CALLS {
                    let _ = black_box(wrappers[0].find(black_box(7)).await);
                }
            });
            let baseline = baseline.await;
            let figure = nanos(CALLS, async {
                for call in 0..CALLS {
                    let _ = black_box(wrappers[call % MIGRATIONS].find(black_box(7)).await);
                }
            });
            turns.add(figure.await, baseline);
        }
        Ok(turns.row("read at Off, 50 migrations in turns, to one"))
    })
    .await
}

async fn long_keys() -> Result<Row, Error> {
    let test = at_off().await?;
    let wrapped = DualByName::new(test.migration(), Ready, Ready);
    let (long, short) = ("k".repeat(200), "k".repeat(8));
    best(async || {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            test.send_heartbeat().await?;
            let mut figures = [0.0; 2];
            for (figure, key) in figures.iter_mut().zip([&long, &short]) {
                *figure = nanos(CALLS, async {
                    for _ in 0..CALLS {
                        let _ = black_box(wrapped.find(black_box(key)).await);
                    }
                })
                .await;
            }
            turns.add(figures[0], figures[1]);
        }
        Ok(turns.row("read at Off, a key of 200 bytes, to one of 8"))
    })
    .await
}
