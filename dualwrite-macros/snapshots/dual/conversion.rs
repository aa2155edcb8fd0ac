// From:
//
// #[derive(Dual)]
// #[dual(key = "id")]
// struct Customer {
//     id: i64,
//     #[dual(new = age_new, forward = parse_age, backward = to_text)]
//     age: String,
//     age_new: Option<i64>,
// }

impl Customer {
    /// `age_new` where it is filled, else `age`.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn age_new(&self) -> ::core::result::Result<i64, ::dualwrite::ConversionError> {
        match ::core::option::Option::as_ref(&self.age_new) {
            ::core::option::Option::Some(new) => ::core::result::Result::Ok(*new),
            ::core::option::Option::None => {
                let old = &self.age;
                {
                    let value = ::dualwrite::__private::Conversion {
                        record: "Customer",
                        field: "age_new",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                i64,
                                _,
                            >(parse_age(&**old)),
                            || ::dualwrite::__private::shown_key(&self.id),
                        )?;
                    ::core::result::Result::Ok(value)
                }
            }
        }
    }
    /// The side that `age_new` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn age_new_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &::core::option::Option::as_ref(&self.age_new),
        ) {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `age` alone, or `age_new` alone: the side that answers under this route.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn age_new_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::result::Result<
        ::core::option::Option<i64>,
        ::dualwrite::ConversionError,
    > {
        match route.primary {
            ::dualwrite::Side::Old => {
                let old = &self.age;
                {
                    let value = ::dualwrite::__private::Conversion {
                        record: "Customer",
                        field: "age_new",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                i64,
                                _,
                            >(parse_age(&**old)),
                            || ::dualwrite::__private::shown_key(&self.id),
                        )?;
                    ::core::result::Result::Ok(::core::option::Option::Some(value))
                }
            }
            ::dualwrite::Side::New => {
                match ::core::option::Option::as_ref(&self.age_new) {
                    ::core::option::Option::Some(new) => {
                        ::core::result::Result::Ok(::core::option::Option::Some(*new))
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
        }
    }
    /// Writes `age` and `age_new`.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_age_new(
        &mut self,
        value: impl ::core::convert::Into<i64>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: i64 = ::core::convert::Into::into(value);
        let old = ::dualwrite::__private::Conversion {
            record: "Customer",
            field: "age_new",
            to: ::dualwrite::Side::Old,
        }
            .checked(
                ::dualwrite::__private::answered::<String, _>(to_text(value)),
                || ::dualwrite::__private::shown_key(&self.id),
            )?;
        self.age = old;
        self.age_new = ::core::option::Option::Some(value);
        ::core::result::Result::Ok(())
    }
    /// Writes `age`, `age_new`, or both, as this route says.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_age_new_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<i64>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: i64 = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            let old = ::dualwrite::__private::Conversion {
                record: "Customer",
                field: "age_new",
                to: ::dualwrite::Side::Old,
            }
                .checked(
                    ::dualwrite::__private::answered::<String, _>(to_text(value)),
                    || ::dualwrite::__private::shown_key(&self.id),
                )?;
            self.age = old;
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.age_new = ::core::option::Option::Some(value);
        }
        ::core::result::Result::Ok(())
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
        ::core::option::Option::is_some(&::core::option::Option::as_ref(&self.age_new))
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if ::core::option::Option::is_none(
            &::core::option::Option::as_ref(&self.age_new),
        ) {
            {
                let old = &self.age;
                {
                    let value = ::dualwrite::__private::Conversion {
                        record: "Customer",
                        field: "age_new",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                i64,
                                _,
                            >(parse_age(&**old)),
                            || ::dualwrite::__private::shown_key(&self.id),
                        )?;
                    self.age_new = ::core::option::Option::Some(value);
                }
            }
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::Some(&self.age),
            ::core::option::Option::as_ref(&self.age_new),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                match ::dualwrite::__private::answered::<i64, _>(parse_age(&**old)) {
                    ::core::result::Result::Ok(value) => {
                        !::dualwrite::__private::same(&value, new)
                    }
                    ::core::result::Result::Err(_) => true,
                }
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("age_new");
        }
        fields
    }
}
