#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = email_address, copied = email_copied)]
    email: String,
    email_address: Option<String>,
    email_copied: bool,
    #[dual(new = years, copied = years_copid)]
    age: Option<i64>,
    years: Option<i64>,
    years_copied: bool,
    #[dual(new = number, copied = state)]
    phone: Option<String>,
    number: Option<String>,
    state: i64,
}

fn main() {}
