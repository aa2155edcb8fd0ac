#[derive(dualwrite::Compare)]
#[compare(other)]
struct Order {
    #[compare(with)]
    id: u64,
    #[compare(tolerance)]
    total: f64,
    #[compare(key)]
    lines: Vec<u8>,
    #[compare(rename)]
    status: u8,
}

fn main() {}
