// From:
//
// #[derive(Dual)]
// struct Customer {
//     #[dual(new = email_address, present = non_default)]
//     email: String,
//     email_address: String,
//     #[dual(new = years, present = is_plausible, getter = age_in_years, setter = grow)]
//     age: Option<u8>,
//     years: Option<u8>,
// }

impl Customer {
    /// `email_address` where it is filled, else `email`.
    #[must_use]
    #[allow(deprecated)]
    fn email_address(&self) -> &::core::primitive::str {
        match ::core::option::Option::filter(
            ::core::option::Option::Some(&self.email_address),
            |&new| ::dualwrite::__private::is_filled(new),
        ) {
            ::core::option::Option::Some(new) => &**new,
            ::core::option::Option::None => {
                let old = &self.email;
                &**old
            }
        }
    }
    /// The side that `email_address` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn email_address_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &::core::option::Option::filter(
                ::core::option::Option::Some(&self.email_address),
                |&new| ::dualwrite::__private::is_filled(new),
            ),
        ) {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `email` alone, or `email_address` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn email_address_by(&self, route: &::dualwrite::Route) -> &::core::primitive::str {
        match route.primary {
            ::dualwrite::Side::Old => {
                let old = &self.email;
                &**old
            }
            ::dualwrite::Side::New => {
                let new = &self.email_address;
                &**new
            }
        }
    }
    /// Writes `email` and `email_address`.
    #[allow(deprecated)]
    fn set_email_address(&mut self, value: impl ::core::convert::Into<String>) {
        let value: String = ::core::convert::Into::into(value);
        self.email = ::core::clone::Clone::clone(&value);
        self.email_address = value;
    }
    /// Writes `email`, `email_address`, or both, as this route says.
    #[allow(deprecated)]
    fn set_email_address_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<String>,
    ) {
        let value: String = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            self.email = ::core::clone::Clone::clone(&value);
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.email_address = value;
        }
    }
    /// `years` where it is filled, else `age`.
    #[must_use]
    #[allow(deprecated)]
    fn age_in_years(&self) -> ::core::option::Option<u8> {
        match ::core::option::Option::filter(
            ::core::option::Option::as_ref(&self.years),
            |&new| is_plausible(*new),
        ) {
            ::core::option::Option::Some(new) => ::core::option::Option::Some(*new),
            ::core::option::Option::None => {
                match ::core::option::Option::as_ref(&self.age) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(*old)
                    }
                    ::core::option::Option::None => {
                        match ::core::option::Option::as_ref(&self.years) {
                            ::core::option::Option::Some(new) => {
                                ::core::option::Option::Some(*new)
                            }
                            ::core::option::Option::None => ::core::option::Option::None,
                        }
                    }
                }
            }
        }
    }
    /// The side that `age_in_years` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn age_in_years_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &::core::option::Option::filter(
                ::core::option::Option::as_ref(&self.years),
                |&new| is_plausible(*new),
            ),
        ) || ::core::option::Option::is_none(&::core::option::Option::as_ref(&self.age))
        {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `age` alone, or `years` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn age_in_years_by(&self, route: &::dualwrite::Route) -> ::core::option::Option<u8> {
        match route.primary {
            ::dualwrite::Side::Old => {
                match ::core::option::Option::as_ref(&self.age) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(*old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
            ::dualwrite::Side::New => {
                match ::core::option::Option::as_ref(&self.years) {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(*new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// Writes `age` and `years`.
    #[allow(deprecated)]
    fn grow(&mut self, value: impl ::core::convert::Into<u8>) {
        let value: u8 = ::core::convert::Into::into(value);
        self.age = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.years = ::core::option::Option::Some(value);
    }
    /// Writes `age`, `years`, or both, as this route says.
    #[allow(deprecated)]
    fn grow_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<u8>,
    ) {
        let value: u8 = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            self.age = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.years = ::core::option::Option::Some(value);
        }
    }
    /// Whether every new field is filled, or has nothing to take from old.
    #[must_use]
    pub fn is_migrated(&self) -> bool {
        ::dualwrite::Dual::is_migrated(self)
    }
    /// Fills the new fields that are not there from old.
    ///
    /// # Errors
    /// The first field that cannot be filled.
    pub fn migrate(
        &mut self,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        ::dualwrite::Dual::migrate(self)
    }
    /// The fields whose two sides disagree.
    #[must_use]
    pub fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        ::dualwrite::Dual::divergence(self)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::dualwrite::Dual for Customer {
    fn is_migrated(&self) -> bool {
        (::core::option::Option::is_some(
            &::core::option::Option::filter(
                ::core::option::Option::Some(&self.email_address),
                |&new| ::dualwrite::__private::is_filled(new),
            ),
        )
            || {
                let old = &self.email;
                !(::dualwrite::__private::is_filled(old))
            })
            && (::core::option::Option::is_some(
                &::core::option::Option::filter(
                    ::core::option::Option::as_ref(&self.years),
                    |&new| is_plausible(*new),
                ),
            )
                || match ::core::option::Option::as_ref(&self.age) {
                    ::core::option::Option::Some(old) => !(is_plausible(*old)),
                    ::core::option::Option::None => true,
                })
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if ::core::option::Option::is_none(
            &::core::option::Option::filter(
                ::core::option::Option::Some(&self.email_address),
                |&new| ::dualwrite::__private::is_filled(new),
            ),
        ) {
            {
                let old = &self.email;
                {
                    let value = ::core::clone::Clone::clone(old);
                    self.email_address = value;
                }
            }
        }
        if ::core::option::Option::is_none(
            &::core::option::Option::filter(
                ::core::option::Option::as_ref(&self.years),
                |&new| is_plausible(*new),
            ),
        ) {
            match ::core::option::Option::as_ref(&self.age) {
                ::core::option::Option::Some(old) => {
                    let value = ::core::clone::Clone::clone(old);
                    self.years = ::core::option::Option::Some(value);
                }
                ::core::option::Option::None => {}
            }
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::Some(&self.email),
            ::core::option::Option::filter(
                ::core::option::Option::Some(&self.email_address),
                |&new| ::dualwrite::__private::is_filled(new),
            ),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !::dualwrite::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("email_address");
        }
        if match (
            ::core::option::Option::as_ref(&self.age),
            ::core::option::Option::filter(
                ::core::option::Option::as_ref(&self.years),
                |&new| is_plausible(*new),
            ),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !::dualwrite::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("age_in_years");
        }
        fields
    }
}
