#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = age_new)]
    age: String,
    age_new: Option<i64>,
}

fn main() {}
