// From:
//
// #[derive(Dual)]
// #[dual(table = "customer", key = "id")]
// struct Customer {
//     id: i64,
//     #[dual(new = email_address, copied = email_copied)]
//     email: Option<String>,
//     email_address: Option<String>,
//     email_copied: bool,
// }

impl Customer {
    /// `email_address` where `email_copied` says that it has been written, also if that is NULL; else `email`.
    #[must_use]
    #[allow(deprecated)]
    fn email_address(&self) -> ::core::option::Option<&::core::primitive::str> {
        if self.email_copied {
            match ::core::option::Option::as_ref(&self.email_address) {
                ::core::option::Option::Some(new) => ::core::option::Option::Some(&**new),
                ::core::option::Option::None => ::core::option::Option::None,
            }
        } else {
            match ::core::option::Option::as_ref(&self.email) {
                ::core::option::Option::Some(old) => ::core::option::Option::Some(&**old),
                ::core::option::Option::None => ::core::option::Option::None,
            }
        }
    }
    /// The side that `email_address` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn email_address_source(&self) -> ::dualwrite::Side {
        if self.email_copied { ::dualwrite::Side::New } else { ::dualwrite::Side::Old }
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
                match ::core::option::Option::as_ref(&self.email) {
                    ::core::option::Option::Some(old) => {
                        ::core::option::Option::Some(&**old)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
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
        self.email = ::core::option::Option::Some(::core::clone::Clone::clone(&value));
        self.email_address = ::core::option::Option::Some(value);
        self.email_copied = true;
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
            self.email = ::core::option::Option::Some(
                ::core::clone::Clone::clone(&value),
            );
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.email_address = ::core::option::Option::Some(value);
            self.email_copied = true;
        } else {
            self.email_copied = false;
        }
    }
    /// Writes NULL to `email` and `email_address`.
    #[allow(deprecated)]
    fn clear_email_address(&mut self) {
        self.email = ::core::option::Option::None;
        self.email_address = ::core::option::Option::None;
        self.email_copied = true;
    }
    /// Writes NULL to `email`, `email_address`, or both, as this route says.
    #[allow(deprecated)]
    fn clear_email_address_by(&mut self, route: &::dualwrite::Route) {
        if route.stage.writes(::dualwrite::Side::Old) {
            self.email = ::core::option::Option::None;
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.email_address = ::core::option::Option::None;
            self.email_copied = true;
        } else {
            self.email_copied = false;
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
        self.email_copied
    }
    fn migrate(&mut self) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        if !self.email_copied {
            match ::core::option::Option::as_ref(&self.email) {
                ::core::option::Option::Some(old) => {
                    let value = ::core::clone::Clone::clone(old);
                    self.email_address = ::core::option::Option::Some(value);
                }
                ::core::option::Option::None => {
                    self.email_address = ::core::option::Option::None;
                }
            }
            self.email_copied = true;
        }
        ::core::result::Result::Ok(())
    }
    fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
        let mut fields = ::std::vec::Vec::new();
        if self.email_copied
            && match (
                ::core::option::Option::as_ref(&self.email),
                ::core::option::Option::as_ref(&self.email_address),
            ) {
                (
                    ::core::option::Option::Some(old),
                    ::core::option::Option::Some(new),
                ) => !::dualwrite::__private::same(old, new),
                (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
                (::core::option::Option::Some(_), ::core::option::Option::None) => true,
                (::core::option::Option::None, ::core::option::Option::None) => false,
            }
        {
            fields.push("email_address");
        }
        fields
    }
}
#[automatically_derived]
impl ::dualwrite::DualTable for Customer {
    type Key = i64;
    const TABLE: &'static ::core::primitive::str = "customer";
    const KEY: &'static [&'static ::core::primitive::str] = &["id"];
    const COLUMNS: &'static [&'static ::core::primitive::str] = &[
        "id",
        "email",
        "email_address",
        "email_copied",
    ];
    const OLD_COLUMNS: &'static [&'static ::core::primitive::str] = &["id", "email"];
    const NEW_COLUMNS: &'static [&'static ::core::primitive::str] = &[
        "id",
        "email_address",
        "email_copied",
    ];
    const RECORD: &'static ::core::primitive::str = "Customer";
    const CARRIED: &'static [::dualwrite::__private::Carried] = &[
        ::dualwrite::__private::Carried {
            field: "email_address",
            old: &["email"],
            new: &["email_address"],
            how: ::dualwrite::__private::Carry::Rename(
                ::dualwrite::__private::Alike::Letters,
            ),
        },
    ];
    const MARKERS: &'static [(
        &'static ::core::primitive::str,
        &'static ::core::primitive::str,
    )] = &[("email_address", "email_copied")];
    const READ: &'static [::dualwrite::__private::ReadColumn] = &[
        ::dualwrite::__private::ReadColumn {
            name: "id",
            old: ::dualwrite::__private::Source::Column("id"),
            new: ::dualwrite::__private::Source::Column("id"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "email",
            old: ::dualwrite::__private::Source::Column("email"),
            new: ::dualwrite::__private::Source::Column("email_address"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "email_address",
            old: ::dualwrite::__private::Source::Column("email"),
            new: ::dualwrite::__private::Source::Column("email_address"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "email_copied",
            old: ::dualwrite::__private::Source::Unmarked,
            new: ::dualwrite::__private::Source::Column("email_copied"),
        },
    ];
}
#[automatically_derived]
#[allow(deprecated)]
impl<__Database: ::dualwrite::Backend> ::dualwrite::__private::ConvertColumns<__Database>
for Customer {}
#[automatically_derived]
#[allow(deprecated)]
impl<__Database: ::dualwrite::Backend> ::dualwrite::BindColumns<__Database> for Customer
where
    i64: ::dualwrite::__private::Bound<__Database>,
    String: ::dualwrite::__private::Bound<__Database>,
    bool: ::dualwrite::__private::Bound<__Database>,
{
    fn bind(
        &self,
        into: &mut ::dualwrite::__private::Binds<__Database>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        into.shared(
            "id",
            ::core::option::Option::Some(::core::clone::Clone::clone(&self.id)),
        );
        into.of::<
                ::core::primitive::bool,
            >(
            ::dualwrite::Side::New,
            "email_copied",
            ::core::option::Option::Some(true),
        );
        let value = if self.email_copied {
            match ::core::option::Option::as_ref(&self.email_address) {
                ::core::option::Option::Some(new) => {
                    let value = ::core::clone::Clone::clone(new);
                    ::core::option::Option::Some(value)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            }
        } else {
            match ::core::option::Option::as_ref(&self.email) {
                ::core::option::Option::Some(old) => {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::Some(value)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            }
        };
        into.of::<String>(::dualwrite::Side::Old, "email", value);
        let value = if self.email_copied {
            match ::core::option::Option::as_ref(&self.email_address) {
                ::core::option::Option::Some(new) => {
                    let value = ::core::clone::Clone::clone(new);
                    ::core::option::Option::Some(value)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            }
        } else {
            match ::core::option::Option::as_ref(&self.email) {
                ::core::option::Option::Some(old) => {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::Some(value)
                }
                ::core::option::Option::None => ::core::option::Option::None,
            }
        };
        into.of::<String>(::dualwrite::Side::New, "email_address", value);
        ::core::result::Result::Ok(())
    }
}
