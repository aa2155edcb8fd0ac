//! [`CopyColumns`]: the ready copy function for old and new columns in one row.

use crate::key::OwnedKey;
use std::collections::HashSet;
use std::sync::Arc;

use super::carried::{Carried, Carry};
use super::convert::{Assigned, Bind, Columns, Unconverted};
use super::dual_table::{ConvertColumns, CopyColumns, DualTable};
use super::erased::Held;
use super::mapping::{Mapped, Mapping, RowMapping, Same};
use super::run::dialect;
use super::source::{KeyParts, NAMED_KEYS};
use super::table::{MARKED, Purpose, Statements, markers};
use super::template::check_places;
use super::{Copied, CopyBack, CopyKeys, KeySource};
use crate::copy::conversion::{Conversion, ConversionError};
use crate::database::sealed::Adapter as _;
use crate::database::{Alike, Backend, SqlValue};
use crate::error::{BoxError, Error, is_about_data};
use crate::key::{EncodedKey, Key};
use crate::stages::stage::Side;
use crate::transaction::Tx;

/// Values in one statement, and a few more: SQLite, which takes the fewest, takes 32,766.
const VALUES_MAX: usize = 30_000;

impl<T: ConvertColumns<DB>, DB: Backend> CopyKeys for CopyColumns<T, DB> {
    type Database = DB;
    type Key = T::Key;

    fn source(&self) -> KeySource {
        self.source.clone()
    }

    /// The same rows.
    fn new_source(&self) -> Option<KeySource> {
        Some(self.source.clone())
    }

    /// Renames are told by the database; all else by Rust, also what has an expression.
    fn mapping(&self) -> Option<Mapping<DB>> {
        Some(mapping_of::<T, DB>())
    }

    async fn copy(&self, tx: &mut Tx<'_, DB>, keys: &[T::Key]) -> Result<Copied, BoxError> {
        carry_all::<T, DB>(tx, &self.source, keys, Side::New).await
    }

    fn held(self) -> Held<DB> {
        Held::both_ways(self)
    }

    fn check(&self) -> Result<(), Error> {
        self.source().check()?;
        let texts = T::CARRIED.iter().flat_map(|carried| match carried.how {
            Carry::Sql(texts) => texts,
            Carry::Rename(_) | Carry::Rust => &[],
        });
        texts.copied().try_for_each(|text| check_places(text, &dialect::<DB>().scan(text)))
    }

    async fn differing(
        &self,
        tx: &mut Tx<'_, DB>,
        keys: &[T::Key],
    ) -> Result<Vec<T::Key>, BoxError> {
        let statements = Statements::of::<T>(dialect::<DB>(), &self.source)?;
        let mut differing = Vec::new();
        for keys in keys.chunks(NAMED_KEYS) {
            let keys: Vec<KeyParts> = keys.iter().map(Key::parts).collect();
            let mut found = HashSet::new();
            let looked = statements.differing(Side::New, &keys, Purpose::ToReport)?;
            if let Some((sql, values)) = looked {
                for row in DB::Adapter::fetch(tx.connection(), &sql, &values).await? {
                    found.insert(statements.pages.key_of(row)?);
                }
            }
            // Renames are told by the database; all else by Rust, also what has an expression.
            let indices = indices::<T>(|carried| !matches!(carried.how, Carry::Rename(_)));
            for (key, found_row) in
                convert::<T, DB>(tx, &statements, &indices, &keys, Side::New).await?
            {
                if !matches!(found_row, Row::Same) {
                    found.insert(key);
                }
            }
            for key in keys.iter().filter(|key| found.contains(*key)) {
                differing.push(T::Key::take(&mut key.iter().cloned())?);
            }
        }
        Ok(differing)
    }
}

impl<T: ConvertColumns<DB>, DB: Backend> CopyBack for CopyColumns<T, DB> {
    async fn copy_back(&self, tx: &mut Tx<'_, DB>, keys: &[T::Key]) -> Result<Copied, BoxError> {
        carry_all::<T, DB>(tx, &self.source, keys, Side::Old).await
    }
}

fn mapping_of<T: ConvertColumns<DB>, DB: Backend>() -> Mapping<DB> {
    let mut mapping = Mapping::new();
    for Carried { field, old, new, how } in T::CARRIED {
        if let Carry::Rename(alike) = how {
            for (old, new) in old.iter().zip(*new) {
                let [old, new] = [old, new].map(|name| Mapped::Column((*name).to_owned()));
                mapping = mapping.field(field, old, new, Same::As(*alike));
            }
        }
    }
    for marker in markers::<T>() {
        let (old, new) = (Mapped::Expression(MARKED), Mapped::Column(marker.to_owned()));
        mapping = mapping.field(marker, old, new, Same::As(Alike::Equal));
    }
    let indices = indices::<T>(|carried| !matches!(carried.how, Carry::Rename(_)));
    let columns = |side| -> Vec<String> {
        let columns = indices.iter().flat_map(|index| T::CARRIED[*index].columns(side));
        columns.map(|name| (*name).to_owned()).collect()
    };
    let both = indices.iter().flat_map(|index| {
        let Carried { old, new, .. } = T::CARRIED[*index];
        old.iter().chain(new).map(|name| (*name).to_owned())
    });
    let (old, new, both) = (columns(Side::Old), columns(Side::New), both.collect());
    if !indices.is_empty() {
        let judge = Arc::new(move |row: &DB::Row, _: &DB::Row| judge::<T, DB>(row, &indices));
        mapping.rows = Some(RowMapping { old, new, both, judge });
    }
    mapping
}

/// The fields of a row that Rust takes for different.
fn judge<T: ConvertColumns<DB>, DB: Backend>(
    row: &DB::Row,
    indices: &[usize],
) -> sqlx::Result<Vec<String>> {
    let mut row = Columns::<DB>::after(row, T::KEY.len());
    let mut fields = Vec::new();
    for &index in indices {
        let mut into = Assigned::<DB>::to_compare();
        let found = T::convert(index, Side::New, &mut row, &mut into);
        if found.is_err() || into.differs {
            fields.push(T::CARRIED[index].field.to_owned());
        }
        match found {
            Ok(()) => {}
            Err(Unconverted::Column(error)) => return Err(error),
            // Where the next field begins is not known then.
            Err(Unconverted::Failed(_) | Unconverted::Missing) => break,
        }
    }
    Ok(fields)
}

/// One row as the conversion found it.
enum Row<DB: Backend> {
    /// The other side says the same already.
    Same,
    Differs(Vec<Option<Bind<DB>>>),
    Unconvertible(ConversionError),
}

async fn carry_all<T: ConvertColumns<DB>, DB: Backend>(
    tx: &mut Tx<'_, DB>,
    source: &KeySource,
    keys: &[T::Key],
    to: Side,
) -> Result<Copied, BoxError> {
    let statements = Statements::of::<T>(dialect::<DB>(), source)?;
    // Asked each time: the service's schema may change while it runs.
    let kept = DB::Adapter::self_updating(tx.connection(), statements.table()).await?;
    let mut copied = Copied::default();
    for keys in keys.chunks(NAMED_KEYS) {
        let keys: Vec<KeyParts> = keys.iter().map(Key::parts).collect();
        let migrated = carry::<T, DB>(tx, &statements, &keys, to, &kept).await?;
        copied.migrated += migrated;
        copied.skipped += (keys.len() as u64).saturating_sub(migrated);
    }
    Ok(copied)
}

/// Carries these rows; answers how many were written.
async fn carry<T: ConvertColumns<DB>, DB: Backend>(
    tx: &mut Tx<'_, DB>,
    statements: &Statements,
    keys: &[KeyParts],
    to: Side,
    kept: &[String],
) -> Result<u64, BoxError> {
    let indices = indices::<T>(|carried| !carried.is_set_based(to));
    let set_based = statements.carry(to, keys, kept)?;
    if indices.is_empty() {
        return match set_based {
            Some((sql, values)) => {
                let written = DB::Adapter::execute(tx.connection(), &sql, &values).await;
                written.map_err(|error| blame::<T>(error, keys, to))
            }
            None => Ok(0),
        };
    }
    // Rust goes first: a row that it refuses costs no write.
    let (mut written, mut rows) = (HashSet::new(), Vec::new());
    for (key, row) in convert::<T, DB>(tx, statements, &indices, keys, to).await? {
        match row {
            Row::Same => {}
            Row::Unconvertible(error) => return Err(error.into()),
            Row::Differs(values) => rows.push((key, values)),
        }
    }
    written.extend(carry_rows::<T, DB>(tx, statements, (&indices, kept), rows, to).await?);
    if let Some((sql, values)) = set_based {
        if let Some((sql, values)) = statements.differing(to, keys, Purpose::ToOverwrite)? {
            let rows = DB::Adapter::fetch(tx.connection(), &sql, &values).await;
            for row in rows.map_err(|error| blame::<T>(error, keys, to))? {
                written.insert(statements.pages.key_of(row)?);
            }
        }
        let done = DB::Adapter::execute(tx.connection(), &sql, &values).await;
        done.map_err(|error| blame::<T>(error, keys, to))?;
    }
    Ok(written.len() as u64)
}

/// Writes what Rust has converted; answers the keys of the rows.
async fn carry_rows<T: ConvertColumns<DB>, DB: Backend>(
    tx: &mut Tx<'_, DB>,
    statements: &Statements,
    (indices, kept): (&[usize], &[String]),
    mut rows: Vec<(KeyParts, Vec<Option<Bind<DB>>>)>,
    to: Side,
) -> Result<Vec<KeyParts>, BoxError> {
    let mut written = Vec::new();
    let columns = statements.columns(indices, to)?;
    while !rows.is_empty() {
        // So many that their number is a power of two, and few statements have to be prepared.
        let many = rows.len().min(VALUES_MAX / (columns.len() * (T::KEY.len() + 1)) + 1);
        let rest = rows.len() - (1 << many.ilog2());
        let some = rows.split_off(rest);
        let keys: Vec<KeyParts> = some.iter().map(|(key, _)| key.clone()).collect();
        let (sql, values, again) = assign::<DB>(statements, (&columns, kept), some)?;
        let done = DB::Adapter::execute_typed(tx.connection(), &sql, values, again).await;
        done.map_err(|error| blame::<T>(error, &keys, to))?;
        written.extend(keys);
    }
    Ok(written)
}

/// One statement that gives each of these rows its own values; and whether its text may come again.
fn assign<DB: Backend>(
    statements: &Statements,
    (columns, kept): (&[String], &[String]),
    mut rows: Vec<(KeyParts, Vec<Option<Bind<DB>>>)>,
) -> Result<(String, DB::Arguments, bool), BoxError> {
    let keys: Vec<KeyParts> = rows.iter().map(|(key, _)| key.clone()).collect();
    let binds_null = !DB::Adapter::DIALECT.null_has_a_type;
    let mut values = DB::Arguments::default();
    let (mut set, mut again) = (Vec::with_capacity(columns.len()), true);
    for (at, column) in columns.iter().enumerate() {
        let is_given = |(_, values): &(_, Vec<Option<_>>)| values[at].is_some() || binds_null;
        let given: Vec<bool> = rows.iter().map(is_given).collect();
        again &= !given.contains(&false);
        set.push(statements.assignment(column, &keys, &given));
        for (key, bind) in &mut rows {
            if keys.len() > 1 && given.contains(&true) {
                for part in statements.pages.keyed().values(key) {
                    DB::Adapter::push_value(&mut values, &part)?;
                }
            }
            match bind[at].take() {
                Some(bind) => bind(&mut values)?,
                None if binds_null => DB::Adapter::push_value(&mut values, &SqlValue::Text(None))?,
                None => {}
            }
        }
    }
    let (sql, bound) = statements.update(set, columns, &keys, kept);
    for value in &bound {
        DB::Adapter::push_value(&mut values, value)?;
    }
    Ok((sql, values, again))
}

/// The fields that Rust shall look at.
fn indices<T: DualTable>(wanted: impl Fn(&Carried) -> bool) -> Vec<usize> {
    T::CARRIED.iter().enumerate().filter(|(_, carried)| wanted(carried)).map(|(at, _)| at).collect()
}

/// Converts the rows of these keys in Rust, without writing them.
async fn convert<T: ConvertColumns<DB>, DB: Backend>(
    tx: &mut Tx<'_, DB>,
    statements: &Statements,
    indices: &[usize],
    keys: &[KeyParts],
    to: Side,
) -> Result<Vec<(KeyParts, Row<DB>)>, BoxError> {
    if indices.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, bound) = statements.rows(indices, keys)?;
    let mut arguments = DB::Arguments::default();
    for value in &bound {
        DB::Adapter::push_value(&mut arguments, value)?;
    }
    let mut found = Vec::with_capacity(keys.len());
    for row in DB::Adapter::fetch_typed(tx.connection(), &sql, arguments).await? {
        let key = statements.pages.key_of(DB::Adapter::key_columns(&row, T::KEY.len())?)?;
        let row = convert_row::<T, DB>(&row, &key, indices, to)?;
        found.push((key, row));
    }
    Ok(found)
}

fn convert_row<T: ConvertColumns<DB>, DB: Backend>(
    row: &DB::Row,
    key: &KeyParts,
    indices: &[usize],
    to: Side,
) -> Result<Row<DB>, BoxError> {
    let mut row = Columns::<DB>::after(row, T::KEY.len());
    let mut into = Assigned::<DB>::to_write();
    for &index in indices {
        let place = Conversion { record: T::RECORD, field: T::CARRIED[index].field, to };
        let error = match T::convert(index, to, &mut row, &mut into) {
            Ok(()) => continue,
            Err(Unconverted::Column(error)) => return Err(error.into()),
            Err(Unconverted::Failed(cause)) => place.failed(shown(key), cause),
            Err(Unconverted::Missing) => place.missing(shown(key)),
        };
        return Ok(Row::Unconvertible(error));
    }
    Ok(if into.differs { Row::Differs(into.values) } else { Row::Same })
}

fn shown(key: &KeyParts) -> Option<String> {
    EncodedKey::from_parts(key).ok().map(|key| key.0)
}

/// A value that does not fit the other side becomes the error of a conversion, which names field and key. What
/// violates a constraint was converted: that stays what it is, as all else.
fn blame<T: DualTable>(error: sqlx::Error, keys: &[KeyParts], to: Side) -> BoxError {
    match error.as_database_error() {
        Some(found) if is_about_data(&error) && !is_constraint(found) => {
            let field = match T::CARRIED {
                [only] => only.field,
                _ => "columns",
            };
            let key = match keys {
                [only] => shown(only),
                _ => None,
            };
            Conversion { record: T::RECORD, field, to }.failed(key, error.into()).into()
        }
        _ => error.into(),
    }
}

/// SQLSTATE's class of violated constraints; on SQLite a number whose lower byte says so.
fn is_constraint(error: &dyn sqlx::error::DatabaseError) -> bool {
    let class = error.code().is_some_and(|code| match code.len() {
        5 => code.starts_with("23"),
        _ => code.parse::<u32>().is_ok_and(|code| code & 0xff == 19 && code != SQLITE_DATATYPE),
    });
    class || error.kind() != sqlx::error::ErrorKind::Other
}

/// A value of another type than the column of a STRICT table has.
const SQLITE_DATATYPE: u32 = 3091;

/// So that a repository which answers with `sqlx::Error` can use `?`.
impl From<ConversionError> for sqlx::Error {
    fn from(error: ConversionError) -> Self {
        Self::Decode(Box::new(error))
    }
}
