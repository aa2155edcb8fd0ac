#[derive(dualwrite::Dual)]
#[dual(new = email_address)]
struct Customer {
    #[dual(nwe = email_address)]
    email: String,
    #[dual(new = "tag_list")]
    tags: String,
    #[dual = years]
    age: i32,
    email_address: Option<String>,
}

fn main() {}
