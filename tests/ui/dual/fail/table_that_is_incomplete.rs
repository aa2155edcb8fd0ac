#[derive(dualwrite::Dual)]
#[dual(table = "customers")]
struct KeyIsMissing {
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

#[derive(dualwrite::Dual)]
#[dual(table = "my customers", key = "idd")]
struct Misspelt {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

#[derive(dualwrite::Dual)]
#[dual(table = "goals", key = "id")]
struct Elsewhere<'t> {
    id: i64,
    #[dual(new = version.title)]
    title: &'t str,
    version: Option<Version<'t>>,
}

struct Version<'t> {
    title: &'t str,
}

#[derive(dualwrite::Dual)]
#[dual(key = "id")]
struct NoKey {
    id: f64,
    #[dual(new = age_new, forward = parse, backward = show)]
    age: String,
    age_new: Option<i64>,
}

fn parse(age: &str) -> Result<i64, std::num::ParseIntError> {
    age.parse()
}

fn show(age: i64) -> String {
    age.to_string()
}

fn main() {}
