//! A load generator that knows what each call must answer.
//!
//! Each worker has a customer, whose orders nobody else changes. So it knows the state of each exactly, and what it
//! reads of other customers may be no older than what was acknowledged before the read began, and no newer than what
//! was begun before it ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::database::Database;
use crate::demo::Failure;

/// How many call at a time, and how many customers there are.
pub(crate) const WORKERS: u64 = 6;
/// A call that takes longer has failed.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// A call that loses so many deadlocks has failed.
const RETRIES_MAX: u32 = 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Wrong answers that are told in full.
const TOLD_MAX: u64 = 10;

/// How far an order is. It goes one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Placed,
    Paid,
    Shipped,
    Cancelled,
}

impl Rank {
    fn of(state: &str) -> Option<Self> {
        [Self::Placed, Self::Paid, Self::Shipped].into_iter().find(|rank| rank.text() == state)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Deserialize)]
struct Order {
    id: i64,
    customer: String,
    amount_cents: i64,
    state: String,
}

/// What is known of an order.
#[derive(Clone, Debug)]
struct Known {
    customer: u64,
    amount_cents: i64,
    begun: Rank,
    acknowledged: Rank,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Calls that read.
    pub reads: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Calls that were made again, as the database had chosen them to lose a deadlock.
    pub retried: u64,
    /// Calls that were refused, failed or took too long.
    pub failed: u64,
    /// Calls that answered something else than they had to.
    pub wrong: u64,
}

#[derive(Debug)]
struct Shared {
    client: Client<HttpConnector, Body>,
    targets: RwLock<Vec<Arc<SocketAddr>>>,
    orders: Mutex<BTreeMap<i64, Known>>,
    reads: AtomicU64,
    writes: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    wrong: AtomicU64,
    is_over: AtomicBool,
}

/// Callers of the shop, at work until they are stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

impl Load {
    /// Begins to call the service at this address.
    ///
    /// # Errors
    /// Where it does not answer what orders there are.
    pub async fn start(first: SocketAddr) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            client: client(),
            targets: RwLock::new(vec![Arc::new(first)]),
            orders: Mutex::default(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        for customer in 0..WORKERS {
            for order in shared.of_customer(customer).await? {
                let rank = Rank::of(&order.state).ok_or("an order of no state")?;
                let amount_cents = order.amount_cents;
                let known = Known { customer, amount_cents, begun: rank, acknowledged: rank };
                shared.with(|orders| orders.insert(order.id, known));
            }
        }
        let mut workers = JoinSet::new();
        for customer in 0..WORKERS {
            workers.spawn(Worker::new(customer, Arc::clone(&shared)).work());
        }
        Ok(Self { shared, workers })
    }

    /// Sends calls to this process too.
    pub fn add(&self, address: SocketAddr) {
        self.shared.targets.write().unwrap_or_else(PoisonError::into_inner).push(address.into());
    }

    /// Sends no more calls to this process, and waits until those under way are over: what a load balancer does
    /// before a process is stopped.
    ///
    /// # Errors
    /// Where calls do not end in their time.
    pub async fn remove(&self, address: SocketAddr) -> Result<(), Failure> {
        let target = {
            let mut targets = self.shared.targets.write().unwrap_or_else(PoisonError::into_inner);
            let at = targets.iter().position(|target| **target == address);
            targets.remove(at.ok_or("this process gets no calls")?)
        };
        let quiet = async {
            while Arc::strong_count(&target) > 1 {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(2 * CALL_LIMIT, quiet).await.map_err(|_| "calls do not end".into())
    }

    /// What has happened so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let now = |count: &AtomicU64| count.load(SeqCst);
        let Shared { reads, writes, retried, failed, wrong, .. } = &*self.shared;
        let [reads, writes] = [reads, writes].map(now);
        let [retried, failed, wrong] = [retried, failed, wrong].map(now);
        Figures { reads, writes, retried, failed, wrong }
    }

    /// Ends the calls, and writes what they left into the table `expected`, for a check in plain SQL.
    ///
    /// # Errors
    /// Where the calls do not end in their time, or the database refuses.
    pub async fn stop(mut self, database: &Database) -> Result<Figures, Failure> {
        self.shared.is_over.store(true, SeqCst);
        let all = async { while self.workers.join_next().await.is_some() {} };
        timeout(2 * CALL_LIMIT, all).await.map_err(|_| "calls do not end")?;
        database
            .execute(
                "CREATE TABLE expected (id BIGINT PRIMARY KEY, customer VARCHAR(80), amount_cents BIGINT, \
                 state VARCHAR(10))",
            )
            .await?;
        let left = self.shared.with(|orders| orders.clone());
        let left = left.into_iter().filter(|(_, known)| known.acknowledged != Rank::Cancelled);
        let rows = left.map(|(id, known)| {
            let Known { customer, amount_cents, acknowledged, .. } = known;
            format!("({id}, 'customer-{customer}', {amount_cents}, '{}')", acknowledged.text())
        });
        database.insert("expected", rows).await?;
        Ok(self.figures())
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<i64, Known>) -> T) -> T {
        act(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn known(&self, id: i64) -> Option<Known> {
        self.with(|orders| orders.get(&id).cloned())
    }

    fn wrong(&self, what: &str) {
        if self.wrong.fetch_add(1, SeqCst) < TOLD_MAX {
            eprintln!("WRONG: {what}");
        }
    }

    fn failed(&self, what: &str) {
        if self.failed.fetch_add(1, SeqCst) < TOLD_MAX {
            eprintln!("FAILED: {what}");
        }
    }

    /// One call: what was answered, if anything was. It is made again where the service asks for that.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        for _ in 0..RETRIES_MAX {
            let (status, text) = self.once(method.clone(), path, body.clone()).await?;
            if !status.is_server_error() {
                return Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)));
            }
            if !text.starts_with("try again") {
                return Err(format!("{status}: {text}").into());
            }
            self.retried.fetch_add(1, SeqCst);
        }
        Err("refused again and again".into())
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, String), Failure> {
        let target = {
            let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
            let turn = self.reads.load(SeqCst) + self.writes.load(SeqCst);
            Arc::clone(&targets[turn as usize % targets.len()])
        };
        ask(&self.client, *target, (method, path), body).await
    }

    async fn of_customer(&self, customer: u64) -> Result<Vec<Order>, Failure> {
        let path = format!("/customers/customer-{customer}/orders");
        let (_, answer) = self.call(Method::GET, &path, None).await?;
        Ok(serde_json::from_value(answer)?)
    }
}

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// What a process answers to this path.
///
/// # Errors
/// Where it does not answer in time.
pub async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, String), Failure> {
    ask(&client(), address, (Method::GET, path), None).await
}

async fn ask(
    client: &Client<HttpConnector, Body>,
    address: SocketAddr,
    (method, path): (Method, &str),
    body: Option<Value>,
) -> Result<(StatusCode, String), Failure> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
    let answering = async {
        let (head, body) = client.request(request).await?.into_parts();
        let body = to_bytes(Body::new(body), ANSWER_BYTES_MAX).await?;
        Ok((head.status, String::from_utf8(body.into())?))
    };
    timeout(CALL_LIMIT, answering).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

/// One caller, and the customer whose orders it changes.
struct Worker {
    customer: u64,
    shared: Arc<Shared>,
    dice: u64,
}

impl Worker {
    fn new(customer: u64, shared: Arc<Shared>) -> Self {
        Self { customer, shared, dice: customer + 1 }
    }

    /// A number that looks random, below this one (Marsaglia's xorshift).
    fn roll(&mut self, below: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice % below.max(1) as u64) as usize
    }

    async fn work(mut self) {
        while !self.shared.is_over.load(SeqCst) {
            let (what, is_write) = match self.roll(20) {
                0..5 => ("find", false),
                5 => ("list", false),
                6..10 => ("place", true),
                10..15 => ("pay", true),
                15..18 => ("ship", true),
                _ => ("cancel", true),
            };
            let done = match what {
                "find" => self.find().await,
                "list" => self.list().await,
                "place" => self.place().await,
                "pay" => self.pay().await,
                "ship" => self.ship().await,
                _ => self.cancel().await,
            };
            let calls = if is_write { &self.shared.writes } else { &self.shared.reads };
            calls.fetch_add(1, SeqCst);
            if let Err(error) = done {
                self.shared.failed(&format!("{what}: {error}"));
            }
        }
    }

    /// Orders of this customer that are so far, the newest first.
    fn own(&self, rank: Rank, most: usize) -> Vec<i64> {
        self.shared.with(|orders| {
            let own = orders.iter().rev().filter(|(_, known)| {
                (known.customer, known.acknowledged, known.begun) == (self.customer, rank, rank)
            });
            own.map(|(id, _)| *id).take(most).collect()
        })
    }

    fn begin(&self, ids: &[i64], rank: Rank) {
        self.set(ids, |known| known.begun = rank);
    }

    fn acknowledge(&self, ids: &[i64], rank: Rank) {
        self.set(ids, |known| known.acknowledged = rank);
    }

    fn set(&self, ids: &[i64], set: impl Fn(&mut Known)) {
        self.shared.with(|orders| {
            orders.iter_mut().filter(|(id, _)| ids.contains(id)).for_each(|(_, known)| set(known));
        });
    }

    /// Any order, of any customer.
    async fn find(&mut self) -> Result<(), Failure> {
        let ids: Vec<i64> = self.shared.with(|orders| orders.keys().copied().collect());
        if ids.is_empty() {
            return Ok(());
        }
        // Mostly new ones, which change.
        let newest = if self.roll(4) == 0 { ids.len() } else { ids.len().min(100) };
        let id = ids[ids.len() - 1 - self.roll(newest)];
        let Some(before) = self.shared.known(id) else { return Ok(()) };
        let (status, answer) =
            self.shared.call(Method::GET, &format!("/orders/{id}"), None).await?;
        let Some(after) = self.shared.known(id) else { return Ok(()) };
        let seen = match status {
            StatusCode::NOT_FOUND => Some((Rank::Cancelled, before.amount_cents)),
            _ => serde_json::from_value::<Order>(answer)
                .ok()
                .and_then(|order| Some((Rank::of(&order.state)?, order.amount_cents))),
        };
        let range = before.acknowledged..=after.begun;
        if !seen.is_some_and(|(rank, cents)| range.contains(&rank) && cents == before.amount_cents)
        {
            self.shared.wrong(&format!("order {id} is {seen:?}, and not in {range:?}"));
        }
        Ok(())
    }

    /// All of this customer, which nobody else changes.
    async fn list(&mut self) -> Result<(), Failure> {
        let found = self.shared.of_customer(self.customer).await?;
        let customer = self.customer;
        let right = self.shared.with(|orders| {
            let own = |(_, known): &(&i64, &Known)| {
                known.customer == customer && known.acknowledged != Rank::Cancelled
            };
            let mut own = orders.iter().filter(own);
            let same = found.iter().all(|order| {
                own.next().is_some_and(|(id, known)| {
                    *id == order.id
                        && order.customer == format!("customer-{customer}")
                        && known.amount_cents == order.amount_cents
                        && known.acknowledged.text() == order.state
                })
            });
            same && own.next().is_none()
        });
        if !right {
            self.shared.wrong(&format!("the orders of customer-{customer}"));
        }
        Ok(())
    }

    async fn place(&mut self) -> Result<(), Failure> {
        let (customer, amount_cents) = (self.customer, self.roll(100_000) as i64);
        let order =
            json!({ "customer": format!("customer-{customer}"), "amount_cents": amount_cents });
        let (status, answer) = self.shared.call(Method::POST, "/orders", Some(order)).await?;
        let Some(id) = answer["id"].as_i64().filter(|_| status == StatusCode::CREATED) else {
            self.shared.wrong(&format!("a new order is answered with {status}"));
            return Ok(());
        };
        let (begun, acknowledged) = (Rank::Placed, Rank::Placed);
        let known = Known { customer, amount_cents, begun, acknowledged };
        if self.shared.with(|orders| orders.insert(id, known)).is_some() {
            self.shared.wrong(&format!("the id {id} was given twice"));
        }
        Ok(())
    }

    /// A write to one order, and the answer that it must get.
    async fn change(&self, id: i64, to: Rank, method: Method, path: &str) -> Result<(), Failure> {
        self.begin(&[id], to);
        let (status, _) = self.shared.call(method, path, None).await?;
        if status == StatusCode::NO_CONTENT {
            self.acknowledge(&[id], to);
        } else {
            self.shared.wrong(&format!("order {id} to {}: {status}", to.text()));
        }
        Ok(())
    }

    async fn pay(&mut self) -> Result<(), Failure> {
        let Some(&id) = self.own(Rank::Placed, 1).first() else { return self.place().await };
        self.change(id, Rank::Paid, Method::POST, &format!("/orders/{id}/pay")).await
    }

    async fn cancel(&mut self) -> Result<(), Failure> {
        let rank = [Rank::Placed, Rank::Paid, Rank::Shipped][self.roll(3)];
        let ids = self.own(rank, 50);
        if ids.is_empty() {
            return self.place().await;
        }
        let id = ids[self.roll(ids.len())];
        self.change(id, Rank::Cancelled, Method::DELETE, &format!("/orders/{id}")).await
    }

    /// Several at once.
    async fn ship(&mut self) -> Result<(), Failure> {
        let most = 1 + self.roll(5);
        let ids = self.own(Rank::Paid, most);
        if ids.is_empty() {
            return self.pay().await;
        }
        self.begin(&ids, Rank::Shipped);
        let (_, answer) = self.shared.call(Method::POST, "/orders/ship", Some(json!(ids))).await?;
        if answer["shipped"].as_u64() == Some(ids.len() as u64) {
            self.acknowledge(&ids, Rank::Shipped);
        } else {
            self.shared.wrong(&format!("{} orders shipped: {answer}", ids.len()));
        }
        Ok(())
    }
}
