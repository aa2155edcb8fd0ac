#[derive(dualwrite::Dual)]
struct Goal {
    #[dual(new = version.title)]
    title: String,
    #[dual(new = version.ranking)]
    rank: i64,
    version: Option<Version>,
}

struct Version {
    title: Box<str>,
    rank: i64,
}

fn main() {}
