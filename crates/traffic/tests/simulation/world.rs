//! The world around the decisions: a clock, clients, probes. Never does what the crate does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::queue::Ticket;
use portcullis_traffic::retry::{self, Backoff, Budget, Decision, Failure, RetryInput};

use crate::client::{BACK_OFF, Request, THINK_TIME, Totals};
use crate::cluster::{Cluster, Place};
use crate::endpoint::{Condition, Ending, Endpoint};
use crate::settings::Settings;
use crate::weather::random_member;

/// What happens next, and to whom.
#[derive(Clone, Debug)]
enum Event {
    Arrival {
        client: usize,
    },
    Retry {
        client: usize,
    },
    /// Who was called comes for its place.
    Comes {
        ticket: Ticket,
    },
    /// The deadline, or the client is gone.
    StopsWaiting {
        ticket: Ticket,
    },
    AttemptEnds {
        client: usize,
        id: EndpointId,
        ending: Option<Ending>,
        latency: Duration,
    },
    Probe {
        endpoint: usize,
    },
    Weather,
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) rng: fastrand::Rng,
    pub(crate) origin: Instant,
    pub(crate) clock: Duration,
    /// By time, then by order of being planned.
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) cluster: Cluster,
    requests: Vec<Request>,
    waiting: HashMap<Ticket, usize>,
    budget: Arc<Budget>,
    pub(crate) weather_interval: Option<Duration>,
    totals: Totals,
}

impl World {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        let (mut rng, origin) = (fastrand::Rng::with_seed(seed), Instant::now());
        let ids = 0..u32::try_from(settings.endpoints).expect("few");
        let members: Vec<_> = ids
            .map(|id| random_member(&settings, id, &mut rng))
            .collect();
        let mut world = Self {
            cluster: Cluster::new(&settings, members.clone(), origin),
            endpoints: members.into_iter().map(Endpoint::new).collect(),
            rng,
            origin,
            clock: Duration::ZERO,
            events: BTreeMap::new(),
            planned: 0,
            requests: (0..settings.clients).map(|_| Request::default()).collect(),
            waiting: HashMap::new(),
            budget: Arc::default(),
            weather_interval: None,
            totals: Totals::default(),
            settings,
        };
        (0..world.endpoints.len()).for_each(|endpoint| world.plan_probe(endpoint));
        for client in 0..world.requests.len() {
            world.plan(THINK_TIME, Event::Arrival { client });
        }
        world
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn served(&self) -> Vec<u64> {
        self.endpoints
            .iter()
            .map(|endpoint| endpoint.served)
            .collect()
    }

    pub(crate) fn set(&mut self, endpoint: usize, condition: Condition) {
        self.endpoints[endpoint].condition = condition;
    }

    pub(crate) fn change_weather_every(&mut self, interval: Duration) {
        self.weather_interval = Some(interval);
        self.plan(interval, Event::Weather);
    }

    pub(crate) fn play_for(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.clock = at;
            let is_over = self.cluster.containment.next_change();
            if is_over.is_some_and(|next| next <= self.now()) {
                self.cluster.tick(self.now());
            }
            self.happen(event);
            if self.cluster.take_room() {
                let called = self.cluster.call(self.now());
                self.wake(called);
            }
            self.cluster.check_books(self.now());
        }
        self.clock = end;
        self.check_clients();
    }

    pub(crate) fn now(&self) -> Instant {
        self.origin + self.clock
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.events
            .insert((self.clock + after, self.planned), event);
    }

    pub(crate) fn plan_probe(&mut self, endpoint: usize) {
        self.plan(Duration::ZERO, Event::Probe { endpoint });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { client } => {
                let bound_percent = self.settings.bound_percent;
                self.requests[client] = Request::new(&mut self.rng, bound_percent, self.clock);
                self.attempt(client);
            }
            Event::Retry { client } => self.attempt(client),
            Event::Comes { ticket } => self.come(ticket),
            Event::StopsWaiting { ticket } => self.stop_waiting(ticket),
            Event::AttemptEnds {
                client,
                id,
                ending,
                latency,
            } => {
                self.end_attempt(client, id, ending, latency);
            }
            Event::Probe { endpoint } => self.probe(endpoint),
            Event::Weather => {
                if let Some(interval) = self.weather_interval {
                    self.change_weather();
                    self.plan(interval, Event::Weather);
                }
            }
        }
    }

    fn attempt(&mut self, client: usize) {
        let ask = self.requests[client].ask(self.now(), self.rng.u64(..));
        let place = self.cluster.acquire(&ask);
        if let Place::Waits(ticket) = place {
            self.totals.waited += 1;
            self.requests[client].ticket = Some(ticket);
            self.waiting.insert(ticket, client);
            let patience = match self.rng.u8(..20) {
                0 if self.weather_interval.is_some() => {
                    self.settings.queue.timeout.mul_f64(self.rng.f64())
                }
                _ => self.settings.queue.timeout,
            };
            return self.plan(patience, Event::StopsWaiting { ticket });
        }
        self.go_on(client, place);
    }

    fn come(&mut self, ticket: Ticket) {
        let Some(client) = self.waiting.get(&ticket).copied() else {
            return;
        };
        let ask = self.requests[client].ask(self.now(), self.rng.u64(..));
        let (place, next) = self.cluster.come(ticket, &ask);
        if !matches!(place, Place::Waits(_)) {
            self.waiting.remove(&ticket);
            self.requests[client].ticket = None;
        }
        self.go_on(client, place);
        self.wake(next);
    }

    fn stop_waiting(&mut self, ticket: Ticket) {
        if let Some(client) = self.waiting.remove(&ticket) {
            self.requests[client].ticket = None;
            let next = self.cluster.leave(ticket, self.now());
            self.wake(next);
            self.end_request(client, false);
        }
    }

    fn wake(&mut self, called: Option<Ticket>) {
        if let Some(ticket) = called {
            self.plan(self.settings.wake_time, Event::Comes { ticket });
        }
    }

    fn go_on(&mut self, client: usize, place: Place) {
        match place {
            Place::Waits(_) => {}
            Place::Refused => self.end_request(client, false),
            Place::Taken(id) => self.begin_attempt(client, id),
        }
    }

    fn begin_attempt(&mut self, client: usize, id: EndpointId) {
        self.totals.attempts += 1;
        let request = &mut self.requests[client];
        request.attempts += 1;
        request.tried.push(id);
        let endpoint = &self.endpoints[id.0 as usize];
        let (latency, ending) = endpoint.respond(&mut self.rng);
        // Some clients leave in the middle.
        let is_abandoned = self.weather_interval.is_some() && self.rng.u8(..50) == 0;
        let (after, ending) = match is_abandoned {
            true => (latency / 2, None),
            false => (latency, Some(ending)),
        };
        self.plan(
            after,
            Event::AttemptEnds {
                client,
                id,
                ending,
                latency,
            },
        );
    }

    fn end_attempt(
        &mut self,
        client: usize,
        id: EndpointId,
        ending: Option<Ending>,
        latency: Duration,
    ) {
        use portcullis_traffic::containment::Trouble;
        let endpoint = &mut self.endpoints[id.0 as usize];
        let was_killed = endpoint.condition == Condition::Refusing;
        let ending = ending.map(|ending| match ending {
            Ok(()) if was_killed => Err((Trouble::Reset, Failure::Reset)),
            other => other,
        });
        endpoint.served += u64::from(matches!(ending, Some(Ok(()))));
        let has_head = matches!(ending, Some(Ok(()) | Err((_, Failure::Status(_)))));
        let result = ending
            .clone()
            .map(|ending| ending.map_err(|(trouble, _)| trouble));
        let now = self.now();
        self.cluster
            .release(id, has_head.then_some(latency), result, now);
        let called = self.cluster.call(now);
        self.wake(called);
        match ending {
            Some(Ok(())) => self.end_request(client, true),
            Some(Err((_, failure))) => self.consider_retry(client, failure),
            None => self.end_request(client, false),
        }
    }

    fn consider_retry(&mut self, client: usize, failure: Failure) {
        let request = &mut self.requests[client];
        request.permit = None;
        request.unconnected += u32::from(failure == Failure::Connect);
        let has_alternative = self.cluster.selector.has_untried(&request.tried);
        let mut eligible = self.cluster.witness.eligible();
        let is_there = eligible.any(|seen| !request.tried.contains(&seen.member.id));
        assert_eq!(has_alternative, is_there, "untried of {:?}", request.tried);
        drop(eligible);
        let input = RetryInput {
            failure,
            is_idempotent: request.is_idempotent,
            has_idempotency_key: false,
            body_replayable: true,
            response_started: false,
            attempts: request.attempts,
            unconnected: request.unconnected,
            max_retries: self.settings.max_retries,
            has_alternative,
            retry_after: None,
        };
        let decision = retry::decide(&input, &Backoff::default(), self.rng.u64(..));
        if let Decision::Retry { wait } = decision {
            let is_safe = failure == Failure::Connect || request.is_idempotent;
            let counted = request.attempts - request.unconnected.min(retry::UNCONNECTED_MAX);
            let allowed = self.settings.max_retries;
            assert!(is_safe && allowed > 0 && counted <= allowed, "{input:?}");
            let active = u32::try_from(self.settings.clients).expect("few");
            request.permit = self.budget.take(&self.settings.budget, active);
            if request.permit.is_some() {
                return self.plan(wait, Event::Retry { client });
            }
        }
        self.end_request(client, false);
    }

    fn end_request(&mut self, client: usize, is_served: bool) {
        let request = &mut self.requests[client];
        request.permit = None;
        if is_served {
            self.totals.times.push(self.clock - request.since);
            return self.plan(THINK_TIME, Event::Arrival { client });
        }
        self.totals.failed += 1;
        self.totals.failed_idempotent += u64::from(request.is_idempotent);
        self.plan(BACK_OFF, Event::Arrival { client });
    }

    fn probe(&mut self, position: usize) {
        let endpoint = &self.endpoints[position];
        if !endpoint.is_member {
            return;
        }
        let (id, now) = (endpoint.member.id, self.now());
        for check in 0..self.settings.policy.checks.len() {
            let answer = endpoint.answer_probe();
            self.cluster
                .tell(now, |it| it.probed(id, check, answer, now));
        }
        if endpoint.condition == Condition::Leaving {
            self.cluster.tell(now, |it| it.announced_draining(id, now));
        }
        self.plan(
            self.settings.probe_interval,
            Event::Probe { endpoint: position },
        );
    }

    /// Every client waits for exactly one thing, and endpoints are charged for what they work on.
    fn check_clients(&self) {
        let count = |is: fn(&Event) -> bool| self.events.values().filter(|e| is(e)).count();
        let thinking = count(|e| matches!(e, Event::Arrival { .. } | Event::Retry { .. }));
        let working = count(|e| matches!(e, Event::AttemptEnds { .. }));
        assert_eq!(thinking + working + self.waiting.len(), self.requests.len());
        assert_eq!(self.cluster.selector.total_in_flight() as usize, working);
    }
}
