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

/// A trigger, the table that it is on, and its text with what it executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) text: String,
}

impl Trigger {
    /// Whether it is one that records writers of old.
    fn is_watch(&self) -> bool {
        self.name.starts_with("dualwrite_watch_")
    }

    fn is_ours(&self) -> bool {
        self.name.starts_with("dualwrite_")
    }

    fn is_on(&self, table: &str) -> bool {
        last(&self.table).eq_ignore_ascii_case(last(table))
    }
}

/// The name of a table without its schema.
fn last(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
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
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OldShape {
    pub(crate) tables: Vec<OldTable>,
    pub(crate) views: Vec<View>,
    pub(crate) triggers: Vec<Trigger>,
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

    /// The triggers that record writers of a table: all of them, for a column cannot be dropped everywhere that they name.
    pub(crate) fn watches(&self, table: &str) -> impl Iterator<Item = &Trigger> {
        self.triggers.iter().filter(move |one| one.is_watch() && one.is_on(table))
    }

    /// The triggers that record writers of a table for this migration.
    pub(crate) fn watches_of(&self, migration: &str, table: &str) -> Vec<&Trigger> {
        let named = format!("'{migration}'");
        self.watches(table).filter(|one| one.text.contains(&named)).collect()
    }

    /// What keeps an object from being dropped: views, foreign keys and triggers of tables that are not dropped as well.
    pub(crate) fn dependents(&self, contract: &Contract) -> Vec<String> {
        let is_dropped = |table: &str| {
            contract.objects().iter().any(|object| {
                object.column.is_none()
                    && object.table_name().name.eq_ignore_ascii_case(last(table))
            })
        };
        let mut found = Vec::new();
        for object in self.left(contract) {
            found.extend(self.references_to(object, &is_dropped));
            if let Some(column) = &object.column
                && self.is_constrained(&object.table, column)
            {
                found.push(format!(
                    "{object} is in a UNIQUE or PRIMARY KEY constraint, with which this database drops no column; \
                     rebuild the table without it, by hand"
                ));
            }
            found.extend(self.views_of(object));
            found.extend(self.triggers_of(object, &is_dropped));
        }
        found
    }

    fn references_to(&self, object: &OldObject, is_dropped: &dyn Fn(&str) -> bool) -> Vec<String> {
        let references = self.table(&object.table).map_or(&[][..], |table| &table.references);
        let is_meant = |reference: &&Reference| {
            let column = object.column.as_ref();
            column.is_none_or(|name| name.eq_ignore_ascii_case(&reference.column))
                && !is_dropped(&reference.table)
        };
        let told = |reference: &Reference| {
            format!(
                "the foreign key {} of {} points to {object}; drop it first, or declare that table as old, too",
                reference.name, reference.table
            )
        };
        references.iter().filter(is_meant).map(told).collect()
    }

    fn views_of(&self, object: &OldObject) -> Vec<String> {
        let name = object.table_name().name;
        let reads = |view: &&View| {
            !last(&view.name).eq_ignore_ascii_case(&name)
                && mentions(&view.text, &name)
                && object.column.as_ref().is_none_or(|column| mentions(&view.text, column))
        };
        let told = |view: &View| format!("the view {} reads {object}; replace it first", view.name);
        self.views.iter().filter(reads).map(told).collect()
    }

    /// A trigger that names what is gone fails each write that fires it, or keeps the column from being dropped. One that
    /// stands on a table goes with it.
    fn triggers_of(&self, object: &OldObject, is_dropped: &dyn Fn(&str) -> bool) -> Vec<String> {
        let name = object.table_name().name;
        let names = |one: &&Trigger| {
            let column = object.column.as_ref();
            !one.is_ours()
                && !is_dropped(&one.table)
                && (one.is_on(&name) || mentions(&one.text, &name))
                && column.is_none_or(|column| mentions(&one.text, column))
        };
        let told = |one: &Trigger| {
            format!("the trigger {} on {} names {object}; replace it first", one.name, one.table)
        };
        self.triggers.iter().filter(names).map(told).collect()
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
