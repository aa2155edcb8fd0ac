//! The trait behind `#[derive(Dual)]`.

/// A record that carries old and new fields side by side. Derived.
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
/// let mut customer = Customer { email: "ada@example.com".into(), email_address: None };
/// assert_eq!(customer.email_address(), "ada@example.com");
/// assert!(!customer.is_migrated());
/// customer.set_email_address("countess@example.com");
/// assert!(customer.is_migrated());
/// assert_eq!(customer.email, "countess@example.com");
/// ```
pub trait Dual {
    /// Whether every new field is there.
    fn is_migrated(&self) -> bool;
}
