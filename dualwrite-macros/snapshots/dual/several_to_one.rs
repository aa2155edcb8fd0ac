// From:
//
// #[derive(Dual)]
// struct Payment {
//     amount: i64,
//     currency: Option<String>,
//     #[dual(old = (amount, currency), forward = Money::of, backward = Money::parts)]
//     money: Option<Money>,
// }

impl Payment {
    /// `amount` and `currency` alone, or `money` alone, as the side says: NULL is a value, and does not tell that the new side is not copied.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn money(
        &self,
        side: ::dualwrite::Side,
    ) -> ::core::result::Result<
        ::core::option::Option<::std::borrow::Cow<'_, Money>>,
        ::dualwrite::ConversionError,
    > {
        match side {
            ::dualwrite::Side::Old => {
                match match (
                    ::core::option::Option::Some(&self.amount),
                    ::core::option::Option::as_ref(&self.currency),
                ) {
                    (
                        ::core::option::Option::Some(old_0),
                        ::core::option::Option::Some(old_1),
                    ) => ::core::option::Option::Some((old_0, old_1)),
                    _ => ::core::option::Option::None,
                } {
                    ::core::option::Option::Some((old_0, old_1)) => {
                        let value = ::dualwrite::__private::Conversion {
                            record: "Payment",
                            field: "money",
                            to: ::dualwrite::Side::New,
                        }
                            .checked(
                                ::dualwrite::__private::answered::<
                                    Money,
                                    _,
                                >(Money::of(*old_0, &**old_1)),
                                || ::core::option::Option::None,
                            )?;
                        ::core::result::Result::Ok(
                            ::core::option::Option::Some(
                                ::std::borrow::Cow::Owned(value),
                            ),
                        )
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
            ::dualwrite::Side::New => {
                match ::core::option::Option::as_ref(&self.money) {
                    ::core::option::Option::Some(new) => {
                        ::core::result::Result::Ok(
                            ::core::option::Option::Some(
                                ::std::borrow::Cow::Borrowed(new),
                            ),
                        )
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
        }
    }
    /// `amount` and `currency` alone, or `money` alone: the side that answers under this route.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn money_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::result::Result<
        ::core::option::Option<::std::borrow::Cow<'_, Money>>,
        ::dualwrite::ConversionError,
    > {
        match route.primary {
            ::dualwrite::Side::Old => {
                match match (
                    ::core::option::Option::Some(&self.amount),
                    ::core::option::Option::as_ref(&self.currency),
                ) {
                    (
                        ::core::option::Option::Some(old_0),
                        ::core::option::Option::Some(old_1),
                    ) => ::core::option::Option::Some((old_0, old_1)),
                    _ => ::core::option::Option::None,
                } {
                    ::core::option::Option::Some((old_0, old_1)) => {
                        let value = ::dualwrite::__private::Conversion {
                            record: "Payment",
                            field: "money",
                            to: ::dualwrite::Side::New,
                        }
                            .checked(
                                ::dualwrite::__private::answered::<
                                    Money,
                                    _,
                                >(Money::of(*old_0, &**old_1)),
                                || ::core::option::Option::None,
                            )?;
                        ::core::result::Result::Ok(
                            ::core::option::Option::Some(
                                ::std::borrow::Cow::Owned(value),
                            ),
                        )
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
            ::dualwrite::Side::New => {
                match ::core::option::Option::as_ref(&self.money) {
                    ::core::option::Option::Some(new) => {
                        ::core::result::Result::Ok(
                            ::core::option::Option::Some(
                                ::std::borrow::Cow::Borrowed(new),
                            ),
                        )
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
        }
    }
    /// Writes `amount` and `currency` and `money`.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_money(
        &mut self,
        value: impl ::core::convert::Into<Money>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: Money = ::core::convert::Into::into(value);
        let (old_0, old_1) = ::dualwrite::__private::Conversion {
            record: "Payment",
            field: "money",
            to: ::dualwrite::Side::Old,
        }
            .checked(
                ::dualwrite::__private::answered::<
                    (i64, String),
                    _,
                >(Money::parts(&value)),
                || ::core::option::Option::None,
            )?;
        self.amount = old_0;
        self.currency = ::core::option::Option::Some(old_1);
        self.money = ::core::option::Option::Some(value);
        ::core::result::Result::Ok(())
    }
    /// Writes `amount` and `currency`, `money`, or both, as this route says.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_money_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<Money>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: Money = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            let (old_0, old_1) = ::dualwrite::__private::Conversion {
                record: "Payment",
                field: "money",
                to: ::dualwrite::Side::Old,
            }
                .checked(
                    ::dualwrite::__private::answered::<
                        (i64, String),
                        _,
                    >(Money::parts(&value)),
                    || ::core::option::Option::None,
                )?;
            self.amount = old_0;
            self.currency = ::core::option::Option::Some(old_1);
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.money = ::core::option::Option::Some(value);
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
impl ::dualwrite::Dual for Payment {
    fn is_migrated(&self) -> bool {
        true
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            match (
                ::core::option::Option::Some(&self.amount),
                ::core::option::Option::as_ref(&self.currency),
            ) {
                (
                    ::core::option::Option::Some(old_0),
                    ::core::option::Option::Some(old_1),
                ) => ::core::option::Option::Some((old_0, old_1)),
                _ => ::core::option::Option::None,
            },
            ::core::option::Option::as_ref(&self.money),
        ) {
            (
                ::core::option::Option::Some((old_0, old_1)),
                ::core::option::Option::Some(new),
            ) => {
                match ::dualwrite::__private::answered::<
                    Money,
                    _,
                >(Money::of(*old_0, &**old_1)) {
                    ::core::result::Result::Ok(value) => {
                        !::dualwrite::__private::same(&value, new)
                    }
                    ::core::result::Result::Err(_) => true,
                }
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (::core::option::Option::Some(_), ::core::option::Option::None) => true,
            (::core::option::Option::None, ::core::option::Option::None) => false,
        } {
            fields.push("money");
        }
        fields
    }
}
