#[derive(dualwrite::Dual)]
#[dual(table = "customers", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = years, forward = parse, backward = show, sql = "CAST(age AS INTEGER")]
    age: String,
    years: Option<i64>,
    #[dual(new = email_address, sql = "lower(email); DROP TABLE customers")]
    email: String,
    email_address: Option<String>,
}

fn main() {}
