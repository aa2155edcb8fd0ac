#[derive(dualwrite::Compare)]
struct Order {
    #[compare(key = number)]
    lines: Vec<Line>,
}

#[derive(dualwrite::Compare)]
struct Line {
    id: u64,
}

fn main() {}
