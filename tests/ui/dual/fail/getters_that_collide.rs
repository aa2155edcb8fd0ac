#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = address)]
    email: String,
    #[dual(new = address)]
    mail: String,
    address: Option<String>,
    #[dual(new = set_address)]
    old_set: String,
    set_address: Option<String>,
    #[dual(new = is_migrated)]
    done: bool,
    is_migrated: Option<bool>,
}

#[derive(dualwrite::Dual)]
struct Chain {
    #[dual(new = second)]
    first: i64,
    #[dual(new = third)]
    second: i64,
    third: i64,
}

fn main() {}
