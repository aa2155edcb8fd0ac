struct Foreign;

#[derive(dualwrite::Compare)]
struct Order {
    id: u64,
    foreign: Foreign,
    maybe: Option<Vec<Foreign>>,
    #[compare(unordered)]
    list: Vec<Foreign>,
}

#[derive(dualwrite::Compare)]
enum Choice {
    One(Foreign),
}

fn main() {}
