//! The trait behind `#[derive(Dual)]`.

use crate::copy::conversion::ConversionError;

/// A record that carries old and new fields side by side. Derived; the derive macro of the same name has
/// the guide.
///
/// ```
/// use dualwrite::Dual;
///
/// #[derive(Dual)]
/// struct Customer {
///     #[dual(new = email_address)]
///     email: String,
///     email_address: Option<String>,
/// }
///
/// fn is_done<D: Dual>(record: &D) -> bool {
///     record.is_migrated() && record.divergence().is_empty()
/// }
///
/// let mut customer = Customer { email: "ada@example.com".into(), email_address: None };
/// assert!(!is_done(&customer));
/// customer.migrate()?;
/// assert!(is_done(&customer));
/// assert_eq!(customer.email_address.as_deref(), Some("ada@example.com"));
/// # Ok::<(), dualwrite::ConversionError>(())
/// ```
pub trait Dual {
    /// Whether every new field is there, or has nothing to take from old.
    fn is_migrated(&self) -> bool;

    /// Fills the new fields that are not there from old; those that are there stay.
    ///
    /// # Errors
    /// The first field that cannot be filled. Fields before it are filled, this and the rest are as they
    /// were.
    fn migrate(&mut self) -> Result<(), ConversionError>;

    /// The logical fields that both sides have and disagree on, by the names of their getters. Old that
    /// cannot be converted disagrees. A new side that is not there yet does not: see
    /// [`is_migrated`](Self::is_migrated).
    fn divergence(&self) -> Vec<&'static str>;
}
