//! What the catalogue says of the tables that a contract drops, or drops columns of.

use super::declared::{Contract, OldObject};
use crate::preflight::schema::{Column, Table};

/// A foreign key of another table that points to an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) table: String,
    pub(crate) name: String,
    /// The column that it points to.
    pub(crate) column: String,
}

/// A view, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// One table with something old.
#[derive(Clone, Debug)]
pub(crate) struct OldTable {
    /// As it was declared.
    pub(crate) declared: String,
    /// `None` where there is no such table any more.
    pub(crate) table: Option<Table>,
    pub(crate) references: Vec<Reference>,
    /// Every index with its columns, also those that the preflight leaves out.
    pub(crate) indexed: Vec<(String, String)>,
    /// Triggers of this library with their texts, where a column that they name cannot be dropped before they are.
    pub(crate) watches: Vec<(String, String)>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldShape {
    pub(crate) tables: Vec<OldTable>,
    pub(crate) views: Vec<View>,
}

impl OldShape {
    pub(crate) fn table(&self, declared: &str) -> Option<&OldTable> {
        self.tables.iter().find(|table| table.declared == declared)
    }

    pub(crate) fn column(&self, object: &OldObject) -> Option<&Column> {
        let table = self.table(&object.table)?.table.as_ref()?;
        let name = object.column.as_ref()?;
        table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether it is still there.
    pub(crate) fn has(&self, object: &OldObject) -> bool {
        match object.column {
            Some(_) => self.column(object).is_some(),
            None => self.table(&object.table).is_some_and(|table| table.table.is_some()),
        }
    }

    /// What is still there, in the order of the contract.
    pub(crate) fn left<'c>(&self, contract: &'c Contract) -> Vec<&'c OldObject> {
        contract.objects().iter().filter(|object| self.has(object)).collect()
    }

    /// Whether an index that a constraint made has the column, where that matters.
    fn is_constrained(&self, table: &str, column: &str) -> bool {
        let indexed = self.table(table).map_or(&[][..], |table| &table.indexed);
        indexed.iter().any(|(index, one)| index.is_empty() && one.eq_ignore_ascii_case(column))
    }

    /// What keeps an object from being dropped: views and foreign keys of tables that are not dropped as well.
    pub(crate) fn dependents(&self, contract: &Contract) -> Vec<String> {
        let is_dropped = |table: &str| {
            let own = table.rsplit('.').next().unwrap_or(table);
            contract.objects().iter().any(|object| {
                object.column.is_none() && object.table_name().name.eq_ignore_ascii_case(own)
            })
        };
        let mut found = Vec::new();
        for object in self.left(contract) {
            let references = self.table(&object.table).map_or(&[][..], |table| &table.references);
            for reference in references {
                let meant = object
                    .column
                    .as_ref()
                    .is_none_or(|name| name.eq_ignore_ascii_case(&reference.column));
                if meant && !is_dropped(&reference.table) {
                    found.push(format!(
                        "the foreign key {} of {} points to {object}; drop it first, or declare that table as old, too",
                        reference.name, reference.table
                    ));
                }
            }
            if let Some(column) = &object.column
                && self.is_constrained(&object.table, column)
            {
                found.push(format!(
                    "{object} is in a UNIQUE or PRIMARY KEY constraint, with which this database drops no column; \
                     rebuild the table without it, by hand"
                ));
            }
            let name = object.table_name().name;
            for view in &self.views {
                let column = object.column.as_deref();
                let own = view.name.rsplit('.').next().unwrap_or(&view.name);
                if !own.eq_ignore_ascii_case(&name)
                    && mentions(&view.text, &name)
                    && column.is_none_or(|column| mentions(&view.text, column))
                {
                    found.push(format!("the view {} reads {object}; replace it first", view.name));
                }
            }
        }
        found
    }
}

/// Whether a text has this name as a word of its own, in whatever case.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    !name.is_empty()
        && text.match_indices(&name).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_of_its_own() {
        assert!(mentions("DROP TABLE \"Customer\"", "customer"));
        assert!(mentions("'customer'", "customer"));
        assert!(!mentions("customer_archive, old_customer, customer$", "customer"));
        assert!(!mentions("anything", ""));
    }
}
