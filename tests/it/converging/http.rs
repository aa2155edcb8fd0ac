//! A key-value service over HTTP in the test process, and its client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fault::Fault;

type Values = Arc<Mutex<BTreeMap<i64, String>>>;

/// The service, by its address. It ends with the test.
#[derive(Clone, Debug)]
pub(crate) struct HttpStore(SocketAddr);

/// Answers one request, and closes the connection.
async fn serve(mut stream: TcpStream, values: Values) -> std::io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1_024]);
    let (head, mut body) = loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_owned(), body.to_owned());
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    while body.len() < length.unwrap_or(0) {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(()); // the caller gave up
        }
        body.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (status, answer) = answer(&values, method, path, body);
    let length = answer.len();
    let answer = format!("HTTP/1.1 {status} .\r\nContent-Length: {length}\r\n\r\n{answer}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn answer(values: &Values, method: &str, path: &str, body: String) -> (u16, String) {
    let mut values = values.lock().unwrap();
    let number = |text: &str| text.parse::<i64>().unwrap();
    match (method, path.strip_prefix("/values/").map(number)) {
        ("GET", Some(id)) => match values.get(&id) {
            Some(text) => (200, text.clone()),
            None => (404, String::new()),
        },
        ("PUT", Some(id)) => {
            values.insert(id, body);
            (200, String::new())
        }
        ("DELETE", Some(id)) => {
            values.remove(&id);
            (200, String::new())
        }
        _ => {
            let of = |name: &str| path.split(['?', '&']).find_map(|part| part.strip_prefix(name));
            let from = of("after=").map_or(Unbounded, |after| Excluded(number(after)));
            let limit = of("limit=").map_or(100, number);
            let keys = values.range((from, Unbounded)).map(|(id, _)| id.to_string());
            (200, keys.take(limit as usize).collect::<Vec<_>>().join("\n"))
        }
    }
}

impl HttpStore {
    pub(crate) async fn start() -> Self {
        let values = Values::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&values)));
            }
        });
        Self(address)
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String), Fault> {
        let asking = async {
            let mut stream = TcpStream::connect(self.0).await?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: values\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = asking.await.map_err(|error| Fault::Store(error.to_string()))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status
            .map(|status| (status, body.to_owned()))
            .ok_or_else(|| Fault::Store("no answer".into()))
    }

    pub(crate) async fn get(&self, id: i64) -> Result<Option<String>, Fault> {
        match self.ask("GET", &format!("/values/{id}"), "").await? {
            (200, body) => Ok(Some(body)),
            (404, _) => Ok(None),
            (status, _) => Err(Fault::Store(format!("status {status}"))),
        }
    }

    pub(crate) async fn put(&self, id: i64, text: Option<&str>) -> Result<(), Fault> {
        let method = if text.is_some() { "PUT" } else { "DELETE" };
        match self.ask(method, &format!("/values/{id}"), text.unwrap_or("")).await? {
            (200, _) => Ok(()),
            (status, _) => Err(Fault::Store(format!("status {status}"))),
        }
    }

    pub(crate) async fn keys_after(
        &self,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<i64>, Fault> {
        let after = after.map_or(String::new(), |after| format!("&after={after}"));
        let (_, body) = self.ask("GET", &format!("/values?limit={limit}{after}"), "").await?;
        Ok(body.lines().filter_map(|line| line.parse().ok()).collect())
    }
}
