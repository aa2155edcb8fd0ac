//! What holds other values: references and smart pointers, `Option`, `Result`, tuples.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::pair::{Pair, by_fields};
use super::{Compare, Comparison};

/// Implements the comparison for what is only a way to a value.
macro_rules! see_through {
    ($($(#[$note:meta])* [$($generics:tt)*] $old:ty => $new:ty;)*) => {$(
        impl<$($generics)*> Compare<$new> for $old
        where
            T: Compare<U> + ?Sized,
            U: ?Sized,
        {
            #[inline]
            fn compare(&self, new: &$new, at: &mut Comparison<'_>) {
                T::compare(self, new, at);
            }

            fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::show_old(self, f)
            }

            fn show_new(new: &$new, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::show_new(new, f)
            }
        }
    )*};
}

see_through! {
    ['o, 'n, T, U] &'o T => &'n U;
    ['o, 'n, T, U] &'o mut T => &'n mut U;
    [T, U] Box<T> => Box<U>;
    [T, U] Rc<T> => Rc<U>;
    [T, U] Arc<T> => Arc<U>;
    ['o, 'n, T: ToOwned, U: ToOwned] Cow<'o, T> => Cow<'n, U>;
}

/// A value that is there on one side only is missing on the other.
impl<T: Compare<U>, U> Compare<Option<U>> for Option<T> {
    #[inline]
    fn compare(&self, new: &Option<U>, at: &mut Comparison<'_>) {
        by_fields(Pair { old: self.as_ref(), new: new.as_ref() }, at);
    }

    fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(old) => f.debug_tuple("Some").field(&fmt::from_fn(|f| old.show_old(f))).finish(),
            None => f.write_str("None"),
        }
    }

    fn show_new(new: &Option<U>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match new {
            Some(new) => {
                f.debug_tuple("Some").field(&fmt::from_fn(|f| T::show_new(new, f))).finish()
            }
            None => f.write_str("None"),
        }
    }
}

impl<T, E, U, D> Compare<Result<U, D>> for Result<T, E>
where
    T: Compare<U>,
    E: Compare<D>,
{
    #[inline]
    fn compare(&self, new: &Result<U, D>, at: &mut Comparison<'_>) {
        match (self, new) {
            (Ok(old), Ok(new)) => old.compare(new, at),
            (Err(old), Err(new)) => old.compare(new, at),
            (Ok(_), Err(_)) => at.variants_differ(&format_args!("Ok"), &format_args!("Err")),
            (Err(_), Ok(_)) => at.variants_differ(&format_args!("Err"), &format_args!("Ok")),
        }
    }

    fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ok(old) => f.debug_tuple("Ok").field(&fmt::from_fn(|f| old.show_old(f))).finish(),
            Err(old) => f.debug_tuple("Err").field(&fmt::from_fn(|f| old.show_old(f))).finish(),
        }
    }

    fn show_new(new: &Result<U, D>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match new {
            Ok(new) => f.debug_tuple("Ok").field(&fmt::from_fn(|f| T::show_new(new, f))).finish(),
            Err(new) => f.debug_tuple("Err").field(&fmt::from_fn(|f| E::show_new(new, f))).finish(),
        }
    }
}

impl<T: ?Sized> Compare for PhantomData<T> {
    #[inline]
    fn compare(&self, _: &Self, _: &mut Comparison<'_>) {}
}

/// Implements the comparison for tuples, part by part.
macro_rules! tuples {
    ($(($($old:ident $new:ident $index:tt),*);)*) => {$(
        impl<$($old: Compare<$new>, $new),*> Compare<($($new,)*)> for ($($old,)*) {
            #[inline]
            fn compare(&self, new: &($($new,)*), at: &mut Comparison<'_>) {
                $(self.$index.compare(&new.$index, &mut at.part($index));)*
            }

            fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_tuple("");
                $(shown.field(&fmt::from_fn(|f| self.$index.show_old(f)));)*
                shown.finish()
            }

            fn show_new(new: &($($new,)*), f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_tuple("");
                $(shown.field(&fmt::from_fn(|f| $old::show_new(&new.$index, f)));)*
                shown.finish()
            }
        }
    )*};
}

tuples! {
    (A Z 0);
    (A Z 0, B Y 1);
    (A Z 0, B Y 1, C X 2);
    (A Z 0, B Y 1, C X 2, D W 3);
    (A Z 0, B Y 1, C X 2, D W 3, E V 4);
    (A Z 0, B Y 1, C X 2, D W 3, E V 4, F U 5);
    (A Z 0, B Y 1, C X 2, D W 3, E V 4, F U 5, G T 6);
    (A Z 0, B Y 1, C X 2, D W 3, E V 4, F U 5, G T 6, H S 7);
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    fn revealed<T: Compare>(old: T, new: T) -> String {
        Differences::collect(|at| old.compare(&new, &mut at.here().reveal())).to_string()
    }

    #[test]
    fn what_stands_alone_is_shown_whole() {
        assert_eq!(revealed(Some(1), None::<i32>), "1 in old, missing in new");
        assert_eq!(revealed(None::<Option<i32>>, Some(Some(1))), "missing in old, Some(1) in new");
        assert_eq!(revealed(Some(None), None::<Option<i32>>), "None in old, missing in new");
        let pair: Option<(i32, Result<&str, ()>)> = Some((1, Ok("a")));
        assert_eq!(revealed(pair, None), r#"(1, Ok("a")) in old, missing in new"#);
        assert_eq!(revealed(None, pair), r#"missing in old, (1, Ok("a")) in new"#);
    }

    #[test]
    fn results_are_the_same_on_the_same_side() {
        type Answer<'a> = Result<i32, &'a str>;
        assert_eq!(revealed::<Answer<'_>>(Ok(1), Err("no")), "Ok in old, Err in new");
        assert_eq!(revealed::<Answer<'_>>(Err("a"), Err("b")), r#""a" in old, "b" in new"#);
        assert_eq!(revealed::<Answer<'_>>(Ok(1), Ok(1)), "");
    }

    #[test]
    fn pointers_are_seen_through() {
        let nested = |value: i32| Box::new(Rc::new(Rc::new(Some(value))));
        assert_eq!(revealed(nested(1), nested(2)), "1 in old, 2 in new");
        assert_eq!(revealed(&&1, &&2), "1 in old, 2 in new");
        let (old, new): (Cow<'_, [i32]>, Cow<'_, [i32]>) =
            (Cow::Borrowed(&[1]), Cow::Owned(vec![2]));
        assert_eq!(revealed(old, new), "[0]: 1 in old, 2 in new");
    }

    #[test]
    fn tuples_go_part_by_part() {
        assert_eq!(
            revealed((1, "a", 2.5, ()), (2, "a", 3.5, ())),
            "0: 1 in old, 2 in new\n2: 2.5 in old, 3.5 in new"
        );
        assert_eq!(
            revealed((1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 7, 0)),
            "7: 8 in old, 0 in new"
        );
    }
}
