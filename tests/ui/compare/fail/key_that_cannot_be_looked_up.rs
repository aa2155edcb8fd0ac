#[derive(dualwrite::Compare)]
struct Order {
    #[compare(key = price)]
    lines: Vec<Line>,
}

#[derive(dualwrite::Compare)]
struct Line {
    price: f64,
}

fn main() {}
