#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = email_adress)]
    email: String,
    email_address: Option<String>,
    #[dual(new = name)]
    name: String,
    #[dual]
    tag: String,
}

fn main() {}
