//! How the values of a key column are read, bound and compared, so that every statement does it as the
//! column's own type and collation, in one order. Pure texts; each adapter makes them from the catalogue.

use crate::key::KeyPart;

/// What is written before and after an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrap(pub(crate) String, pub(crate) String);

impl Wrap {
    pub(crate) fn new(before: impl Into<String>, after: impl Into<String>) -> Self {
        Self(before.into(), after.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }

    pub(crate) fn around(&self, inner: &str) -> String {
        format!("{}{inner}{}", self.0, self.1)
    }
}

/// Which values of a column are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    /// There may be rows without a key.
    pub(crate) nullable: bool,
    /// No unique index keeps two rows from having one key.
    pub(crate) may_repeat: bool,
    /// Values are bytes, which are not compared with texts.
    pub(crate) is_bytes: bool,
    /// The first row will tell more.
    pub(crate) is_unsettled: bool,
}

impl KeyForm {
    /// Whether the other column has the same order, equality and reading.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.order == other.order && self.read == other.read
    }

    /// An operator.
    pub(crate) fn operator(&self, operator: &str) -> String {
        match &self.operators {
            Some(schema) => format!("OPERATOR({schema}.{operator})"),
            None => operator.to_owned(),
        }
    }
}

/// What all spellings of a key have in common, as far as the library can tell: the key by which the control tables
/// know it.
pub(crate) fn identity(parts: &[KeyPart], forms: &[KeyForm]) -> Vec<KeyPart> {
    folded(parts, forms, |text, spelling| match spelling {
        Spelling::Exact | Spelling::Loose => text.to_owned(),
        Spelling::Padded => text.trim_end_matches(' ').to_owned(),
        Spelling::AsciiCase => text.to_ascii_lowercase(),
    })
}

/// The same for buckets, where more keys may fall together than are equal.
pub(crate) fn bucket_form(parts: &[KeyPart], forms: &[KeyForm]) -> Vec<KeyPart> {
    folded(&identity(parts, forms), forms, |text, spelling| match spelling {
        Spelling::Loose => text.trim_end_matches(' ').to_lowercase(),
        _ => text.to_owned(),
    })
}

fn folded(
    parts: &[KeyPart],
    forms: &[KeyForm],
    fold: impl Fn(&str, Spelling) -> String,
) -> Vec<KeyPart> {
    let part = |(part, form): (&KeyPart, &KeyForm)| match part {
        KeyPart::Text(text) => KeyPart::Text(fold(text, form.spelling)),
        part => part.clone(),
    };
    parts.iter().zip(forms).map(part).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_key_have_one_identity_and_one_bucket() {
        let form = |spelling| [KeyForm { spelling, ..KeyForm::default() }];
        let text = |text: &str| vec![KeyPart::Text(text.to_owned())];
        let padded = form(Spelling::Padded);
        assert_eq!(identity(&text("a  "), &padded), text("a"));
        assert_eq!(identity(&text("Ab"), &form(Spelling::AsciiCase)), text("ab"));
        // Which letters are equal only the database knows: what is marked is not changed.
        let loose = form(Spelling::Loose);
        assert_eq!(identity(&text("Ab "), &loose), text("Ab "));
        assert_eq!(bucket_form(&text("Ab "), &loose), text("ab"));
        assert_eq!(bucket_form(&text("Ab "), &form(Spelling::Exact)), text("Ab "));
    }
}
