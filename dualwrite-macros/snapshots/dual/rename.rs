// From:
//
// #[derive(Dual)]
// pub struct Customer {
//     id: i64,
//     #[dual(new = email_address)]
//     email: String,
//     email_address: Option<String>,
//     #[dual(new = years)]
//     age: u8,
//     pub years: Option<u8>,
// }

impl Customer {
    /// `email_address` where it is filled, else `email`.
    #[must_use]
    #[allow(dead_code, deprecated)]
    fn email_address(&self) -> &::core::primitive::str {
        match &self.email_address {
            ::core::option::Option::Some(value) => value,
            ::core::option::Option::None => &self.email,
        }
    }
    /// Writes `email` and `email_address`.
    #[allow(dead_code, deprecated)]
    fn set_email_address(&mut self, value: impl ::core::convert::Into<String>) {
        let value: String = ::core::convert::Into::into(value);
        self.email = ::core::clone::Clone::clone(&value);
        self.email_address = ::core::option::Option::Some(value);
    }
    /// `years` where it is filled, else `age`.
    #[must_use]
    #[allow(dead_code, deprecated)]
    pub fn years(&self) -> u8 {
        match self.years {
            ::core::option::Option::Some(value) => value,
            ::core::option::Option::None => self.age,
        }
    }
    /// Writes `age` and `years`.
    #[allow(dead_code, deprecated)]
    pub fn set_years(&mut self, value: impl ::core::convert::Into<u8>) {
        let value: u8 = ::core::convert::Into::into(value);
        self.age = ::core::clone::Clone::clone(&value);
        self.years = ::core::option::Option::Some(value);
    }
    /// Whether every new field is filled.
    #[must_use]
    #[allow(dead_code)]
    pub fn is_migrated(&self) -> bool {
        ::dualwrite::Dual::is_migrated(self)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Dual for Customer {
    fn is_migrated(&self) -> bool {
        ::core::option::Option::is_some(&self.email_address)
            && ::core::option::Option::is_some(&self.years)
    }
}
