// From:
//
// #[derive(Dual)]
// struct Person {
//     #[dual(new = (first_name, last_name), forward = split, backward = join)]
//     full_name: String,
//     first_name: Option<String>,
//     last_name: Option<String>,
// }

impl Person {
    /// `first_name` and `last_name` where it is filled, else `full_name`.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn full_name(
        &self,
    ) -> ::core::result::Result<
        (
            ::std::borrow::Cow<'_, ::core::primitive::str>,
            ::std::borrow::Cow<'_, ::core::primitive::str>,
        ),
        ::dualwrite::ConversionError,
    > {
        match match (
            ::core::option::Option::as_ref(&self.first_name),
            ::core::option::Option::as_ref(&self.last_name),
        ) {
            (
                ::core::option::Option::Some(new_0),
                ::core::option::Option::Some(new_1),
            ) => ::core::option::Option::Some((new_0, new_1)),
            _ => ::core::option::Option::None,
        } {
            ::core::option::Option::Some((new_0, new_1)) => {
                ::core::result::Result::Ok((
                    ::std::borrow::Cow::Borrowed(&**new_0),
                    ::std::borrow::Cow::Borrowed(&**new_1),
                ))
            }
            ::core::option::Option::None => {
                let old = &self.full_name;
                {
                    let (value_0, value_1) = ::dualwrite::__private::Conversion {
                        record: "Person",
                        field: "full_name",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                (String, String),
                                _,
                            >(split(&**old)),
                            || ::core::option::Option::None,
                        )?;
                    ::core::result::Result::Ok((
                        ::std::borrow::Cow::Owned(value_0),
                        ::std::borrow::Cow::Owned(value_1),
                    ))
                }
            }
        }
    }
    /// The side that `full_name` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn full_name_source(&self) -> ::dualwrite::Side {
        if ::core::option::Option::is_some(
            &match (
                ::core::option::Option::as_ref(&self.first_name),
                ::core::option::Option::as_ref(&self.last_name),
            ) {
                (
                    ::core::option::Option::Some(new_0),
                    ::core::option::Option::Some(new_1),
                ) => ::core::option::Option::Some((new_0, new_1)),
                _ => ::core::option::Option::None,
            },
        ) {
            ::dualwrite::Side::New
        } else {
            ::dualwrite::Side::Old
        }
    }
    /// `full_name` alone, or `first_name` and `last_name` alone: the side that answers under this route.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn full_name_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::result::Result<
        ::core::option::Option<
            (
                ::std::borrow::Cow<'_, ::core::primitive::str>,
                ::std::borrow::Cow<'_, ::core::primitive::str>,
            ),
        >,
        ::dualwrite::ConversionError,
    > {
        match route.primary {
            ::dualwrite::Side::Old => {
                let old = &self.full_name;
                {
                    let (value_0, value_1) = ::dualwrite::__private::Conversion {
                        record: "Person",
                        field: "full_name",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                (String, String),
                                _,
                            >(split(&**old)),
                            || ::core::option::Option::None,
                        )?;
                    ::core::result::Result::Ok(
                        ::core::option::Option::Some((
                            ::std::borrow::Cow::Owned(value_0),
                            ::std::borrow::Cow::Owned(value_1),
                        )),
                    )
                }
            }
            ::dualwrite::Side::New => {
                match match (
                    ::core::option::Option::as_ref(&self.first_name),
                    ::core::option::Option::as_ref(&self.last_name),
                ) {
                    (
                        ::core::option::Option::Some(new_0),
                        ::core::option::Option::Some(new_1),
                    ) => ::core::option::Option::Some((new_0, new_1)),
                    _ => ::core::option::Option::None,
                } {
                    ::core::option::Option::Some((new_0, new_1)) => {
                        ::core::result::Result::Ok(
                            ::core::option::Option::Some((
                                ::std::borrow::Cow::Borrowed(&**new_0),
                                ::std::borrow::Cow::Borrowed(&**new_1),
                            )),
                        )
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
        }
    }
    /// Writes `full_name` and `first_name` and `last_name`.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_full_name(
        &mut self,
        first_name: impl ::core::convert::Into<String>,
        last_name: impl ::core::convert::Into<String>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let first_name: String = ::core::convert::Into::into(first_name);
        let last_name: String = ::core::convert::Into::into(last_name);
        let old = ::dualwrite::__private::Conversion {
            record: "Person",
            field: "full_name",
            to: ::dualwrite::Side::Old,
        }
            .checked(
                ::dualwrite::__private::answered::<
                    String,
                    _,
                >(join(&*first_name, &*last_name)),
                || ::core::option::Option::None,
            )?;
        self.full_name = old;
        self.first_name = ::core::option::Option::Some(first_name);
        self.last_name = ::core::option::Option::Some(last_name);
        ::core::result::Result::Ok(())
    }
    /// Writes `full_name`, `first_name` and `last_name`, or both, as this route says.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_full_name_by(
        &mut self,
        route: &::dualwrite::Route,
        first_name: impl ::core::convert::Into<String>,
        last_name: impl ::core::convert::Into<String>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let first_name: String = ::core::convert::Into::into(first_name);
        let last_name: String = ::core::convert::Into::into(last_name);
        if route.stage.writes(::dualwrite::Side::Old) {
            let old = ::dualwrite::__private::Conversion {
                record: "Person",
                field: "full_name",
                to: ::dualwrite::Side::Old,
            }
                .checked(
                    ::dualwrite::__private::answered::<
                        String,
                        _,
                    >(join(&*first_name, &*last_name)),
                    || ::core::option::Option::None,
                )?;
            self.full_name = old;
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.first_name = ::core::option::Option::Some(first_name);
            self.last_name = ::core::option::Option::Some(last_name);
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
impl ::dualwrite::Dual for Person {
    fn is_migrated(&self) -> bool {
        ::core::option::Option::is_some(
            &match (
                ::core::option::Option::as_ref(&self.first_name),
                ::core::option::Option::as_ref(&self.last_name),
            ) {
                (
                    ::core::option::Option::Some(new_0),
                    ::core::option::Option::Some(new_1),
                ) => ::core::option::Option::Some((new_0, new_1)),
                _ => ::core::option::Option::None,
            },
        )
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if ::core::option::Option::is_none(
            &match (
                ::core::option::Option::as_ref(&self.first_name),
                ::core::option::Option::as_ref(&self.last_name),
            ) {
                (
                    ::core::option::Option::Some(new_0),
                    ::core::option::Option::Some(new_1),
                ) => ::core::option::Option::Some((new_0, new_1)),
                _ => ::core::option::Option::None,
            },
        ) {
            {
                let old = &self.full_name;
                {
                    let (value_0, value_1) = ::dualwrite::__private::Conversion {
                        record: "Person",
                        field: "full_name",
                        to: ::dualwrite::Side::New,
                    }
                        .checked(
                            ::dualwrite::__private::answered::<
                                (String, String),
                                _,
                            >(split(&**old)),
                            || ::core::option::Option::None,
                        )?;
                    self.first_name = ::core::option::Option::Some(value_0);
                    self.last_name = ::core::option::Option::Some(value_1);
                }
            }
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if match (
            ::core::option::Option::Some(&self.full_name),
            match (
                ::core::option::Option::as_ref(&self.first_name),
                ::core::option::Option::as_ref(&self.last_name),
            ) {
                (
                    ::core::option::Option::Some(new_0),
                    ::core::option::Option::Some(new_1),
                ) => ::core::option::Option::Some((new_0, new_1)),
                _ => ::core::option::Option::None,
            },
        ) {
            (
                ::core::option::Option::Some(old),
                ::core::option::Option::Some((new_0, new_1)),
            ) => {
                match ::dualwrite::__private::answered::<
                    (String, String),
                    _,
                >(split(&**old)) {
                    ::core::result::Result::Ok((value_0, value_1)) => {
                        !::dualwrite::__private::same(&value_0, new_0)
                            || !::dualwrite::__private::same(&value_1, new_1)
                    }
                    ::core::result::Result::Err(_) => true,
                }
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("full_name");
        }
        fields
    }
}
