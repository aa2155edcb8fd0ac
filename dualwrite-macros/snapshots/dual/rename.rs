// From:
//
// #[derive(Dual)]
// pub struct Customer {
//     id: i64,
//     #[dual(new = email_address)]
//     email: String,
//     email_address: Option<String>,
// }

impl Customer {
    /// `email_address` where it is filled, else `email`.
    #[must_use]
    #[allow(deprecated)]
    fn email_address(&self) -> &::core::primitive::str {
        match ::core::option::Option::as_ref(&self.email_address) {
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
            &::core::option::Option::as_ref(&self.email_address),
        ) {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `email` alone, or `email_address` alone: the side that answers under this route.
    #[must_use]
    #[allow(deprecated)]
    fn email_address_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::option::Option<&::core::primitive::str> {
        match route.primary {
            ::dualwrite::Side::Old => {
                let old = &self.email;
                ::core::option::Option::Some(&**old)
            }
            ::dualwrite::Side::New => {
                match ::core::option::Option::as_ref(&self.email_address) {
                    ::core::option::Option::Some(new) => {
                        ::core::option::Option::Some(&**new)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
    /// Writes `email` and `email_address`.
    #[allow(deprecated)]
    fn set_email_address(&mut self, value: impl ::core::convert::Into<String>) {
        let value: String = ::core::convert::Into::into(value);
        self.email = ::core::clone::Clone::clone(&value);
        self.email_address = ::core::option::Option::Some(value);
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
            self.email_address = ::core::option::Option::Some(value);
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
        ::core::option::Option::is_some(
            &::core::option::Option::as_ref(&self.email_address),
        )
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if ::core::option::Option::is_none(
            &::core::option::Option::as_ref(&self.email_address),
        ) {
            {
                let old = &self.email;
                {
                    let value = ::core::clone::Clone::clone(old);
                    self.email_address = ::core::option::Option::Some(value);
                }
            }
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::Some(&self.email),
            ::core::option::Option::as_ref(&self.email_address),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                !::dualwrite::__private::same(old, new)
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("email_address");
        }
        fields
    }
}
