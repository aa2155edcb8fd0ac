//! What generated code names. Not for use by hand; no promises about it.

pub use crate::call::read::plan::{Primary, primary, read, read_in, scan, scan_in};
pub use crate::call::read::{Asking, Read, compare_by, copy_and_ask, finish_plain, finish_read};
pub use crate::call::repository::{Method, Repository, is_same_text};
pub use crate::call::write::answer::Answer;
pub use crate::call::write::cause::{CauseInside, CauseOfError, CauseUnknown};
pub use crate::call::write::run::start::write;
pub use crate::call::write::run::{Sides, Write};
pub use crate::compare::{
    AnswersByEquality, AnswersByFields, AnswersByNothing, ByEquality, ByFields, ByNothing, List,
    Near, Pair, Tolerance, judge, judge_revealed, keyed, near, unordered, variants,
};
pub use crate::copy::conversion::{Conversion, answered, is_filled, same, shown_key};
pub use crate::copy::convert::{Assigned, Column, Columns, ConvertColumns, Unconverted};
pub use crate::copy::table::{Carried, Carry};
pub use crate::database::Alike;
pub use crate::needs::{answering_error_of_old, failure, handed, kept, with_error_of_old};
pub use crate::shadow::rules::{ByNoText, ByText, Failed};
