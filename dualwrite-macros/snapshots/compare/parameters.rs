// From:
//
// #[derive(Compare)]
// #[compare(crate = migrations)]
// struct Page<'a, T: Clone, K: Ord = u8, const N: usize = 1>
// where
//     T: Debug,
// {
//     title: &'a str,
//     items: [T; N],
//     by_key: BTreeMap<K, T>,
//     #[compare(unordered)]
//     bag: Vec<T>,
//     #[compare(tolerance = 1)]
//     size: T,
//     #[compare(with = same::<T>, reveal)]
//     extra: T,
//     next: Option<Box<Page<'a, T, K, N>>>,
// }

#[automatically_derived]
#[allow(deprecated)]
impl<'a, T: Clone, K: Ord, const N: usize> migrations::Compare for Page<'a, T, K, N>
where
    T: Debug,
    [T; N]: migrations::Compare,
    BTreeMap<K, T>: migrations::Compare,
    <Vec<T> as migrations::__private::List>::Item: migrations::Compare,
    T: migrations::__private::Near,
    T: ::core::fmt::Debug,
{
    fn compare(&self, new: &Self, at: &mut migrations::Comparison<'_>) {
        use migrations::__private::{ByEquality as _, ByFields as _, ByNothing as _};
        (&&&migrations::__private::Pair::of(&self.title, &new.title))
            .compare_or_eq(&mut at.field("title"));
        (&&&migrations::__private::Pair::of(&self.items, &new.items))
            .compare_or_eq(&mut at.field("items"));
        (&&&migrations::__private::Pair::of(&self.by_key, &new.by_key))
            .compare_or_eq(&mut at.field("by_key"));
        migrations::__private::unordered(
            &self.bag,
            &new.bag,
            |pair, at: &mut migrations::Comparison<'_>| (&&&pair).compare_or_eq(at),
            &mut at.field("bag"),
        );
        migrations::__private::near(
            &self.size,
            &new.size,
            1.0,
            0.0,
            &mut at.field("size"),
        );
        migrations::__private::judge_revealed(
            same::<T>(&self.extra, &new.extra),
            &self.extra,
            &new.extra,
            &mut at.field("extra").reveal(),
        );
        (&&&migrations::__private::Pair::of(&self.next, &new.next))
            .compare_or_eq(&mut at.field("next"));
    }
}
