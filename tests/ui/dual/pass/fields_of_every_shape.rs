//! What getters answer and setters write, for each pair of types.

use dualwrite::{Dual, Side};

#[derive(Clone, Debug, Default, Dual, PartialEq)]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = tag_list, present = some)]
    tags: Option<Vec<u8>>,
    pub tag_list: std::option::Option<std::vec::Vec<u8>>,
    #[dual(new = years)]
    age: u32,
    years: Option<u32>,
    #[dual(new = rating, present = some)]
    stars: Option<f64>,
    rating: Option<f64>,
    #[dual(new = place)]
    address: Option<Address>,
    pub(crate) place: Address,
    #[dual(new = spot)]
    site: Address,
    spot: Option<Address>,
    #[dual(new = full_name)]
    name: Option<String>,
    full_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Address(&'static str);

fn main() {
    let mut customer = Customer { email: "old".into(), age: 30, ..Customer::default() };
    customer.site = Address("site");

    let email: &str = customer.email_address();
    assert_eq!(email, "old");
    assert_eq!(customer.tag_list(), None::<&[u8]>);
    let years: u32 = customer.years();
    assert_eq!(years, 30);
    assert_eq!(customer.rating(), None::<f64>);
    assert_eq!(customer.place(), &Address(""));
    assert_eq!(customer.spot(), &Address("site"));
    assert_eq!(customer.full_name(Side::New), None::<&str>);
    assert!(!customer.is_migrated());

    customer.set_email_address("new");
    customer.set_tag_list([1_u8, 2]);
    customer.set_years(31_u16);
    customer.set_rating(0.5_f32);
    customer.set_place(Address("place"));
    customer.set_spot(Address("spot"));
    assert!(customer.is_migrated(), "old has no name either");
    customer.set_full_name("A");
    assert!(customer.is_migrated() && Dual::is_migrated(&customer));

    assert_eq!((customer.email.as_str(), customer.email_address()), ("new", "new"));
    assert_eq!((customer.tags.as_deref(), customer.tag_list()), (Some(&[1, 2][..]), Some(&[1, 2][..])));
    assert_eq!((customer.age, customer.years()), (31, 31));
    assert_eq!((customer.stars, customer.rating()), (Some(0.5), Some(0.5)));
    assert_eq!((customer.address.as_ref(), customer.place()), (Some(&Address("place")), &Address("place")));
    assert_eq!((&customer.site, customer.spot()), (&Address("spot"), &Address("spot")));
    assert_eq!((customer.name.as_deref(), customer.full_name(Side::New)), (Some("A"), Some("A")));
    assert_eq!(customer.id, 0);
}
