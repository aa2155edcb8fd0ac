//! One thing that is missing or wrong on the new side, and the steps that put it right.

use super::spell::Step;
use crate::preflight::finding::{Finding, FindingLevel};
use crate::stages::stage::Side;

/// What is missing, and the steps that make it; without steps, it takes a person.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) finding: Finding,
    pub(crate) steps: Vec<Step>,
}

impl Need {
    /// Another one at the same place, which a person sees to.
    pub(crate) fn also(&self, check: &str, why: String, action: &str) -> Self {
        let own = &self.finding;
        let at = (own.side, own.table.as_str(), own.column.as_deref());
        Self { finding: Finding::new(check, own.level, at, why, action), steps: Vec::new() }
    }
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
