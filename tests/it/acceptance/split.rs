//! The split `Track → track_versions`: what changes about a track goes into numbered versions in a table
//! of their own, and the track points to the one that holds.
//!
//! Old and new share the track's row, so whoever writes locks that first. No foreign key tidies up: what
//! a side forgets to delete is found at the end. The old columns stay NOT NULL until they are dropped, so
//! new fills them with placeholders, which are stored only at `Complete`.

use std::marker::PhantomData;

use dualwrite::{BoxError, Copied, CopyKeys, Tx, copy::KeySource};

use super::dialect::{differ, for_update, list, sql, text, upsert};
use super::ledger::Versioned;
use super::records::{Kind, Records};
use crate::support::db::Rows;
use crate::support::sql::Sql;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Track {
    id: i64,
    name: String,
    composer: Option<String>,
    milliseconds: i64,
}

impl Versioned for Track {
    fn at(id: i64, version: usize) -> Self {
        Self {
            id,
            name: format!("k{id}.v{version}"),
            composer: (!version.is_multiple_of(3)).then(|| format!("of {version}")),
            milliseconds: 1_000 + i64::try_from(version).unwrap(),
        }
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn version(&self) -> Option<usize> {
        let (_, version) = self.name.strip_prefix('k')?.split_once(".v")?;
        version.parse().ok()
    }
}

pub(super) struct Split;

impl<D: Sql> Kind<D> for Split {
    type Record = Track;
    type Old = TrackRows<D>;
    type New = TrackVersions<D>;
    type Copy = CopyTrack<D>;

    const MIGRATION: &'static str = "track-versions";
    const EXPANSION: &'static str = "CREATE TABLE [track_versions] (
            [track_id] INT NOT NULL, [version] INT NOT NULL, [name] VARCHAR(200) NOT NULL,
            [composer] VARCHAR(220), [milliseconds] INT NOT NULL, PRIMARY KEY ([track_id], [version])
        );
        ALTER TABLE [track] ADD COLUMN [current_version] INT";
    const ORPHANS: &'static str = "SELECT count(*) FROM [track_versions] \
        WHERE [track_id] NOT IN (SELECT [track_id] FROM [track])";

    fn old(pool: sqlx::Pool<D::Db>) -> Self::Old {
        TrackRows(pool)
    }

    fn new(pool: sqlx::Pool<D::Db>) -> Self::New {
        TrackVersions(pool)
    }

    fn copy() -> Self::Copy {
        CopyTrack(PhantomData)
    }
}

/// Old: everything in the track's row.
pub(super) struct TrackRows<D: Sql>(sqlx::Pool<D::Db>);

/// New: in the version that the track points to.
pub(super) struct TrackVersions<D: Sql>(sqlx::Pool<D::Db>);

const OLD: &str = "SELECT t.[track_id], t.[name], t.[composer], t.[milliseconds] FROM [track] t";
const NEW: &str = "SELECT v.[track_id], v.[name], v.[composer], v.[milliseconds] FROM [track] t \
    JOIN [track_versions] v ON v.[track_id] = t.[track_id] AND v.[version] = t.[current_version]";

fn tracks(rows: Rows) -> Vec<Track> {
    let track = |row: Vec<Option<String>>| match <[_; 4]>::try_from(row) {
        Ok([Some(id), Some(name), composer, Some(milliseconds)]) => {
            let (id, milliseconds) = (id.parse().unwrap(), milliseconds.parse().unwrap());
            Track { id, name, composer, milliseconds }
        }
        row => panic!("no track: {row:?}"),
    };
    rows.into_iter().map(track).collect()
}

async fn find<D: Sql>(
    pool: &sqlx::Pool<D::Db>,
    select: &str,
    id: i64,
) -> Result<Option<Track>, sqlx::Error> {
    let select = sql::<D>(&format!("{select} WHERE t.[track_id] = {id}"));
    Ok(tracks(D::rows(pool, &select).await?).pop())
}

async fn page<D: Sql>(
    pool: &sqlx::Pool<D::Db>,
    select: &str,
    from: i64,
    to: i64,
) -> Result<Vec<Track>, sqlx::Error> {
    let range = format!("t.[track_id] BETWEEN {from} AND {to} ORDER BY t.[track_id]");
    Ok(tracks(D::rows(pool, &sql::<D>(&format!("{select} WHERE {range}"))).await?))
}

/// Locks the row first and looks in a second statement: PostgreSQL looks at a row that it waited for
/// again, but joins it with what it had found before.
async fn lock<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    select: &str,
    id: i64,
) -> Result<Option<Track>, sqlx::Error> {
    let row =
        format!("SELECT [track_id] FROM [track] WHERE [track_id] = {id}{}", for_update::<D>());
    D::read(tx, &sql::<D>(&row)).await?;
    let select = sql::<D>(&format!("{select} WHERE t.[track_id] = {id}"));
    Ok(tracks(D::read(tx, &select).await?).pop())
}

/// Puts the track's row there, or overwrites these of its columns.
async fn put_row<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    track: &Track,
    columns: &[&str],
) -> Result<(), sqlx::Error> {
    let Track { id, name, composer, milliseconds } = track;
    let (name, composer) = (text(Some(name)), text(composer.as_deref()));
    let insert = format!(
        "INSERT INTO [track] ([track_id], [name], [media_type_id], [composer], [milliseconds], \
         [unit_price]) VALUES ({id}, {name}, 1, {composer}, {milliseconds}, 0.99){}",
        upsert::<D>("[track_id]", columns)
    );
    D::run(tx, &sql::<D>(&insert)).await.map(drop)
}

async fn delete_row<D: Sql>(tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
    D::run(tx, &sql::<D>(&format!("DELETE FROM [track] WHERE [track_id] = {id}"))).await.map(drop)
}

impl<D: Sql> Records for TrackRows<D> {
    type Db = D::Db;
    type Record = Track;

    async fn find(&self, id: i64) -> Result<Option<Track>, sqlx::Error> {
        find::<D>(&self.0, OLD, id).await
    }

    async fn lock(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<Option<Track>, sqlx::Error> {
        lock::<D>(tx, OLD, id).await
    }

    async fn list(&self, from: i64, to: i64) -> Result<Vec<Track>, sqlx::Error> {
        page::<D>(&self.0, OLD, from, to).await
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, _: i64, track: &Track) -> Result<(), sqlx::Error> {
        put_row::<D>(tx, track, &["[name]", "[composer]", "[milliseconds]"]).await
    }

    async fn delete(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        delete_row::<D>(tx, id).await
    }
}

impl<D: Sql> Records for TrackVersions<D> {
    type Db = D::Db;
    type Record = Track;

    async fn find(&self, id: i64) -> Result<Option<Track>, sqlx::Error> {
        find::<D>(&self.0, NEW, id).await
    }

    async fn lock(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<Option<Track>, sqlx::Error> {
        lock::<D>(tx, NEW, id).await
    }

    async fn list(&self, from: i64, to: i64) -> Result<Vec<Track>, sqlx::Error> {
        page::<D>(&self.0, NEW, from, to).await
    }

    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        track: &Track,
    ) -> Result<(), sqlx::Error> {
        // Until the transaction ends nobody else numbers a version of this track.
        let vacant = Track { name: String::new(), composer: None, milliseconds: 0, ..*track };
        put_row::<D>(tx, &vacant, &["[track_id]"]).await?;
        let Track { name, composer, milliseconds, .. } = track;
        let (name, composer) = (text(Some(name)), text(composer.as_deref()));
        let insert = format!(
            "INSERT INTO [track_versions] ([track_id], [version], [name], [composer], [milliseconds]) \
             SELECT {id}, coalesce(max([version]), 0) + 1, {name}, {composer}, {milliseconds} \
             FROM [track_versions] WHERE [track_id] = {id}"
        );
        D::run(tx, &sql::<D>(&insert)).await?;
        D::run(tx, &sql::<D>(&point_to_newest(&[id]))).await.map(drop)
    }

    async fn delete(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        delete_row::<D>(tx, id).await?;
        let delete = format!("DELETE FROM [track_versions] WHERE [track_id] = {id}");
        D::run(tx, &sql::<D>(&delete)).await.map(drop)
    }
}

fn point_to_newest(ids: &[i64]) -> String {
    format!(
        "UPDATE [track] SET [current_version] = (SELECT max(v.[version]) FROM [track_versions] v \
         WHERE v.[track_id] = [track].[track_id]) WHERE [track_id] IN ({})",
        list(ids)
    )
}

pub(super) struct CopyTrack<D>(PhantomData<fn() -> D>);

/// What the version that holds says otherwise than the row, or does not say at all.
fn behind<D: Sql>(ids: &str) -> String {
    let (composer, name) = (differ::<D>("v.[composer]", "t.[composer]"), "v.[name] <> t.[name]");
    format!(
        "FROM [track] t LEFT JOIN [track_versions] v \
         ON v.[track_id] = t.[track_id] AND v.[version] = t.[current_version] \
         WHERE t.[track_id] IN ({ids}) AND (v.[track_id] IS NULL OR {name} OR {composer} \
         OR v.[milliseconds] <> t.[milliseconds])"
    )
}

/// Versions whose track is gone.
fn orphaned(ids: &str) -> String {
    format!(
        "FROM [track_versions] WHERE [track_id] IN ({ids}) AND NOT EXISTS \
         (SELECT 1 FROM [track] t WHERE t.[track_id] = [track_versions].[track_id])"
    )
}

impl<D: Sql> CopyKeys for CopyTrack<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table(sql::<D>("[track]")).column(sql::<D>("[track_id]"))
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table(sql::<D>("[track_versions]")).column(sql::<D>("[track_id]")))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let ids = list(keys);
        let insert = format!(
            "INSERT INTO [track_versions] ([track_id], [version], [name], [composer], [milliseconds]) \
             SELECT t.[track_id], (SELECT coalesce(max(o.[version]), 0) + 1 FROM [track_versions] o \
             WHERE o.[track_id] = t.[track_id]), t.[name], t.[composer], t.[milliseconds] {}",
            behind::<D>(&ids)
        );
        let mut migrated = D::run(tx, &sql::<D>(&insert)).await?;
        if migrated > 0 {
            D::run(tx, &sql::<D>(&point_to_newest(keys))).await?;
        }
        let deleted = D::run(tx, &sql::<D>(&format!("DELETE {}", orphaned(&ids)))).await?;
        migrated += deleted.min(1);
        Ok(Copied { migrated, skipped: (keys.len() as u64).saturating_sub(migrated) })
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let ids = list(keys);
        let (behind, orphaned) = (behind::<D>(&ids), orphaned(&ids));
        let select =
            format!("SELECT t.[track_id] {behind} UNION SELECT DISTINCT [track_id] {orphaned}");
        super::numbers(D::texts(tx, &sql::<D>(&select)).await?)
    }
}
