//! Verification and the repair of what it finds: exactly the planted differences, by key, kind and field, in
//! each of the ways to compare, while writers go on.

mod elsewhere;
mod people;
mod planted;
mod proof;
mod runs;
