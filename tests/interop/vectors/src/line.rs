//! A WebSocket that leads nowhere: what one end sends, the other receives, and everything is written down.

use futures::channel::mpsc::{unbounded, UnboundedReceiver, UnboundedSender};
use futures::{Sink, Stream, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tungstenite::{Error, Message};

pub struct Line {
    to_peer: UnboundedSender<Message>,
    from_peer: UnboundedReceiver<Message>,
    pub sent: Arc<Mutex<Vec<String>>>,
}

/// Both ends.
pub fn line() -> (Line, Line) {
    let (to_b, from_a) = unbounded();
    let (to_a, from_b) = unbounded();
    let end = |to_peer, from_peer| Line { to_peer, from_peer, sent: Arc::default() };
    (end(to_b, from_b), end(to_a, from_a))
}

impl Line {
    pub fn say(&mut self, text: &str) {
        self.to_peer.unbounded_send(Message::Text(text.to_string())).expect("the other end is there");
    }

    pub async fn hear(&mut self) -> String {
        self.from_peer.next().await.and_then(|message| message.into_text().ok()).expect("a text")
    }
}

impl Stream for Line {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_peer.poll_next_unpin(context).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Line {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.sent.lock().expect("no holder panics").push(message.to_text()?.to_string());
        self.to_peer.unbounded_send(message).map_err(|_| Error::ConnectionClosed)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs both to their ends in this thread, so that what they draw comes in one order.
pub fn together<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(futures::future::join(a, b))
}
