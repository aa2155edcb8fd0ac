//! Whether everything new is there and can hold what old holds; and what is to be run. Pure.

use super::declared::Expand;
use super::shape::NewShape;
use super::spell::Step;
use super::{column, indexes, rules, table};
use crate::database::Dialect;
use crate::preflight::finding::{Finding, FindingLevel};
use crate::stages::stage::Side;

/// What is missing, and the steps that make it; without steps, it takes a person.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) finding: Finding,
    pub(crate) steps: Vec<Step>,
}

/// The table and the column that a need is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    table: &'p str,
    column: Option<&'p str>,
}

impl<'p> Place<'p> {
    pub(crate) fn new(table: &'p str, column: Option<&'p str>) -> Self {
        Self { table, column }
    }

    pub(crate) fn table(self) -> Self {
        Self { column: None, ..self }
    }

    pub(crate) fn need(
        &self,
        check: &str,
        level: FindingLevel,
        why: impl Into<String>,
        action: impl Into<String>,
    ) -> Need {
        let side = if check == "expand_old" { Side::Old } else { Side::New };
        let finding = Finding::new(check, level, (side, self.table, self.column), why, action);
        Need { finding, steps: Vec::new() }
    }

    /// One that statements put right.
    pub(crate) fn with_steps(
        &self,
        check: &str,
        level: FindingLevel,
        why: impl Into<String>,
        steps: Vec<Step>,
    ) -> Need {
        let statements: Vec<&str> = steps.iter().map(|step| &*step.up).collect();
        let action = format!("run: {}", statements.join("; "));
        Need { steps, ..self.need(check, level, why, action) }
    }
}

/// All that is missing, in the order in which it is made.
pub(crate) fn needs(expand: &Expand, shape: &NewShape, dialect: &Dialect) -> Vec<Need> {
    let mut found = Vec::new();
    for new in expand.columns() {
        column::needs(new, shape, dialect, &mut found);
    }
    for new in expand.tables() {
        table::needs(new, shape, dialect, &mut found);
    }
    indexes::needs(expand, shape, dialect, &mut found);
    rules::needs(expand, shape, dialect, &mut found);
    found
}

/// What keeps both sides from being written, for the gate.
pub(crate) fn refused(needs: &[Need]) -> Vec<String> {
    let refusals = needs.iter().filter(|need| need.finding.level == FindingLevel::Refuse);
    refusals
        .map(|need| {
            let Finding { table, column, why, action, .. } = &need.finding;
            let column = column.as_ref().map(|column| format!(", column `{column}`"));
            format!("table `{table}`{}: {why}; {action}", column.unwrap_or_default())
        })
        .collect()
}
