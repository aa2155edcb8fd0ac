//! What copies `purchase` to `orders`, and back.

use dualwrite::copy::KeySource;
use dualwrite::{CopySql, Mapping};

use super::Db;

const STATE: &str = "CASE WHEN shipped THEN 'shipped' WHEN paid THEN 'paid' ELSE 'placed' END";

pub(crate) fn copy() -> CopySql<Db, i64> {
    CopySql::new(KeySource::table("purchase").column("id"))
        .new_source(KeySource::table("orders").column("id"))
        .copying(overwriting!(
            "INSERT INTO orders (id, customer, amount_cents, state) SELECT id, customer, amount_cents, \
             CASE WHEN shipped THEN 'shipped' WHEN paid THEN 'paid' ELSE 'placed' END FROM {rows} p",
            "customer", "amount_cents", "state"
        ))
        .removing(
            "DELETE FROM orders WHERE {id} AND NOT EXISTS (SELECT 1 FROM purchase p WHERE p.id = orders.id)",
        )
        .copying_back(overwriting!(
            "INSERT INTO purchase (id, customer, amount_cents, paid, shipped) SELECT id, customer, \
             amount_cents, state <> 'placed', state = 'shipped' FROM {rows} o",
            "customer", "amount_cents", "paid", "shipped"
        ))
        .removing_back(
            "DELETE FROM purchase WHERE {id} AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = purchase.id)",
        )
        .compared_by(|| {
            let same = Mapping::new().column("customer", "customer");
            same.column("amount_cents", "amount_cents").expression("state", STATE, "state")
        })
}
