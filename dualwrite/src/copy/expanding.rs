//! What a derived struct says of the expand of its table.

use super::table::{Carry, DualTable};
use crate::expand::declared::{Expand, NewColumn};
use crate::expand::names::Kind;

impl Expand {
    /// The new columns of a struct with `#[dual(table = "…", key = "…")]`. A column that is converted has a type of its
    /// own, which [`typed`](Self::typed) gives it.
    ///
    /// ```
    /// use dualwrite::{Dual, Expand};
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
}
