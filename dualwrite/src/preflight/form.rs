//! How the values of a key column are read, bound and compared, so that every statement does it as the
//! column's own type and collation, in one order. Pure texts; each adapter makes them from the catalogue.

/// What is written before and after an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrap(pub(crate) String, pub(crate) String);

#[allow(dead_code, reason = "asked for by statements to come")]
impl Wrap {
    pub(crate) fn new(before: impl Into<String>, after: impl Into<String>) -> Self {
        Self(before.into(), after.into())
    }

    pub(crate) fn around(&self, inner: &str) -> String {
        format!("{}{inner}{}", self.0, self.1)
    }
}

/// Which values of a column are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Those that are the same to the last byte.
    #[default]
    Exact,
    /// Blanks at the end do not count.
    Padded,
    /// Small and capital letters of ASCII are the same.
    AsciiCase,
    /// More than the library can tell: the database is asked.
    Loose,
}

/// How a UUID is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UuidAs {
    #[default]
    Native,
    Text,
}

/// The form of one key column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct KeyForm {
    /// Around the column where it is selected.
    pub(crate) read: Wrap,
    /// Around the `?`.
    pub(crate) bind: Wrap,
    /// Around the column for the text of a key in JSON, which is then quoted.
    pub(crate) text: Wrap,
    /// Around a column of the other side that is compared with this one.
    pub(crate) adopt: Wrap,
    /// The schema of the operators, quoted.
    pub(crate) operators: Option<String>,
    pub(crate) spelling: Spelling,
    pub(crate) uuid: UuidAs,
    /// Two columns with the same text have one order and one equality.
    pub(crate) order: String,
    /// There is a `max` of it that has its order.
    pub(crate) has_max: bool,
}

#[allow(dead_code, reason = "asked for by statements to come")]
impl KeyForm {
    /// An operator.
    pub(crate) fn operator(&self, operator: &str) -> String {
        match &self.operators {
            Some(schema) => format!("OPERATOR({schema}.{operator})"),
            None => operator.to_owned(),
        }
    }
}

/// Why a column cannot hold keys of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Unfit {
    pub(crate) why: String,
    pub(crate) action: String,
}

impl Unfit {
    pub(crate) fn new(why: impl Into<String>, action: impl Into<String>) -> Self {
        Self { why: why.into(), action: action.into() }
    }
}
