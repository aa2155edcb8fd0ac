#[derive(dualwrite::Dual)]
struct Customer {
    email: String,
    email_address: Option<String>,
}

fn assert_dual<D: dualwrite::Dual>() {}

fn main() {
    assert_dual::<Customer>();
}
