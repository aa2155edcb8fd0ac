//! Beside the rounds of the runtime: waits for notifications of the database, where it sends any. However long it takes
//! to connect, the rounds go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::Control;
use crate::database::watch::Watch;

/// The first pause before it connects again; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What the listener and the rounds tell one another.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// It is connected.
    listens: AtomicBool,
    /// Something was heard since the last look.
    heard: AtomicBool,
    /// A change was found by a look, and nothing was heard since.
    suspected: AtomicBool,
    doubted: Notify,
}

impl Ear {
    pub(super) fn listens(&self) -> bool {
        self.listens.load(SeqCst)
    }

    /// Whether something was heard, once.
    pub(super) fn take(&self) -> bool {
        self.heard.swap(false, SeqCst)
    }

    /// A look has found a change: it should be told of now, or was just now.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, SeqCst);
    }

    /// Where nothing was heard since a change was found, the connection may be dead: it is made anew.
    pub(super) fn judge(&self) {
        if self.suspected.swap(false, SeqCst) && self.listens.swap(false, SeqCst) {
            self.doubted.notify_one();
        }
    }
}

pub(super) async fn listen(
    control: Arc<dyn Control>,
    ear: Arc<Ear>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep_listening(&*control, &ear, &wake) => {}
    }
    ear.listens.store(false, SeqCst);
}

async fn keep_listening(control: &dyn Control, ear: &Ear, wake: &Notify) {
    let mut pause = PAUSE_MIN;
    loop {
        match control.watch().await {
            Ok(None) => return, // this database tells nothing
            Ok(Some(mut watch)) => {
                ear.listens.store(true, SeqCst);
                // What was told before it listened, it has missed.
                hear(ear, wake);
                pause = PAUSE_MIN;
                hear_changes(&mut *watch, ear, wake).await;
                ear.listens.store(false, SeqCst);
                hear(ear, wake);
            }
            Err(error) => tracing::warn!(%error, "cannot listen for changes; positions are polled"),
        }
        clock::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Until it is doubted that anything arrives, or nothing can.
async fn hear_changes(watch: &mut dyn Watch, ear: &Ear, wake: &Notify) {
    loop {
        let heard = tokio::select! {
            heard = watch.changed() => heard,
            () = ear.doubted.notified() => return,
        };
        if let Err(error) = heard {
            tracing::info!(%error, "listens again; until then positions are polled");
            return;
        }
        hear(ear, wake);
    }
}

fn hear(ear: &Ear, wake: &Notify) {
    ear.heard.store(true, SeqCst);
    ear.suspected.store(false, SeqCst);
    wake.notify_one();
}
