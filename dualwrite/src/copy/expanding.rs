//! What a derived struct says of the expand of its table.

use super::carried::Carry;
use super::dual_table::{ConvertColumns, DualTable};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::expand::declared::{Expand, NewColumn};
use crate::expand::names::Kind;

impl Expand {
    /// The new columns of a struct with `#[dual(table = "…", key = "…")]`. A column that is converted has a type of its
    /// own, which [`typed`](Self::typed) gives it.
    ///
    /// ```
    /// use dualwrite::{Dual, expand::Expand};
    ///
    /// #[derive(Dual)]
    /// #[dual(table = "customers", key = "id")]
    /// struct Customer {
    ///     id: i64,
    ///     #[dual(new = email_address)]
    ///     email: String,
    ///     email_address: Option<String>,
    ///     #[dual(new = age_years, forward = years, backward = text)]
    ///     age: String,
    ///     age_years: Option<i64>,
    /// }
    ///
    /// fn years(age: &str) -> Result<i64, std::num::ParseIntError> {
    ///     age.parse()
    /// }
    ///
    /// fn text(age: i64) -> String {
    ///     age.to_string()
    /// }
    ///
    /// let expand = Expand::of::<Customer>().typed("age_years", "bigint");
    /// expand.check()?;
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    pub fn of<T: DualTable>() -> Self {
        let mut expand = Self::new();
        for carried in T::CARRIED {
            let kind = match carried.how {
                Carry::Rename(_) => Kind::OfOld,
                Carry::Sql(_) | Carry::Rust => Kind::Undeclared,
            };
            let alone = carried.old.len() == 1 && carried.new.len() == 1;
            for name in carried.new {
                expand = expand.with(NewColumn {
                    table: T::TABLE.to_owned(),
                    old: carried.old.iter().map(|old| (*old).to_owned()).collect(),
                    name: (*name).to_owned(),
                    kind: kind.clone(),
                    alone,
                });
            }
        }
        expand
    }

    /// The same for a database, by which the types of converted columns are known: that of the field that the conversion
    /// answers with. A type that needs a length there, as a text does on MySQL, is left to [`typed`](Self::typed).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Dual, expand::Expand};
    ///
    /// #[derive(Dual)]
    /// #[dual(table = "customers", key = "id")]
    /// struct Customer {
    ///     id: i64,
    ///     #[dual(new = age_years, forward = years, backward = text)]
    ///     age: String,
    ///     age_years: Option<i64>,
    /// }
    ///
    /// # fn years(age: &str) -> Result<i64, std::num::ParseIntError> {
    /// #     age.parse()
    /// # }
    /// #
    /// # fn text(age: i64) -> String {
    /// #     age.to_string()
    /// # }
    /// fn expand() -> Expand {
    ///     Expand::of_columns::<Customer, sqlx::Sqlite>()
    /// }
    /// # }
    /// ```
    pub fn of_columns<T: ConvertColumns<DB>, DB: Backend>() -> Self {
        let dialect = &DB::Adapter::DIALECT;
        let whole = |(_, kind): &(&'static str, String)| {
            !dialect.on_duplicate_key || is_whole_on_mysql(kind)
        };
        let types = T::new_types().into_iter().filter(whole);
        types.fold(Self::of::<T>(), |expand, (name, kind)| expand.typed(name, kind))
    }
}

/// Whether nothing has to be said beside the name: without a length a text is refused, and times lose their fractions.
fn is_whole_on_mysql(kind: &str) -> bool {
    let kind = kind.trim_end_matches(" UNSIGNED");
    ["BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DATE", "JSON", "BLOB"]
        .contains(&kind)
}
