#[derive(dualwrite::Compare)]
struct Order {
    #[compare(key = "id")]
    lines: Vec<Line>,
    #[compare(key = line.id())]
    parts: Vec<Line>,
    #[compare(key = |line| line.id)]
    notes: Vec<Line>,
}

#[derive(dualwrite::Compare)]
struct Line {
    id: u64,
}

fn main() {}
