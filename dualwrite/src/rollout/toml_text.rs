//! Reading TOML so that a mistake is answered with its line, its key, and the key that was meant.

use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use crate::error::{Error, ErrorKind};

/// A text, and where its lines are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'t>(pub(crate) &'t str);

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'t, 'd> {
    text: Text<'t>,
    pub(crate) key: &'d str,
    at: usize,
    pub(crate) value: &'d DeValue<'t>,
}

impl<'t> Text<'t> {
    /// Parses the text.
    pub(crate) fn parse(self) -> Result<Spanned<DeTable<'t>>, Error> {
        DeTable::parse(self.0).map_err(|error| {
            let at = error.span().map_or(0, |span: Range<usize>| span.start);
            self.error(at, error.message())
        })
    }

    fn error(self, at: usize, message: &str) -> Error {
        let line = self.0.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        Error::new(ErrorKind::InvalidInput, format!("line {line}: {message}"))
    }

    /// The entries of a table, whose keys must be among these.
    pub(crate) fn entries<'d>(
        self,
        table: &'d DeTable<'t>,
        known: &[&str],
    ) -> Result<Vec<Entry<'t, 'd>>, Error> {
        let entries = self.all_entries(table);
        match entries.iter().find(|entry| !known.contains(&entry.key)) {
            None => Ok(entries),
            Some(entry) => {
                let key = entry.key;
                let meant = nearest(key, known);
                let meant =
                    meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let message = format!("unknown key `{key}`{meant} (known: {})", known.join(", "));
                Err(self.error(entry.at, &message))
            }
        }
    }

    /// The entries of a table whose keys are free.
    pub(crate) fn all_entries<'d>(self, table: &'d DeTable<'t>) -> Vec<Entry<'t, 'd>> {
        let entry = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'t>>)| {
            let name: &'d std::borrow::Cow<'t, str> = key.get_ref();
            Entry { text: self, key: name, at: key.span().start, value: value.get_ref() }
        };
        table.iter().map(entry).collect()
    }
}

fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let scored = known.iter().map(|name| (strsim::damerau_levenshtein(key, name), *name));
    let (distance, name) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().max(key.len()) / 2).then_some(name)
}

impl<'t, 'd> Entry<'t, 'd> {
    /// A mistake in this entry.
    pub(crate) fn error(&self, message: &str) -> Error {
        self.text.error(self.at, &format!("`{}`: {message}", self.key))
    }

    fn expected(&self, what: &str) -> Error {
        self.error(&format!("expected {what}, found {}", self.value.type_str()))
    }

    pub(crate) fn bool(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub(crate) fn text(&self) -> Result<&'d str, Error> {
        self.value.as_str().ok_or_else(|| self.expected("a text"))
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(crate) fn table(&self) -> Result<&'d DeTable<'t>, Error> {
        self.value.as_table().ok_or_else(|| self.expected("a table"))
    }

    /// Reads a text by its `FromStr`.
    pub(crate) fn parsed<T: std::str::FromStr<Err = Error>>(&self) -> Result<T, Error> {
        self.text()?.parse().map_err(|error: Error| self.error(&error.to_string()))
    }

    /// A whole number from zero on.
    pub(crate) fn whole<N: std::str::FromStr>(&self) -> Result<N, Error> {
        let number = self.value.as_integer().filter(|number| number.radix() == 10);
        let number = number.ok_or_else(|| self.expected("a whole number"))?;
        number.as_str().parse().map_err(|_| self.error("expected a whole number in its bounds"))
    }

    /// A number, or a text, as text.
    pub(crate) fn number_or_text(&self) -> Result<String, Error> {
        match self.value {
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::String(text) => Ok(text.clone().into_owned()),
            _ => Err(self.expected("a number of percent, or a text like \"5 %\"")),
        }
    }

    /// An array of tables.
    pub(crate) fn tables(&self) -> Result<Vec<&'d DeTable<'t>>, Error> {
        let wrong = || self.expected("tables; write `[[step]]` above each");
        let array = self.value.as_array().ok_or_else(wrong)?;
        array.iter().map(|value| value.get_ref().as_table().ok_or_else(wrong)).collect()
    }

    /// Two hours of a day.
    pub(crate) fn hours(&self) -> Result<(u8, u8), Error> {
        let wrong = || self.error("expected two hours of the day, like `[8, 18]`");
        let hour = |value: &Spanned<DeValue<'_>>| -> Option<u8> {
            value.get_ref().as_integer().and_then(|hour| hour.as_str().parse().ok())
        };
        let array = self.value.as_array().ok_or_else(wrong)?;
        let hours: Vec<Option<u8>> = array.iter().map(hour).collect();
        match hours[..] {
            [Some(from), Some(until)] if from <= 24 && until <= 24 => Ok((from, until)),
            _ => Err(wrong()),
        }
    }

    /// A time like `90s` or `2d 12h`.
    pub(crate) fn duration(&self) -> Result<std::time::Duration, Error> {
        humantime::parse_duration(self.text()?)
            .map_err(|error| self.error(&format!("{error}; write `10m`, `2d 12h`")))
    }
}
