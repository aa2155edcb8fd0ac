#[derive(dualwrite::Compare)]
struct Order {
    #[compare(rename = "")]
    id: u64,
    #[compare(rename = "total.net")]
    total: f64,
    #[compare(rename = tax)]
    tax: f64,
}

fn main() {}
