//! One attempt: one POST under guard. No redirect is followed, as it would tell another host what was meant for this one,
//! and no byte of an answer's body is read.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use actix_web::http::header::HttpDate;
use bytes::Bytes;
use protocol::callback::CallbackUri;
use reqwest::{Response, header};

use super::{Callbacks, schedule::Attempted};
use crate::{guard, links::JSON};

/// What is sent.
pub(super) struct Message {
    /// The same at each attempt: receivers can tell what came twice.
    pub id: String,
    /// Where the job is.
    pub job: String,
    /// JSON.
    pub body: Bytes,
}

impl Callbacks {
    /// Sends a message. `now` is told to the receiver, in seconds since 1970.
    pub(super) async fn send(&self, uri: &CallbackUri, message: Message, now: i64) -> Attempted {
        let url = match self.0.policy.parse(uri.reveal()) {
            Ok(url) => url,
            Err(why) => return Attempted::Failed { reason: why.to_string() },
        };
        let Message { id, job, body } = message;
        let mut request = self
            .0
            .client
            .post(url)
            .header(header::CONTENT_TYPE, JSON)
            .header(header::LINK, format!("<{job}>; rel=\"monitor\""))
            .header("webhook-timestamp", now);
        if let Some(signature) = self.0.signer.sign(&id, now, &body) {
            request = request.header("webhook-signature", signature);
        }
        let limit = self.0.settings.timeout;
        match tokio::time::timeout(limit, request.header("webhook-id", id).body(body).send()).await {
            Ok(Ok(answer)) => {
                Attempted::Answered { status: answer.status().as_u16(), retry_after: retry_after(&answer) }
            }
            Ok(Err(error)) => Attempted::Failed { reason: reason(&error) },
            Err(_) => Attempted::Failed { reason: format!("did not answer within {} seconds", limit.as_secs_f64()) },
        }
    }
}

/// Why a request failed, without anything of its address.
fn reason(error: &reqwest::Error) -> String {
    match guard::refusal(error) {
        Some(why) => why.to_string(),
        None if error.is_connect() => "could not be reached".to_owned(),
        None => "broke off before it answered".to_owned(),
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(HttpDate::from_str(text).ok()?);
    date.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::callbacks::CallbackSettings;

    /// What a hostile receiver does once it has a request.
    #[derive(Clone, Copy)]
    enum Manner {
        Says(&'static str),
        SaysNothing,
        TalksForEver,
        HangsUp,
    }

    struct Receiver {
        port: u16,
        connections: Arc<AtomicUsize>,
        written: Arc<AtomicUsize>,
    }

    impl Receiver {
        async fn start(manner: Manner) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (connections, written) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let counted = (connections.clone(), written.clone());
            tokio::spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    counted.0.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(receive(connection, manner, counted.1.clone()));
                }
            });
            Self { port, connections, written }
        }
    }

    async fn receive(mut connection: TcpStream, manner: Manner, written: Arc<AtomicUsize>) {
        let mut request = [0; 4096];
        if connection.read(&mut request).await.is_err() {
            return;
        }
        match manner {
            // Whoever hung up before wants no answer.
            Manner::Says(text) => connection.write_all(text.as_bytes()).await.ok(),
            Manner::SaysNothing => std::future::pending().await,
            Manner::TalksForEver => {
                connection.write_all(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n").await.ok();
                while connection.write_all(b"400\r\n").await.is_ok()
                    && connection.write_all(&[b'x'; 1024]).await.is_ok()
                {
                    connection.write_all(b"\r\n").await.ok();
                    written.fetch_add(1024, Ordering::SeqCst);
                }
                None
            }
            Manner::HangsUp => None,
        };
    }

    fn callbacks(allow_private: &[&str]) -> Callbacks {
        let settings = CallbackSettings {
            allow_http: true,
            allow_private: allow_private.iter().map(|it| (*it).to_owned()).collect(),
            timeout: Duration::from_millis(400),
            ..CallbackSettings::default()
        };
        Callbacks::new(&settings).unwrap()
    }

    async fn sent(callbacks: &Callbacks, url: &str) -> Attempted {
        let message = Message { id: "i".into(), job: "http://h/jobs/i".into(), body: Bytes::from_static(b"{}") };
        callbacks.send(&CallbackUri::new(url), message, 1).await
    }

    async fn sent_to(manner: Manner) -> (Attempted, Receiver) {
        let receiver = Receiver::start(manner).await;
        let url = format!("http://127.0.0.1:{}/hush?key=hush", receiver.port);
        (sent(&callbacks(&["127.0.0.0/8"]), &url).await, receiver)
    }

    fn failed(attempted: &Attempted) -> &str {
        let Attempted::Failed { reason } = attempted else { panic!("{attempted:?}") };
        assert!(!reason.contains("hush"), "{reason}");
        reason
    }

    #[tokio::test]
    async fn a_receiver_that_never_answers_costs_one_time_limit() {
        let began = std::time::Instant::now();
        let (attempted, _) = sent_to(Manner::SaysNothing).await;
        assert!(failed(&attempted).starts_with("did not answer within 0.4"), "{attempted:?}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read() {
        let (attempted, receiver) = sent_to(Manner::TalksForEver).await;
        assert_eq!(attempted, Attempted::Answered { status: 500, retry_after: None });
        // What the system's buffers hold is all that it got rid of.
        let read = receiver.written.load(Ordering::SeqCst);
        assert!(read < 64 * 1024 * 1024, "{read} bytes");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_and_one_that_nobody_takes_are_told() {
        let (attempted, receiver) = sent_to(Manner::HangsUp).await;
        assert_eq!(failed(&attempted), "broke off before it answered");
        assert_eq!(receiver.connections.load(Ordering::SeqCst), 1, "it is not sent twice");
        let nobody = sent(&callbacks(&["127.0.0.0/8"]), "http://127.0.0.1:1/hush").await;
        assert_eq!(failed(&nobody), "could not be reached");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let inside = Receiver::start(Manner::Says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        let target = format!("HTTP/1.1 307 No\r\nlocation: http://127.0.0.1:{}/\r\n\r\n", inside.port).leak();
        let (attempted, _) = sent_to(Manner::Says(target)).await;
        assert_eq!(attempted, Attempted::Answered { status: 307, retry_after: None });
        assert_eq!(inside.connections.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_name_that_resolves_inside_and_an_inner_address_are_not_connected_to() {
        let inside = Receiver::start(Manner::Says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
        for host in ["localhost", "127.0.0.1"] {
            let attempted = sent(&callbacks(&[]), &format!("http://{host}:{}/hush", inside.port)).await;
            assert_eq!(failed(&attempted), "leads to a loopback address; only public addresses are allowed", "{host}");
        }
        assert_eq!(inside.connections.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_receiver_says_when_to_come_back_in_seconds_or_as_a_date() {
        for (wish, at_least) in [("120", 120), ("Fri, 31 Dec 9999 23:59:59 GMT", 1_000_000)] {
            let answer = format!("HTTP/1.1 503 No\r\nretry-after: {wish}\r\ncontent-length: 0\r\n\r\n").leak();
            let (attempted, _) = sent_to(Manner::Says(answer)).await;
            let Attempted::Answered { status: 503, retry_after: Some(wished) } = attempted else { panic!("{wish}") };
            assert!(wished >= Duration::from_secs(at_least), "{wished:?}");
        }
        let nonsense = "HTTP/1.1 429 No\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(sent_to(Manner::Says(nonsense)).await.0, Attempted::Answered { status: 429, retry_after: None });
    }
}
