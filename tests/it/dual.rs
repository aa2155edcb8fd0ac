//! `#[derive(Dual)]`: what the generated methods do.

mod columns;
mod fields;
mod life;
mod markers;
