#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = place)]
    address: Address,
    place: Option<Address>,
}

struct Address;

fn main() {}
