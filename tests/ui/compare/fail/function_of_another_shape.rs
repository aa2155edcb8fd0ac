#[derive(dualwrite::Compare)]
struct Order {
    #[compare(with = by_value)]
    id: u64,
    #[compare(with = without_answer)]
    name: String,
    #[compare(with = of_another_type)]
    total: f64,
    #[compare(with = absent)]
    tax: f64,
}

fn by_value(old: u64, new: u64) -> bool {
    old == new
}

fn without_answer(_: &str, _: &str) {}

fn of_another_type(old: &u64, new: &u64) -> bool {
    old == new
}

fn main() {}
