//! What generated code names. Not for use by hand; no promises about it.

pub use crate::call::read::route::{
    Primary, primary, read, read_by, read_in, read_in_by, read_within, scan, scan_in, scan_within,
};
pub use crate::call::read::stream::{BoxedStream, boxed, stream_with_error_of_old, streamed};
pub use crate::call::read::{Asking, Read, compare_by, copy_and_ask, finish_plain, finish_read};
pub use crate::call::repository::{Form, Method, Repository, by, is_same_text};
pub use crate::call::write::answer::Answer;
pub use crate::call::write::begin::{write, write_filter, write_keys, write_made, write_once};
pub use crate::call::write::cause::{CauseInside, CauseOfError, CauseUnknown};
pub use crate::call::write::decide::Target;
pub use crate::call::write::run::Write;
pub use crate::compare::{
    AnswersByEquality, AnswersByFields, AnswersByNothing, ByEquality, ByFields, ByNothing, List,
    Near, Pair, Tolerance, judge, judge_revealed, keyed, near, unordered, variants,
};
pub use crate::copy::bound::{BindColumns, Binds, Bound};
pub use crate::copy::carried::{Carried, Carry, ReadColumn, Source};
pub use crate::copy::conversion::{Conversion, answered, is_filled, same, shown_key};
pub use crate::copy::convert::{Assigned, Column, Columns, Unconverted, type_name};
pub use crate::copy::dual_table::ConvertColumns;
pub use crate::database::Alike;
pub use crate::needs::{
    Carried as CarriedError, Unknown, answering_error_of_old, carried, failure, given, handed,
    kept, sure, unknown, unknown_of, with_error, with_error_of_old,
};
pub use crate::shadow::rules::{ByNoText, ByText, Failed};
pub use crate::transaction::build::{ApartFrom, OfColumns, built, built_apart};
pub use crate::transaction::fenced::{Fenced, Pool};
pub use crate::transaction::shared::Turn;
pub use crate::transaction::{HoldsFence, fenced};
