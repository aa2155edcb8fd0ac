//! Expands: what a migration declares as new is generated, applied, compared with the catalogue, and waited for.

mod command;
mod derived;
mod files;
mod guide;
mod missing;
mod tighten;
mod world;
