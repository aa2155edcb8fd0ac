#[derive(dualwrite::Compare)]
#[compare(other = NewStatus)]
enum Status {
    Open,
    Draft,
}

enum NewStatus {
    Open,
    Lost,
}

fn main() {}
