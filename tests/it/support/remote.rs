//! A process that a test asks by calls: each has a number, and is answered in any order, or never, where the process is
//! killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::{mpsc, oneshot};

use super::process::{Call, Child, say};

enum Order {
    Ask(String, oneshot::Sender<String>),
    Kill(oneshot::Sender<()>),
}

/// Asks a process.
#[derive(Clone)]
pub(crate) struct Remote {
    orders: mpsc::UnboundedSender<Order>,
    alive: Arc<AtomicBool>,
}

impl Remote {
    /// Of a process that says `ready` first.
    pub(crate) async fn of(mut child: Child) -> Self {
        child.says("ready").await;
        let (orders, mut given) = mpsc::unbounded_channel();
        let alive = Arc::new(AtomicBool::new(true));
        let remote = Self { orders, alive: Arc::clone(&alive) };
        tokio::spawn(async move {
            let mut asked: HashMap<u64, oneshot::Sender<String>> = HashMap::new();
            let mut number = 0;
            loop {
                tokio::select! {
                    order = given.recv() => match order {
                        Some(Order::Ask(order, answer)) => {
                            number += 1;
                            asked.insert(number, answer);
                            child.tell(&format!("{number} {order}")).await;
                        }
                        Some(Order::Kill(killed)) => {
                            alive.store(false, SeqCst);
                            child.kill().await;
                            let _ = killed.send(());
                            return; // what was asked is answered by nobody
                        }
                        None => return drop(child.kill().await),
                    },
                    line = child.line(), if !asked.is_empty() => {
                        let line = line.expect("the process goes on");
                        let (number, said) = line.split_once(' ').expect("a number");
                        let number = number.parse().expect("a number");
                        if let Some(asked) = asked.remove(&number) {
                            let _ = asked.send(said.to_owned());
                        }
                    }
                }
            }
        });
        remote
    }

    /// `None` where nobody knows what became of it.
    pub(crate) async fn ask(&self, order: String) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Ask(order, answer)).ok()?;
        answered.await.ok()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(SeqCst)
    }

    /// Without warning.
    pub(crate) async fn kill(&self) {
        let (kill, killed) = oneshot::channel();
        if self.orders.send(Order::Kill(kill)).is_ok() {
            let _ = killed.await;
        }
    }
}

/// In the process: answers every order by a task of its own, until it is killed.
pub(crate) async fn answer<F>(mut call: Call, obey: impl Fn(Vec<String>) -> F) -> !
where
    F: Future<Output = String> + Send + 'static,
{
    say("ready");
    loop {
        let mut order = call.order().await;
        let number = order.remove(0);
        let done = obey(order);
        tokio::spawn(async move { say(format!("{number} {}", done.await)) });
    }
}
