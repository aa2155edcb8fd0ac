#[derive(PartialEq)]
struct Foreign;

#[derive(dualwrite::Compare)]
struct Order {
    #[compare(reveal)]
    foreign: Foreign,
    #[compare(reveal, with = same)]
    other: Foreign,
    #[compare(reveal)]
    none: Vec<Neither>,
}

struct Neither;

fn same(_: &Foreign, _: &Foreign) -> bool {
    true
}

fn main() {}
