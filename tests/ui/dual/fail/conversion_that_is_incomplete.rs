#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = age_new, forward = parse)]
    age: String,
    age_new: Option<i64>,
    #[dual(new = (first, last))]
    name: String,
    first: Option<String>,
    last: Option<String>,
    #[dual(new = score_new, forward = |score| score, backward = back)]
    score: i32,
    score_new: Option<i64>,
    #[dual(new = version.title, forward = parse, backward = back)]
    title: String,
    version: Option<Version>,
}

struct Version {
    title: i64,
}

fn main() {}
