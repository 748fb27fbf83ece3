//! The way of most queries: one datagram up, its reply down, and no task in between.
//!
//! The query sits in its seat with what is left to do ([`Direct`]); the reader of the socket that hears the reply lands it. Whatever
//! else happens (silence, an error, TC that is asked again over TCP, an upstream to fail over from) goes on in a task, by the same
//! [`Run`] as a query that was one from the start.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chain::{Berth, Exchange, clock};
use wire::Flags;

use super::Forward;
use super::local::{Arrived, Lane, Local, Ticket};
use super::pulse::{Again, Pulse};
use super::run::{HEDGE, Run, Second, Settled, Stage, Standing};
use super::trouble::{Trouble, What};
use super::udp::UdpLane;
use super::wheel::TICK;

/// What is left to do for a query that sits without a task.
pub(super) struct Direct {
    run: Run,
    berth: Berth,
    ticket: Ticket,
    upstream: usize,
    began: u64,
    second: Option<Second>,
    /// When the wait for this datagram's reply is over, and whether a second one may be sent before.
    until: u64,
    again: bool,
}

/// Sends the query in `place` off, unless it wants a stream or a refusal.
pub(super) fn launch(forward: &Arc<Forward>, place: &mut Option<Box<Exchange>>, berth: Berth) {
    let Some(exchange) = place else {
        return;
    };
    let datagram = exchange.context.transport.is_datagram() || forward.prefer_udp;
    let most = forward.max_concurrent;
    if !forward.plain
        || forward.force_tcp
        || !datagram
        || most > 0 && forward.concurrent.load(Ordering::Relaxed) >= most
    {
        return;
    }
    let local = Local::of(forward);
    if local.is_full() {
        return;
    }
    let Ok(permit) = forward.admit() else {
        return;
    };
    let began = clock::now();
    let mut run = Run::new(permit, exchange, began);
    let first = run.first();
    let sent = first.map(|upstream| {
        let standing = |stage| Standing {
            upstream,
            began,
            stage,
        };
        let heard = |trouble| standing(Stage::Heard(Arrived::Trouble(trouble)));
        let lane = match local.pools[upstream].datagram(&local, forward, began) {
            Ok(lane) => lane,
            Err(trouble) => return Err(heard(trouble)),
        };
        let Some(ticket) = Ticket::take(&local, Lane::Udp(lane.clone())) else {
            return Err(heard(Trouble::full()));
        };
        if run.is_as_it_came() && local.assemble(&berth) {
            return Ok((upstream, ticket, true));
        }
        match run.try_send(&lane, ticket.id, exchange) {
            Ok(()) => Ok((upstream, ticket, false)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err(standing(Stage::Unsent))
            }
            Err(error) => {
                let trouble = Trouble::io("write", &error);
                local.fail(&lane.ids, &trouble);
                Err(heard(trouble))
            }
        }
    });
    let Some(exchange) = place.take() else {
        return;
    };
    match sent {
        Some(Ok((upstream, ticket, waits))) => {
            let patience = run.patience(began);
            let second = run.second(upstream, patience);
            let whole = if second.is_some() { HEDGE } else { patience };
            let pool = &local.pools[upstream];
            let lost = pool.beat(Pulse::sent);
            let again = lost < whole && !pool.upstream.is_failing();
            let wait = if again { lost } else { whole };
            let seat = ticket.seat();
            let order = run.seating(wait);
            let direct = Direct {
                run,
                berth,
                ticket,
                upstream,
                began,
                second,
                until: began + whole,
                again,
            };
            local.sit(seat, exchange, order, began, Some(direct));
            if waits {
                local.join(seat);
            }
        }
        Some(Err(standing)) => go_on(run, berth, exchange, Some(Box::new(standing))),
        None => go_on(run, berth, exchange, None),
    }
}

impl Direct {
    /// The socket to send by and the ID to send under.
    pub(super) fn aim(&self) -> Option<(&Rc<UdpLane>, u16)> {
        match &self.ticket.lane {
            Lane::Udp(lane) => Some((lane, self.ticket.id)),
            Lane::Stream(_) => None,
        }
    }

    /// Sends the datagram once more, and waits on.
    #[cold]
    fn repeat(mut self, mut exchange: Box<Exchange>, now: u64) {
        let local = self.ticket.local().clone();
        let again = local.pools[self.upstream].beat(|pulse| pulse.again(now));
        let mut wait = self.until.saturating_sub(now);
        self.again = again == Again::Later && wait > TICK;
        if self.again {
            // The wheel rounds up.
            wait = 0;
        }
        if again == Again::Now
            && let Some((lane, id)) = self.aim()
        {
            // A failure to send shows as silence.
            let _ = self.run.try_send(lane, id, &mut exchange);
        }
        let order = self.run.seating(wait);
        local.sit(self.ticket.seat(), exchange, order, now, Some(self));
    }

    /// Goes on with what came.
    pub(super) fn heard(self, mut exchange: Box<Exchange>, arrived: Arrived, now: u64) {
        if self.again && is_silence(&arrived) {
            return self.repeat(exchange, now);
        }
        let Self {
            mut run,
            berth,
            ticket,
            upstream,
            began,
            second,
            until: _,
            again: _,
        } = self;
        let stage = match (arrived, second) {
            (
                Arrived::Trouble(Trouble {
                    what: What::Timeout,
                    ..
                }),
                Some(second),
            ) => Stage::Silent(ticket, second),
            (Arrived::Unsent, _) => Stage::Unsent,
            (arrived @ (Arrived::Trouble(_) | Arrived::Nothing), _) => Stage::Heard(arrived),
            (arrived, _)
                if run.retry_truncated
                    && (matches!(arrived, Arrived::TooLarge)
                        || exchange.response().flags().has(Flags::TC)) =>
            {
                Stage::Heard(arrived)
            }
            (arrived, _) => {
                let took = now.saturating_sub(began);
                ticket.local().pools[upstream].beat(|pulse| pulse.replied(took));
                drop(ticket);
                match run.settle(&mut exchange, upstream, took, arrived) {
                    Settled::Done(flow) => {
                        drop(run);
                        berth.land(exchange, Ok(flow));
                    }
                    Settled::More => go_on(run, berth, exchange, None),
                    Settled::Failed(failure) => {
                        drop(run);
                        berth.land(exchange, Err(failure));
                    }
                }
                return;
            }
        };
        let standing = Standing {
            upstream,
            began,
            stage,
        };
        go_on(run, berth, exchange, Some(Box::new(standing)));
    }
}

/// Whether the time was up before a reply came that could be read.
fn is_silence(arrived: &Arrived) -> bool {
    matches!(
        arrived,
        Arrived::Trouble(Trouble {
            what: What::Timeout | What::Malformed,
            ..
        })
    )
}

/// Goes on in a task.
#[cold]
fn go_on(mut run: Run, berth: Berth, exchange: Box<Exchange>, standing: Option<Box<Standing>>) {
    let local = Local::of(run.forward());
    let rest = move |exchange| -> chain::Resolving {
        Box::pin(async move { run.proceed(&local, exchange, standing).await })
    };
    berth.wait(exchange, Box::new(rest));
}
