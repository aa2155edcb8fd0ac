#[derive(dualwrite::Dual)]
struct Customer {
    #[dual(new = email_adress)]
    email: String,
    email_address: Option<String>,
    #[dual(nwe = age_new)]
    age: i64,
    age_new: Option<i64>,
    #[dual(new = phone, present = true)]
    phone_number: String,
    phone: Option<String>,
    #[dual(new = city)]
    town: String,
    city: Option<String>,
}

fn main() {
    let mut customer = Customer {
        email: String::new(),
        email_address: None,
        age: 1,
        age_new: None,
        phone_number: String::new(),
        phone: None,
        town: String::new(),
        city: None,
    };
    customer.set_city("Bern");
    customer.set_email_address("a@b.c");
    assert_eq!(customer.age_new(), 1);
    assert_eq!(customer.city(), "Bern");
}
