//! Telling the other instances that there is something to see. What an idle instance polls is one row,
//! `store/sql/fingerprint.rs`, and whoever changes what all must see at once gives it another token in the
//! transaction of the change.
//!
//! It is the last statement before the commit. So whoever holds the row waits for nothing but the commit: there is no
//! deadlock over it, changes of different migrations wait for one another only for that time, and the tokens are in the
//! order of the commits. Who makes a new migration begins with it, to make one at a time, and waits for nobody either.
//! Heartbeats and acknowledgements change nothing that all instances read, and leave it alone.
//! Where the token is another one than a poll has found, the instance reads the positions.

use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::stages::lineage::Token;

/// At the commit of the transaction that this connection has open, or at once. `name`: what changed, where that is one.
pub(crate) async fn tell<DB: Backend>(conn: &mut DB::Connection, name: &str) -> sqlx::Result<()> {
    DB::Adapter::notify(conn, name).await?;
    let sql = format!(
        "INSERT INTO dualwrite_change (id, token) VALUES (1, ?){}",
        DB::Adapter::DIALECT.upsert("id", &["token"])
    );
    // Random: after a restore a number could be counted up to what it was before.
    DB::Adapter::execute(conn, &sql, &[Token::random().0.into()]).await.map(drop)
}
