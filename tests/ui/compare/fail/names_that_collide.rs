#[derive(dualwrite::Compare)]
struct Order {
    id: u64,
    #[compare(rename = "id")]
    number: u64,
}

#[derive(dualwrite::Compare)]
enum Status {
    #[compare(rename = "Paid")]
    Settled,
    Paid,
}

fn main() {}
