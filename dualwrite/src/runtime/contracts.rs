//! What an instance does for expands and contracts: it declares what is new and what is old, and records that a wrapper has read old.

use std::sync::atomic::Ordering::Relaxed;

use super::Inner;
use crate::control::{Control, Record};
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::stages::stage::Stage;
use crate::state::Options;

/// Declares what a registration calls old. A build without the old path is refused before `Complete`.
pub(super) async fn join(
    control: &dyn Control,
    record: &Record,
    options: &Options,
) -> Result<(), Error> {
    if options.new_only && record.position.stage != Stage::Complete {
        let message = format!(
            "this build has the new path alone, and the migration stands at {}; deploy a release with both paths until \
             it is at complete",
            record.position
        );
        return Err(Error::new(ErrorKind::Unsupported, message).of(&record.name));
    }
    if let Some(expand) = &options.expand {
        control.declare_expand(&record.name, expand).await?;
    }
    match &options.contract {
        Some(contract) => control.declare_contract(&record.name, contract).await,
        None => Ok(()),
    }
}

/// Reads of old by wrappers of this process.
fn reads_of_old(shared: &Joined) -> u64 {
    let figures = shared.methods().into_iter().map(|method| method.figures());
    figures.filter(|method| !method.writes).map(|method| method.old.calls()).sum()
}

impl Inner {
    /// Once all reads go to new, records that old was read since this was last looked at.
    pub(super) async fn note_old_reads(&self) {
        for shared in self.migrations() {
            if shared.position().stage < Stage::RampDown {
                continue;
            }
            let reads = reads_of_old(&shared);
            let noted = shared.old_reads.load(Relaxed);
            if reads <= noted {
                continue;
            }
            match self.control.old_was_read(&shared.name).await {
                Ok(()) => shared.old_reads.store(reads, Relaxed),
                Err(error) => {
                    tracing::warn!(
                        migration = &*shared.name,
                        %error,
                        "a read of the old side was not recorded; trying again"
                    );
                }
            }
        }
    }
}
