//! The world around the decisions: a clock, clients in a closed loop, probes, an operator. Does
//! what the edge does around the crate, never what the crate does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portcullis_traffic::balance::{Balancer, Candidate};
use portcullis_traffic::eject::may_eject;
use portcullis_traffic::health::Observation;
use portcullis_traffic::retry::{self, Backoff, Decision, Failure, RetryInput};

use crate::endpoint::{CONDITIONS, Condition, Endpoint};
use crate::settings::Settings;
use crate::witness::{Stretch, check_ejection, check_retry};

/// How long a client waits before its next request.
const THINK_TIME: Duration = Duration::from_millis(1);

/// And after a failure, lest a refusing cluster fill the simulation with nothing else.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What happens next, and to whom.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrival {
        client: usize,
    },
    AttemptEnds {
        client: usize,
        endpoint: usize,
        failure: Option<Failure>,
    },
    Probe {
        endpoint: usize,
    },
    Weather,
}

/// The request a client waits for.
#[derive(Clone, Debug, Default)]
struct Request {
    is_idempotent: bool,
    attempts: u32,
    tried: Vec<usize>,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) picks: u64,
    pub(crate) failed: u64,
    pub(crate) failed_idempotent: u64,
}

pub(crate) struct World {
    settings: Settings,
    rng: fastrand::Rng,
    origin: Instant,
    clock: Duration,
    /// By time, then by order of being planned.
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    endpoints: Vec<Endpoint>,
    balancer: Balancer,
    requests: Vec<Request>,
    stretch: Stretch,
    weather_interval: Option<Duration>,
    totals: Totals,
}

impl World {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        let endpoints: Vec<_> = settings
            .weights
            .iter()
            .map(|weight| Endpoint::new(*weight, &settings))
            .collect();
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            origin: Instant::now(),
            clock: Duration::ZERO,
            events: BTreeMap::new(),
            planned: 0,
            balancer: (settings.balancer)(endpoints.len()),
            requests: vec![Request::default(); settings.clients],
            stretch: Stretch::default(),
            weather_interval: None,
            totals: Totals::default(),
            endpoints,
            settings,
        };
        for endpoint in 0..world.endpoints.len() {
            world.plan(Duration::ZERO, Event::Probe { endpoint });
        }
        for client in 0..world.requests.len() {
            world.plan(THINK_TIME, Event::Arrival { client });
        }
        world
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn served(&self) -> Vec<u64> {
        self.endpoints.iter().map(|e| e.served).collect()
    }

    pub(crate) fn eligible(&self) -> usize {
        self.endpoints
            .iter()
            .filter(|e| e.is_eligible(self.now()))
            .count()
    }

    pub(crate) fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub(crate) fn set(&mut self, endpoint: usize, condition: Condition) {
        self.endpoints[endpoint].condition = condition;
    }

    pub(crate) fn change_weather_every(&mut self, interval: Duration) {
        self.weather_interval = Some(interval);
        self.plan(interval, Event::Weather);
    }

    pub(crate) fn clear_weather(&mut self) {
        self.weather_interval = None;
        for endpoint in &mut self.endpoints {
            endpoint.condition = Condition::Up;
            endpoint.is_draining = false;
            endpoint.seen.is_drained_by_operator = false;
        }
    }

    pub(crate) fn play_for(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(next) = self.events.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.clock = at;
            self.happen(event);
        }
        self.clock = end;
        self.check_books();
    }

    fn now(&self) -> Instant {
        self.origin + self.clock
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.events
            .insert((self.clock + after, self.planned), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { client } => {
                let is_idempotent = self.rng.bool();
                self.requests[client] = Request {
                    is_idempotent,
                    ..Request::default()
                };
                self.attempt(client);
            }
            Event::AttemptEnds {
                client,
                endpoint,
                failure,
            } => {
                self.end_attempt(client, endpoint, failure);
            }
            Event::Probe { endpoint } => self.probe(endpoint),
            Event::Weather => self.change_weather(),
        }
    }

    fn attempt(&mut self, client: usize) {
        let tried = &self.requests[client].tried;
        let mut candidates = self.candidates(tried);
        if candidates.iter().all(|c| !c.is_eligible) {
            candidates = self.candidates(&[]);
        }
        let picked = self.balancer.pick(&candidates);
        self.stretch.check_pick(&self.balancer, &candidates, picked);
        let Some(endpoint) = picked else {
            return self.end_request(client, false);
        };
        self.totals.picks += 1;
        let request = &mut self.requests[client];
        request.attempts += 1;
        request.tried.push(endpoint);
        let (time, failure) = self.endpoints[endpoint].respond(&mut self.rng);
        self.endpoints[endpoint].in_flight += 1;
        self.plan(
            time,
            Event::AttemptEnds {
                client,
                endpoint,
                failure,
            },
        );
    }

    fn candidates(&self, tried: &[usize]) -> Vec<Candidate> {
        let now = self.now();
        let candidate = |(position, endpoint): (usize, &Endpoint)| {
            let is_eligible = endpoint.is_eligible(now);
            let is_right = endpoint.seen.may_be_picked(self.clock, &self.settings);
            assert_eq!(
                is_eligible, is_right,
                "eligibility of {position}: {:?}",
                endpoint.seen
            );
            let is_eligible = is_eligible && !tried.contains(&position);
            Candidate {
                weight: endpoint.weight,
                in_flight: endpoint.in_flight,
                is_eligible,
            }
        };
        self.endpoints.iter().enumerate().map(candidate).collect()
    }

    fn end_attempt(&mut self, client: usize, endpoint: usize, failure: Option<Failure>) {
        let state = &mut self.endpoints[endpoint];
        state.in_flight -= 1;
        let was_killed = state.condition == Condition::Refusing;
        let Some(failure) = failure.or(was_killed.then_some(Failure::Reset)) else {
            state.ejection.success();
            state.served += 1;
            return self.end_request(client, true);
        };
        self.consider_ejection(endpoint);
        let request = &self.requests[client];
        let input = RetryInput {
            failure,
            is_idempotent: request.is_idempotent,
            has_idempotency_key: false,
            body_replayable: true,
            response_started: false,
            attempts: request.attempts,
            max_retries: self.settings.max_retries,
            has_alternative: true,
            retry_after: None,
        };
        // A chance of 0 waits for nothing, so the next attempt is made at this instant.
        match retry::decide(&input, &Backoff::default(), 0) {
            Decision::Retry { .. } => {
                check_retry(
                    failure,
                    request.is_idempotent,
                    request.attempts,
                    &self.settings,
                );
                self.attempt(client);
            }
            Decision::GiveUp(_) => self.end_request(client, false),
        }
    }

    fn consider_ejection(&mut self, endpoint: usize) {
        let (now, policy) = (self.now(), self.settings.ejection);
        let asks = self.endpoints[endpoint].ejection.failure(now, &policy);
        let out = self.len() - self.eligible();
        // One that is out for another reason already needs no ejection.
        let takes_traffic = self.endpoints[endpoint].is_eligible(now);
        if asks && takes_traffic && may_eject(self.len(), out, &policy) {
            let ejected = &mut self.endpoints[endpoint];
            ejected.ejection.eject(now, &policy);
            ejected.seen.ejected_until = Some(self.clock + policy.duration);
            check_ejection(
                self.eligible(),
                self.len() - self.eligible(),
                &self.settings,
            );
        }
    }

    fn end_request(&mut self, client: usize, is_served: bool) {
        if is_served {
            return self.plan(THINK_TIME, Event::Arrival { client });
        }
        self.totals.failed += 1;
        self.totals.failed_idempotent += u64::from(self.requests[client].is_idempotent);
        self.plan(BACK_OFF, Event::Arrival { client });
    }

    fn probe(&mut self, endpoint: usize) {
        let Some(interval) = self.settings.probe_interval else {
            return;
        };
        let observation = self.endpoints[endpoint].answer_probe();
        self.observe(endpoint, observation);
        self.plan(interval, Event::Probe { endpoint });
    }

    fn observe(&mut self, endpoint: usize, observation: Observation) {
        let state = &mut self.endpoints[endpoint];
        state.health.record(observation, &self.settings.thresholds);
        state.seen.observe(observation, &self.settings);
    }

    fn change_weather(&mut self) {
        let Some(interval) = self.weather_interval else {
            return;
        };
        let chosen = self.rng.usize(..self.len());
        let condition = CONDITIONS[self.rng.usize(..CONDITIONS.len())];
        let endpoint = &mut self.endpoints[chosen];
        match self.rng.u8(..8) {
            0 | 1 => {
                endpoint.is_draining = !endpoint.is_draining;
                endpoint.seen.is_drained_by_operator = endpoint.is_draining;
            }
            // Removed and added again: nothing is known of it, but its old requests still run.
            2 => {
                let (in_flight, served) = (endpoint.in_flight, endpoint.served);
                let fresh = Endpoint::new(endpoint.weight, &self.settings);
                *endpoint = Endpoint {
                    in_flight,
                    served,
                    ..fresh
                };
            }
            _ => endpoint.condition = condition,
        }
        self.plan(interval, Event::Weather);
    }

    /// Every client waits for exactly one thing, and endpoints are charged for what they work on.
    fn check_books(&self) {
        let count = |is: fn(&Event) -> bool| self.events.values().filter(|e| is(e)).count();
        let thinking = count(|e| matches!(e, Event::Arrival { .. }));
        let waiting = count(|e| matches!(e, Event::AttemptEnds { .. }));
        assert_eq!(thinking + waiting, self.requests.len());
        assert_eq!(
            self.endpoints
                .iter()
                .map(|e| e.in_flight as usize)
                .sum::<usize>(),
            waiting
        );
    }
}
