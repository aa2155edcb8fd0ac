#![allow(dead_code, unused, clippy::all)]
#[path = "../it/support/mod.rs"]
mod support;
mod verify {
    #[path = "../../it/verify/elsewhere.rs"]
    mod elsewhere;
    #[path = "../../it/verify/people.rs"]
    mod people;
    #[path = "../../it/verify/planted.rs"]
    mod planted;
    #[path = "../../it/verify/proof.rs"]
    mod proof;
    #[path = "../../it/verify/runs.rs"]
    mod runs;
}
#[path = "../it/unaware.rs"]
mod unaware;
