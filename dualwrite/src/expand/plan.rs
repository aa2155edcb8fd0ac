//! The files that make what is missing. Pure.

use serde::Serialize;

use super::need::Need;
use super::spell::slug;
use crate::contract::plan::SchemaFile;
use crate::database::Dialect;
use crate::preflight::finding::Finding;

/// What is missing of an expand, and what makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpandPlan {
    /// The migration.
    pub migration: String,
    /// The statements, in their order; none where everything is there.
    pub statements: Vec<ExpandStatement>,
    /// What no statement here puts right, and a person has to look at.
    pub by_hand: Vec<Finding>,
    /// It makes new columns stricter, once all is copied.
    #[serde(skip)]
    tightens: bool,
}

/// One statement of an [`ExpandPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpandStatement {
    /// What it does, as it stands in the name of its file.
    pub what: String,
    /// The statement.
    pub up: String,
    /// The way back.
    pub down: String,
    /// It cannot run in a transaction.
    pub no_transaction: bool,
    /// What a transaction does before it, to give up where it has to wait.
    #[serde(skip)]
    lock_timeout: Option<&'static str>,
    /// The rule of [`schema`](crate::guide::schema) that it would break at an earlier stage.
    #[serde(skip)]
    allows: Option<&'static str>,
}

impl ExpandStatement {
    fn text(&self, statement: &str) -> String {
        let head = match (self.no_transaction, self.lock_timeout) {
            _ if statement == super::spell::NOTHING => "-- Nothing to undo.\n".to_owned(),
            (true, _) => "-- no-transaction\n".to_owned(),
            (false, Some(limit)) => format!("{limit};\n"),
            (false, None) => String::new(),
        };
        let allowed = self.allows.filter(|_| statement == self.up).map(|rule| {
            format!("-- dualwrite: allow {rule} because the new side alone is written and every row has a value\n")
        });
        format!("{head}{}{statement};\n", allowed.unwrap_or_default())
    }
}

impl ExpandPlan {
    pub(crate) fn new(migration: &str, needs: Vec<Need>, dialect: &Dialect) -> Self {
        // PostgreSQL alone has one that ends with the transaction: whoever waits for a lock makes others wait behind it.
        let lock_timeout = dialect.numbered.then_some("SET LOCAL lock_timeout = '2s'");
        let mut plan = Self {
            migration: migration.to_owned(),
            statements: Vec::new(),
            by_hand: Vec::new(),
            tightens: false,
        };
        for need in needs {
            if need.steps.is_empty() {
                plan.by_hand.push(need.finding);
            }
            for step in need.steps {
                if plan.statements.iter().any(|statement| statement.up == step.up) {
                    continue;
                }
                plan.statements.push(ExpandStatement {
                    what: step.what,
                    up: step.up,
                    down: step.down,
                    no_transaction: step.alone && dialect.numbered,
                    lock_timeout,
                    allows: step.allows,
                });
            }
        }
        plan
    }

    /// What is to be applied once everything is copied.
    pub(crate) fn tightening(migration: &str, needs: Vec<Need>, dialect: &Dialect) -> Self {
        Self { tightens: true, ..Self::new(migration, needs, dialect) }
    }

    /// One pair of files for each statement, in the layout of sqlx, numbered from this version on: a statement that
    /// fails leaves those before it done, and PostgreSQL builds indexes outside a transaction.
    ///
    /// ```
    /// # async fn files(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    /// for file in migration.expand().plan().await?.files(20_260_301) {
    ///     println!("{}\n{}", file.name, file.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn files(&self, version: i64) -> Vec<SchemaFile> {
        let migration = slug(&self.migration);
        let kind = if self.tightens { "tighten" } else { "expand" };
        let mut files = Vec::with_capacity(self.statements.len() * 2);
        for (statement, version) in self.statements.iter().zip(version..) {
            let what: String = statement.what.chars().take(80).collect();
            let name = format!("{version}_{kind}_{migration}_{what}");
            for (end, sql) in [("up", &statement.up), ("down", &statement.down)] {
                files.push(SchemaFile {
                    name: format!("{name}.{end}.sql"),
                    text: statement.text(sql),
                });
            }
        }
        files
    }
}
