#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = age_new, forward = parse, backward = show)]
    age: String,
    age_new: Option<i64>,
    #[dual(new = score_new, forward = double, backward = halve)]
    score: i32,
    score_new: Option<i32>,
}

fn parse(age: &str) -> Option<i64> {
    age.parse().ok()
}

fn show(age: i32) -> String {
    age.to_string()
}

fn double(score: i32) -> Result<i32, Silent> {
    Ok(score * 2)
}

fn halve(score: i32) -> i32 {
    score / 2
}

struct Silent;

fn main() {}
