//! Responses of many messages.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wire::{Class, Rcode, Response, Section, Type};

use super::{Diary, Script, block, query};
use crate::{
    Block, Exchange, Failure, Flow, MessageSource, Messages, Outcome, Plugin, Query, Transport,
    Written,
};

/// Answers with this many messages, of one record each, and then with a failure if it is to.
struct Transfers {
    messages: u32,
    fails: bool,
}

impl Plugin for Transfers {
    fn name(&self) -> &'static str {
        "transfers"
    }

    fn query(&self, _: &mut Query<'_>, _: &mut Response<'_>) -> Result<Flow, Failure> {
        Ok(Flow::Stream)
    }

    fn stream(self: Arc<Self>, exchange: &mut Exchange) -> Box<dyn MessageSource> {
        assert_eq!(exchange.suspended_views().unwrap().0.qtype(), Type::A);
        Box::new(Source {
            left: self.messages,
            fails: self.fails,
            waited: false,
        })
    }
}

struct Source {
    left: u32,
    fails: bool,
    waited: bool,
}

impl MessageSource for Source {
    fn poll_next(
        &mut self,
        _: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Result<Written, Failure>> {
        // Every message is waited for once.
        self.waited = !self.waited;
        if self.waited {
            return Poll::Pending;
        }
        if self.left == 0 {
            return Poll::Ready(Err(Failure::servfail("the source ran dry")));
        }
        let (query, mut response) = exchange.suspended_views().unwrap();
        let fixed = (Type::A, Class::IN, self.left);
        response
            .push(Section::Answer, query.name(), fixed, &[192, 0, 2, 1])
            .unwrap();
        self.left -= 1;
        Poll::Ready(Ok(match self.left {
            0 if !self.fails => Written::Last,
            _ => Written::More,
        }))
    }
}

fn messages(diary: &Diary, messages: u32, fails: bool) -> (Messages, Arc<Block>) {
    let above = Script::new("above", diary).response(|query, response| {
        assert_eq!(query.answered_by().is_some(), query.failure().is_none());
        assert_eq!(query.octets_before() % 49, 0);
        assert!(response.count(Section::Answer) <= 1);
        // Nobody is asked again when all has been sent.
        crate::Turn::Again
    });
    let block = block(vec![
        Arc::new(above),
        Arc::new(Transfers { messages, fails }),
    ]);
    let mut exchange = query(Transport::Tcp);
    assert_eq!(exchange.walk(&block), Outcome::Stream(1));
    assert_eq!(diary.take(), ["above asked"], "no answer yet");
    (Messages::new(exchange, (&block, 1)), block)
}

/// The RCODEs and TTLs of what is left.
fn drain(messages: &mut Messages) -> Vec<(Rcode, Option<u32>)> {
    let mut context = Context::from_waker(Waker::noop());
    let mut out = Vec::new();
    loop {
        let written = match messages.poll_next(&mut context) {
            Poll::Ready(written) => written,
            Poll::Pending => continue,
        };
        let response = messages.exchange().response();
        let ttl = response.records().next().map(|record| record.unwrap().ttl);
        out.push((response.rcode(), ttl));
        if written == Written::Last {
            return out;
        }
    }
}

#[test]
fn hooks_are_called_once_with_the_last_message() {
    let diary = Diary::default();
    let (mut stream, _block) = messages(&diary, 3, false);
    let sent = drain(&mut stream);
    let expected = [3, 2, 1].map(|ttl| (Rcode::NOERROR, Some(ttl)));
    assert_eq!(sent, expected);
    assert_eq!(diary.take(), ["above answered"]);
    assert_eq!(stream.exchange().context.octets_before, 2 * 49);
    drop(stream);
    assert!(diary.take().is_empty());
}

#[test]
fn a_failure_is_the_last_message() {
    let diary = Diary::default();
    let (mut stream, _block) = messages(&diary, 2, true);
    let sent = drain(&mut stream);
    assert_eq!(sent[2], (Rcode::SERVFAIL, None));
    assert_eq!(diary.take(), ["above failed"]);
}

#[test]
fn those_above_hear_that_the_client_left() {
    let diary = Diary::default();
    let (mut stream, _block) = messages(&diary, 3, false);
    let mut context = Context::from_waker(Waker::noop());
    assert!(stream.poll_next(&mut context).is_pending());
    assert!(stream.poll_next(&mut context).is_ready());
    drop(stream);
    assert_eq!(diary.take(), ["above failed"]);
    // Also before the first message.
    let (stream, _block) = messages(&diary, 3, false);
    drop(stream);
    assert_eq!(diary.take(), ["above failed"]);
}

#[test]
fn a_plugin_without_messages_fails() {
    let diary = Diary::default();
    let block = super::scripts([
        Script::new("above", &diary),
        Script::new("empty", &diary).says(Flow::Stream),
    ]);
    let mut exchange = query(Transport::Tcp);
    assert_eq!(exchange.walk(&block), Outcome::Stream(1));
    let mut stream = Messages::new(exchange, (&block, 1));
    assert_eq!(drain(&mut stream), [(Rcode::SERVFAIL, None)]);
}
