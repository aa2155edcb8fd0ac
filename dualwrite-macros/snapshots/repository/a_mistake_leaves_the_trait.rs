// From:
//
// #[repository]
// trait Customers {
//     #[read(key = id, lasy)]
//     async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
//     async fn all(&self) -> Result<Vec<i64>, sqlx::Error>;
// }

trait Customers {
    fn find(
        &self,
        id: i64,
    ) -> impl ::core::future::Future<
        Output = Result<i64, sqlx::Error>,
    > + ::core::marker::Send;
    fn all(
        &self,
    ) -> impl ::core::future::Future<
        Output = Result<Vec<i64>, sqlx::Error>,
    > + ::core::marker::Send;
}
::core::compile_error! {
    "unknown key `lasy`, did you mean `lazy`? `#[read]` takes `key`, `scan`, `ramp`, `lazy`, `shadow`, `sample`, `timeout`, `compare`, `error`, `on_unknown`"
}
::core::compile_error! {
    "say how `all` is routed: `#[read(key = …)]`, `#[read(scan)]`, `#[write(key = …)]`, or `#[primary]` where it does neither"
}
