#[derive(dualwrite::Compare)]
#[compare(ignore, rename = "status")]
enum Status {
    #[compare(ignore)]
    Open,
    Paid {
        #[compare(crate = dualwrite)]
        amount: u64,
    },
}

fn main() {}
