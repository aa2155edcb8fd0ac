//! What real schemas hold: columns that update themselves, constraints that are judged at the commit, values that do
//! not fit. Nothing of it is lost, hurts a caller, stops a job, or shows up in a text.

mod deferred;
mod found;
mod self_updating;
mod unfit;
mod values;
