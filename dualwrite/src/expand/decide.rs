//! Whether everything new is there and can hold what old holds; and what is to be run. Pure.

use super::declared::Expand;
use super::need::Need;
use super::shape::NewShape;
use super::{column, indexes, rules, table};
use crate::database::Dialect;
use crate::preflight::finding::{Finding, FindingLevel};

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
