//! A statement is dropped when the first bytes of its answer have come, and what comes next belongs to no statement: as
//! where a network is cut and a proxy goes on with something else. Only the driver of MySQL reads a message in parts.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use dualwrite::{ErrorKind, Migration, Runtime, Stage};
use sqlx::Pool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::log::{Log, listen};
use crate::support::notes::{CopyNotes, DualNotes, Notes as _, Store, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{ends, until};

on_all_databases!(
    a_transaction_dropped_inside_an_answer_closes_its_connection,
    a_mirror_write_given_up_inside_an_answer_fails_the_write_and_panics_nowhere,
);

/// A statement with these words gets the head of its answer, and no more.
const CUT: &[u8] = b"INTO new_note";
const HEAD: usize = 4;
/// An error of one byte: the driver panics on it.
const GARBAGE: [u8; 5] = [1, 0, 0, 1, 0xff];

/// When nobody waits for that answer any more.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(300);
const GARBAGE_AFTER: Duration = Duration::from_secs(1);

/// Passes on what it gets. A connection whose answer was cut gets garbage later, and is closed.
async fn cutting(target: SocketAddr) -> (u16, watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (cuts, seen) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(target).await.unwrap();
            tokio::spawn(pass(client, server, cuts.clone()));
        }
    });
    (port, seen)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, cuts: watch::Sender<u32>) {
    let (mut to_server, mut to_client) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut cut = false;
    loop {
        let passed = tokio::select! {
            read = client.read(&mut to_server) => match read {
                Ok(count) if count > 0 => {
                    let message = &to_server[..count];
                    cut |= message.windows(CUT.len()).any(|words| words == CUT);
                    server.write_all(message).await
                }
                _ => return,
            },
            read = server.read(&mut to_client) => match read {
                Ok(count) if count > 0 && cut => {
                    let _ = client.write_all(&to_client[..HEAD.min(count)]).await;
                    cuts.send_modify(|cuts| *cuts += 1);
                    tokio::time::sleep(GARBAGE_AFTER).await;
                    let _ = client.write_all(&GARBAGE).await;
                    return;
                }
                Ok(count) if count > 0 => client.write_all(&to_client[..count]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

struct Cut<D: Sql> {
    world: World<D>,
    pool: Pool<D::Db>,
    runtime: Runtime<D::Db>,
    migration: Migration,
    notes: DualNotes<Store<D>, Store<D>>,
    cuts: watch::Receiver<u32>,
}

/// One connection, through such a network. `None` where it makes no difference.
async fn cut<D: Sql>(db: Scratch<D>) -> Option<Cut<D>> {
    if D::NAME != "mysql" {
        return None;
    }
    let (host, port) = db.server()?;
    let (cutter, cuts) =
        cutting((host.as_str(), port).to_socket_addrs().unwrap().next().unwrap()).await;
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let url = world.db.url().replacen(&format!(":{port}"), &format!(":{cutter}"), 1);
    let pool = world.db.pool_by(&url, 1).await;
    let runtime = Runtime::builder(world.db.another_pool(4).await).start().await.unwrap();
    let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new());
    let migration = registration.mirror_write_timeout(GIVEN_UP_AFTER).register().await.unwrap();
    let store = |table| Store {
        table,
        pool: world.db.pool().clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Default::default(),
        removing: Default::default(),
    };
    let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
    Some(Cut { world, pool, runtime, migration, notes, cuts })
}

impl<D: Sql> Cut<D> {
    /// The pool has its one connection, and it is whole.
    async fn must_be_whole(self) {
        until("the connection is given back", async || {
            D::execute(&self.pool, "SELECT 1").await.is_ok()
        })
        .await;
        assert_eq!(*self.cuts.borrow(), 1);
        self.runtime.shutdown().await.unwrap();
        self.world.runtime.shutdown().await.unwrap();
    }
}

async fn a_transaction_dropped_inside_an_answer_closes_its_connection<D: Sql>(db: Scratch<D>) {
    let Some(cut) = cut(db).await else { return };
    let (migration, pool) = (cut.migration.clone(), cut.pool.clone());
    // In a thread of its own, whose log is heard.
    let dropping = tokio::task::spawn_blocking(move || {
        let log = Log::default();
        let told = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || told.clone());
        let _heard = listen(subscriber.finish());
        let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        alone.block_on(async {
            let mut tx = migration.begin(&pool).await.unwrap();
            let statement = D::run(&mut tx, "INSERT INTO new_note (id, word) VALUES (2, 'cut')");
            // As a client that hangs up.
            tokio::time::timeout(GIVEN_UP_AFTER, statement).await.unwrap_err();
            drop(tx);
            until("the warning is logged", async || log.text().contains("the driver panicked"))
                .await;
        });
    });
    dropping.await.unwrap();
    cut.must_be_whole().await;
}

async fn a_mirror_write_given_up_inside_an_answer_fails_the_write_and_panics_nowhere<D: Sql>(
    db: Scratch<D>,
) {
    let Some(cut) = cut(db).await else { return };
    let mut tx = cut.migration.begin(&cut.pool).await.unwrap();
    ends("a write", cut.notes.save(&mut tx, 2, "cut")).await.unwrap_err();
    let refused = ends("its commit", tx.commit()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned, "{refused}");
    cut.must_be_whole().await;
}
