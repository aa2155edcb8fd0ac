// From:
//
// #[derive(Dual, sqlx::FromRow)]
// #[dual(table = "shop.customers", key = "id")]
// struct Customer {
//     id: i64,
//     #[sqlx(rename = "mail")]
//     #[dual(new = email_address)]
//     email: String,
//     email_address: Option<String>,
//     #[dual(new = age_new, forward = parse_age, backward = to_text)]
//     age: String,
//     age_new: Option<i64>,
//     #[dual(new = since_year, forward = year, backward = date, sql = "CAST(since AS INTEGER)")]
//     since: Option<String>,
//     #[dual(column = "joined")]
//     since_year: i64,
//     #[sqlx(skip)]
//     orders: Vec<Order>,
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
    /// `since_year`, which has taken the place of `since`.
    #[must_use]
    #[allow(deprecated)]
    fn since_year(&self) -> i64 {
        {
            let new = &self.since_year;
            *new
        }
    }
    /// The side that `since_year` answers from.
    #[must_use]
    #[allow(deprecated)]
    fn since_year_source(&self) -> ::dualwrite::Side {
        ::dualwrite::Side::New
    }
    /// `since` alone, or `since_year` alone: the side that answers under this route.
    ///
    /// # Errors
    /// Old cannot be converted.
    #[allow(deprecated)]
    fn since_year_by(
        &self,
        route: &::dualwrite::Route,
    ) -> ::core::result::Result<
        ::core::option::Option<i64>,
        ::dualwrite::ConversionError,
    > {
        match route.primary {
            ::dualwrite::Side::Old => {
                match ::core::option::Option::as_ref(&self.since) {
                    ::core::option::Option::Some(old) => {
                        let value = ::dualwrite::__private::Conversion {
                            record: "Customer",
                            field: "since_year",
                            to: ::dualwrite::Side::New,
                        }
                            .checked(
                                ::dualwrite::__private::answered::<i64, _>(year(&**old)),
                                || ::dualwrite::__private::shown_key(&self.id),
                            )?;
                        ::core::result::Result::Ok(::core::option::Option::Some(value))
                    }
                    ::core::option::Option::None => {
                        ::core::result::Result::Ok(::core::option::Option::None)
                    }
                }
            }
            ::dualwrite::Side::New => {
                let new = &self.since_year;
                ::core::result::Result::Ok(::core::option::Option::Some(*new))
            }
        }
    }
    /// Writes `since` and `since_year`.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_since_year(
        &mut self,
        value: impl ::core::convert::Into<i64>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: i64 = ::core::convert::Into::into(value);
        let old = ::dualwrite::__private::Conversion {
            record: "Customer",
            field: "since_year",
            to: ::dualwrite::Side::Old,
        }
            .checked(
                ::dualwrite::__private::answered::<String, _>(date(value)),
                || ::dualwrite::__private::shown_key(&self.id),
            )?;
        self.since = ::core::option::Option::Some(old);
        self.since_year = value;
        ::core::result::Result::Ok(())
    }
    /// Writes `since`, `since_year`, or both, as this route says.
    ///
    /// # Errors
    /// The value cannot be converted to the old side; then nothing is written.
    #[allow(deprecated)]
    fn set_since_year_by(
        &mut self,
        route: &::dualwrite::Route,
        value: impl ::core::convert::Into<i64>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        let value: i64 = ::core::convert::Into::into(value);
        if route.stage.writes(::dualwrite::Side::Old) {
            let old = ::dualwrite::__private::Conversion {
                record: "Customer",
                field: "since_year",
                to: ::dualwrite::Side::Old,
            }
                .checked(
                    ::dualwrite::__private::answered::<String, _>(date(value)),
                    || ::dualwrite::__private::shown_key(&self.id),
                )?;
            self.since = ::core::option::Option::Some(old);
        }
        if route.stage.writes(::dualwrite::Side::New) {
            self.since_year = value;
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
        ::core::option::Option::is_some(
            &::core::option::Option::as_ref(&self.email_address),
        )
            && ::core::option::Option::is_some(
                &::core::option::Option::as_ref(&self.age_new),
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
        if match (
            ::core::option::Option::as_ref(&self.since),
            ::core::option::Option::Some(&self.since_year),
        ) {
            (::core::option::Option::Some(old), ::core::option::Option::Some(new)) => {
                match ::dualwrite::__private::answered::<i64, _>(year(&**old)) {
                    ::core::result::Result::Ok(value) => {
                        !::dualwrite::__private::same(&value, new)
                    }
                    ::core::result::Result::Err(_) => true,
                }
            }
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (_, ::core::option::Option::None) => false,
        } {
            fields.push("since_year");
        }
        fields
    }
}
#[automatically_derived]
impl ::dualwrite::DualTable for Customer {
    type Key = i64;
    const TABLE: &'static ::core::primitive::str = "shop.customers";
    const KEY: &'static [&'static ::core::primitive::str] = &["id"];
    const COLUMNS: &'static [&'static ::core::primitive::str] = &[
        "id",
        "mail",
        "email_address",
        "age",
        "age_new",
        "since",
        "joined",
    ];
    const OLD_COLUMNS: &'static [&'static ::core::primitive::str] = &[
        "id",
        "mail",
        "age",
        "since",
    ];
    const NEW_COLUMNS: &'static [&'static ::core::primitive::str] = &[
        "id",
        "email_address",
        "age_new",
        "joined",
    ];
    const RECORD: &'static ::core::primitive::str = "Customer";
    const CARRIED: &'static [::dualwrite::__private::Carried] = &[
        ::dualwrite::__private::Carried {
            field: "email_address",
            old: &["mail"],
            new: &["email_address"],
            how: ::dualwrite::__private::Carry::Rename(
                ::dualwrite::__private::Alike::Letters,
            ),
        },
        ::dualwrite::__private::Carried {
            field: "age_new",
            old: &["age"],
            new: &["age_new"],
            how: ::dualwrite::__private::Carry::Rust,
        },
        ::dualwrite::__private::Carried {
            field: "since_year",
            old: &["since"],
            new: &["joined"],
            how: ::dualwrite::__private::Carry::Sql(&["CAST(since AS INTEGER)"]),
        },
    ];
    const READ: &'static [::dualwrite::__private::ReadColumn] = &[
        ::dualwrite::__private::ReadColumn {
            name: "id",
            old: ::dualwrite::__private::Source::Column("id"),
            new: ::dualwrite::__private::Source::Column("id"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "mail",
            old: ::dualwrite::__private::Source::Column("mail"),
            new: ::dualwrite::__private::Source::Column("email_address"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "email_address",
            old: ::dualwrite::__private::Source::Column("mail"),
            new: ::dualwrite::__private::Source::Column("email_address"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "age",
            old: ::dualwrite::__private::Source::Column("age"),
            new: ::dualwrite::__private::Source::Column("age"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "age_new",
            old: ::dualwrite::__private::Source::Null,
            new: ::dualwrite::__private::Source::Column("age_new"),
        },
        ::dualwrite::__private::ReadColumn {
            name: "since",
            old: ::dualwrite::__private::Source::Column("since"),
            new: ::dualwrite::__private::Source::Null,
        },
        ::dualwrite::__private::ReadColumn {
            name: "joined",
            old: ::dualwrite::__private::Source::Column("joined"),
            new: ::dualwrite::__private::Source::Column("joined"),
        },
    ];
}
#[automatically_derived]
#[allow(deprecated)]
impl<__Database: ::dualwrite::Backend> ::dualwrite::__private::ConvertColumns<__Database>
for Customer
where
    String: ::dualwrite::__private::Column<__Database>,
    i64: ::dualwrite::__private::Column<__Database>,
{
    fn new_types() -> ::std::vec::Vec<
        (&'static ::core::primitive::str, ::std::string::String),
    > {
        ::core::convert::From::from([
            ("age_new", ::dualwrite::__private::type_name::<i64, __Database>()),
            ("joined", ::dualwrite::__private::type_name::<i64, __Database>()),
        ])
    }
    fn convert(
        index: ::core::primitive::usize,
        to: ::dualwrite::Side,
        row: &mut ::dualwrite::__private::Columns<'_, __Database>,
        into: &mut ::dualwrite::__private::Assigned<__Database>,
    ) -> ::core::result::Result<(), ::dualwrite::__private::Unconverted> {
        match index {
            1 => {
                let old = row.take::<String>()?;
                let new = row.take::<i64>()?;
                match to {
                    ::dualwrite::Side::Old => {
                        let value = match &new {
                            ::core::option::Option::Some(new) => {
                                let value = ::dualwrite::__private::answered::<
                                    String,
                                    _,
                                >(to_text(*new))?;
                                ::core::option::Option::Some(value)
                            }
                            _ => ::core::option::Option::None,
                        };
                        into.fill(value, old)?;
                    }
                    ::dualwrite::Side::New => {
                        let value = match &old {
                            ::core::option::Option::Some(old) => {
                                let value = ::dualwrite::__private::answered::<
                                    i64,
                                    _,
                                >(parse_age(&**old))?;
                                ::core::option::Option::Some(value)
                            }
                            _ => ::core::option::Option::None,
                        };
                        into.set(value, new)?;
                    }
                }
            }
            2 => {
                let old = row.take::<String>()?;
                let new = row.take::<i64>()?;
                match to {
                    ::dualwrite::Side::Old => {
                        let value = match &new {
                            ::core::option::Option::Some(new) => {
                                let value = ::dualwrite::__private::answered::<
                                    String,
                                    _,
                                >(date(*new))?;
                                ::core::option::Option::Some(value)
                            }
                            _ => ::core::option::Option::None,
                        };
                        into.set(value, old)?;
                    }
                    ::dualwrite::Side::New => {
                        let value = match &old {
                            ::core::option::Option::Some(old) => {
                                let value = ::dualwrite::__private::answered::<
                                    i64,
                                    _,
                                >(year(&**old))?;
                                ::core::option::Option::Some(value)
                            }
                            _ => ::core::option::Option::None,
                        };
                        into.fill(value, new)?;
                    }
                }
            }
            _ => {}
        }
        ::core::result::Result::Ok(())
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<__Database: ::dualwrite::Backend> ::dualwrite::BindColumns<__Database> for Customer
where
    i64: ::dualwrite::__private::Bound<__Database>,
    String: ::dualwrite::__private::Bound<__Database>,
{
    fn bind(
        &self,
        into: &mut ::dualwrite::__private::Binds<__Database>,
    ) -> ::core::result::Result<(), ::dualwrite::ConversionError> {
        into.shared(
            "id",
            ::core::option::Option::Some(::core::clone::Clone::clone(&self.id)),
        );
        let value = match ::core::option::Option::as_ref(&self.email_address) {
            ::core::option::Option::Some(new) => {
                let value = ::core::clone::Clone::clone(new);
                ::core::option::Option::Some(value)
            }
            ::core::option::Option::None => {
                let old = &self.email;
                {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::Some(value)
                }
            }
        };
        into.of::<String>(::dualwrite::Side::Old, "mail", value);
        let value = match ::core::option::Option::as_ref(&self.email_address) {
            ::core::option::Option::Some(new) => {
                let value = ::core::clone::Clone::clone(new);
                ::core::option::Option::Some(value)
            }
            ::core::option::Option::None => {
                let old = &self.email;
                {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::Some(value)
                }
            }
        };
        into.of::<String>(::dualwrite::Side::New, "email_address", value);
        let value = match ::core::option::Option::as_ref(&self.age_new) {
            ::core::option::Option::Some(new) => {
                let value = ::dualwrite::__private::Conversion {
                    record: "Customer",
                    field: "age_new",
                    to: ::dualwrite::Side::Old,
                }
                    .checked(
                        ::dualwrite::__private::answered::<String, _>(to_text(*new)),
                        || ::dualwrite::__private::shown_key(&self.id),
                    )?;
                ::core::option::Option::Some(value)
            }
            ::core::option::Option::None => {
                let old = &self.age;
                {
                    let value = ::core::clone::Clone::clone(old);
                    ::core::option::Option::Some(value)
                }
            }
        };
        into.of::<String>(::dualwrite::Side::Old, "age", value);
        let value = match ::core::option::Option::as_ref(&self.age_new) {
            ::core::option::Option::Some(new) => {
                let value = ::core::clone::Clone::clone(new);
                ::core::option::Option::Some(value)
            }
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
                    ::core::option::Option::Some(value)
                }
            }
        };
        into.of::<i64>(::dualwrite::Side::New, "age_new", value);
        let value = match ::core::option::Option::Some(&self.since_year) {
            ::core::option::Option::Some(new) => {
                let value = ::dualwrite::__private::Conversion {
                    record: "Customer",
                    field: "since_year",
                    to: ::dualwrite::Side::Old,
                }
                    .checked(
                        ::dualwrite::__private::answered::<String, _>(date(*new)),
                        || ::dualwrite::__private::shown_key(&self.id),
                    )?;
                ::core::option::Option::Some(value)
            }
            ::core::option::Option::None => {
                match ::core::option::Option::as_ref(&self.since) {
                    ::core::option::Option::Some(old) => {
                        let value = ::core::clone::Clone::clone(old);
                        ::core::option::Option::Some(value)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        };
        into.of::<String>(::dualwrite::Side::Old, "since", value);
        let value = match ::core::option::Option::Some(&self.since_year) {
            ::core::option::Option::Some(new) => {
                let value = ::core::clone::Clone::clone(new);
                ::core::option::Option::Some(value)
            }
            ::core::option::Option::None => {
                match ::core::option::Option::as_ref(&self.since) {
                    ::core::option::Option::Some(old) => {
                        let value = ::dualwrite::__private::Conversion {
                            record: "Customer",
                            field: "since_year",
                            to: ::dualwrite::Side::New,
                        }
                            .checked(
                                ::dualwrite::__private::answered::<i64, _>(year(&**old)),
                                || ::dualwrite::__private::shown_key(&self.id),
                            )?;
                        ::core::option::Option::Some(value)
                    }
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        };
        into.of::<i64>(::dualwrite::Side::New, "joined", value);
        ::core::result::Result::Ok(())
    }
}
