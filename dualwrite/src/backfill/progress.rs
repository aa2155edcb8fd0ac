//! Shows how far a backfill has come: a bar where standard error is a terminal, events elsewhere.

use crate::control::BackfillProgress;

/// Every how many keys an event tells the progress.
const EVENT_KEYS: u64 = 10_000;

pub(crate) struct Display {
    migration: String,
    told: u64,
    #[cfg(feature = "progress")]
    bar: Option<indicatif::ProgressBar>,
}

impl Display {
    pub(crate) fn new(migration: &str) -> Self {
        Self {
            migration: migration.to_owned(),
            told: 0,
            #[cfg(feature = "progress")]
            bar: bar(migration),
        }
    }

    pub(crate) fn show(&mut self, progress: &BackfillProgress) {
        #[cfg(feature = "progress")]
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done().min(progress.total));
            if progress.complete {
                bar.finish();
            }
        }
        if progress.complete || progress.done() >= self.told + EVENT_KEYS {
            self.told = progress.done();
            tracing::info!(
                migration = self.migration,
                generation = progress.generation,
                total = progress.total,
                migrated = progress.migrated,
                skipped = progress.skipped,
                failed = progress.failed,
                remaining = progress.remaining(),
                percent = format_args!("{:.1}", progress.percent()),
                complete = progress.complete,
                "backfill"
            );
        }
    }
}

#[cfg(feature = "progress")]
fn bar(migration: &str) -> Option<indicatif::ProgressBar> {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style = indicatif::ProgressStyle::with_template(
        "{prefix} [{bar:40}] {pos}/{len} {percent} % {per_sec} eta {eta}",
    );
    let bar = indicatif::ProgressBar::new(0).with_prefix(migration.to_owned());
    Some(match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    })
}
