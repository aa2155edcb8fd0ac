#[derive(dualwrite::Compare)]
#[compare(reveal, reveal)]
struct Order {
    #[compare(tolerance = 0.01, tolerance = 0.02)]
    total: f64,
    #[compare(ignore)]
    #[compare(ignore)]
    updated: u64,
}

fn main() {}
