//! Contract: what a migration calls old, what must be proven before that is dropped, and the statements that drop it.
//! Begin with [`Contract`], and ask with [`Migration::contract`](crate::Migration::contract).

pub(crate) mod decide;
pub(crate) mod declared;
pub(crate) mod facts;
pub(crate) mod plan;
pub(crate) mod relax;
pub(crate) mod shape;

pub use crate::contract::decide::{ContractDecision, Evidence, EvidenceKind, MissingEvidence};
pub use crate::contract::declared::{Contract, OldObject};
pub use crate::contract::plan::{ContractPlan, SchemaFile};
