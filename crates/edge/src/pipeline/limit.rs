//! Phase 5: how often and how many at once. Limits whose keys need no token are asked before it is read, so that bad
//! tokens count, too. Never remembers anything: that is `rate_limit`'s.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method};
use portcullis_traffic::rate::{Rate, Verdict};
use portcullis_traffic::route::{normalize_host, plain_path};

use super::authorize::Principal;
use super::head::{Fields, Head, HeaderEdit};
use super::rehearsal::AskedLimit;
use super::select::{cookie, parameter};
use super::{Answer, Exchange};
use crate::config::{KeyPart, LimitFields, RateLimitId};
use crate::outcome::Cause;
use crate::rate_limit::{Given, Limiter, Place, Question, Refused, whole_seconds};
use crate::state::{RouteId, Snapshot};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// When limits are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    BeforeToken,
    AfterToken,
}

/// What limits said of one request.
#[derive(Debug, Default)]
pub(super) struct Limited {
    /// Given back when the request ends.
    places: Vec<Place>,
    /// The strictest verdict, of the limit at this position.
    strictest: Option<(usize, Verdict)>,
    /// Limits that clients are told of, with the rate that holds for this one.
    told: Vec<(usize, Rate)>,
    /// Who refused it, or would have.
    by: Option<usize>,
}

impl Limited {
    /// The request is over.
    pub(super) fn leave(&mut self) {
        self.places.clear();
    }

    /// The limit that refused the request, or would have.
    pub(super) fn by<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s str> {
        snapshot.limiter(self.by?).map(Limiter::name)
    }

    fn tell(&mut self, position: usize, rate: Option<Rate>, verdict: Option<Verdict>) {
        let (Some(rate), Some(verdict)) = (rate, verdict) else {
            return;
        };
        self.told.push((position, rate));
        let rank = |verdict: &Verdict| (verdict.retry_after, std::cmp::Reverse(verdict.remaining));
        let is_stricter = |(_, known): &(usize, Verdict)| rank(&verdict) > rank(known);
        if self.strictest.as_ref().is_none_or(is_stricter) {
            self.strictest = Some((position, verdict));
        }
    }

    /// Appends what the client is told.
    pub(super) fn append(&self, snapshot: &Snapshot, edits: &mut Vec<HeaderEdit>) {
        let Some((position, verdict)) = self.strictest else {
            return;
        };
        let Some(strictest) = snapshot.limiter(position) else {
            return;
        };
        let mut set = |name: HeaderName, value: HeaderValue| {
            edits.push(HeaderEdit::Set(name, value));
        };
        let announced = &strictest.announced;
        let fields = strictest.policy.fields;
        if matches!(fields, LimitFields::Draft | LimitFields::Both) {
            let policies = self.told.iter().filter_map(|(position, rate)| {
                let limiter = snapshot.limiter(*position)?;
                limiter.announced.policy(*rate)
            });
            if let Some(policies) = list(policies) {
                set(POLICY, policies);
            }
            if let Some(left) = announced.left(&verdict) {
                set(LEFT, left);
            }
        }
        if matches!(fields, LimitFields::Classic | LimitFields::Both) {
            set(LIMIT, announced.limit(&verdict));
            set(REMAINING, verdict.remaining.into());
            set(RESET, whole_seconds(verdict.reset_after).into());
        }
    }
}

/// The limits that are asked at a stage, with their positions.
fn of_stage(
    snapshot: &Snapshot,
    listener: usize,
    route: RouteId,
    stage: Stage,
) -> impl Iterator<Item = (usize, &Limiter)> {
    let needs_token = stage == Stage::AfterToken;
    let limits = snapshot.rate_limits_of(listener, route);
    limits.filter_map(move |RateLimitId(position)| {
        let limiter = snapshot.limiter(position)?;
        (limiter.policy.needs_token() == needs_token).then_some((position, limiter))
    })
}

/// One field of several items.
fn list(mut items: impl Iterator<Item = HeaderValue>) -> Option<HeaderValue> {
    let first = items.next()?;
    let Some(second) = items.next() else {
        return Some(first);
    };
    let mut text = first.as_bytes().to_vec();
    for item in std::iter::once(second).chain(items) {
        text.extend_from_slice(b", ");
        text.extend_from_slice(item.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

impl Exchange {
    /// Asks every limit of this stage; if one refuses, the request counts at none of them. `Err` is the answer to send
    /// now.
    pub(super) fn limit(
        &mut self,
        route: RouteId,
        head: &impl Head,
        stage: Stage,
    ) -> Result<(), Answer> {
        let listener = self.connection.listener.index;
        if of_stage(&self.snapshot, listener, route, stage)
            .next()
            .is_none()
        {
            return Ok(());
        }
        let snapshot = Arc::clone(&self.snapshot);
        let mut taken: Vec<(&Limiter, Question)> = Vec::new();
        for (position, limiter) in of_stage(&snapshot, listener, route, stage) {
            if self.is_exempt(limiter, head, &snapshot) {
                self.count(&limiter.metrics.exempt);
                self.note_limit(position, None);
                continue;
            }
            let question = self.question(limiter, route, head, &snapshot);
            match self.ask_limit(limiter, position, &question) {
                Ok(given) => {
                    self.limited.places.extend(given.place);
                    if limiter.policy.fields != LimitFields::Off && !limiter.policy.is_dry_run {
                        self.limited.tell(position, question.rate, given.verdict);
                    }
                    taken.push((limiter, question));
                }
                Err(refused) => {
                    self.limited.by.get_or_insert(position);
                    let is_dry_run = limiter.policy.is_dry_run;
                    let metrics = &limiter.metrics;
                    self.count(match (refused, is_dry_run) {
                        (Refused::Rate(_), false) => &metrics.rate,
                        (Refused::Rate(_), true) => &metrics.would_rate,
                        (Refused::Concurrency, false) => &metrics.concurrency,
                        (Refused::Concurrency, true) => &metrics.would_concurrency,
                    });
                    if !is_dry_run {
                        self.give_back_limits(&taken);
                        self.limited.by = Some(position);
                        return Err(self.refuse_limited(limiter, position, &question, refused));
                    }
                }
            }
        }
        for (limiter, _) in taken {
            self.count(&limiter.metrics.admitted);
        }
        Ok(())
    }

    /// Takes, unless it is a rehearsal.
    fn ask_limit(
        &mut self,
        limiter: &Limiter,
        position: usize,
        question: &Question,
    ) -> Result<Given, Refused> {
        if !self.is_rehearsed() {
            return limiter.take(question);
        }
        let peeked = limiter.peek(question);
        let verdict = match &peeked {
            Ok(given) => given.verdict,
            Err(Refused::Rate(verdict)) => Some(*verdict),
            Err(Refused::Concurrency) => None,
        };
        let asked = AskedLimit {
            is_admitted: peeked.is_ok(),
            verdict,
            rate: question.rate,
            cost: question.cost,
            running: limiter.open(question).map(|_| limiter.running(question)),
            may_run: limiter.open(question),
        };
        self.note_limit(position, Some(asked));
        peeked
    }

    fn give_back_limits(&self, taken: &[(&Limiter, Question)]) {
        if self.is_rehearsed() {
            return;
        }
        for (limiter, question) in taken {
            limiter.give_back(question);
        }
    }

    fn refuse_limited(
        &mut self,
        limiter: &Limiter,
        position: usize,
        question: &Question,
        refused: Refused,
    ) -> Answer {
        self.limited.leave();
        let (cause, wait) = match refused {
            Refused::Rate(verdict) => {
                if limiter.policy.fields != LimitFields::Off {
                    self.limited.tell(position, question.rate, Some(verdict));
                }
                (Cause::RateLimited, verdict.retry_after)
            }
            Refused::Concurrency => (Cause::ConcurrencyLimited, Duration::ZERO),
        };
        self.on_failure(cause)
            .retry_after(whole_seconds(wait).max(1))
    }

    fn is_exempt(&self, limiter: &Limiter, head: &impl Head, snapshot: &Snapshot) -> bool {
        let policy = &limiter.policy;
        let Some(request) = &self.request else {
            return false;
        };
        let is_check = policy.exempts_health_checks
            && matches!(*head.method(), Method::GET | Method::HEAD)
            && snapshot.is_health_path(head.path());
        let mut networks = policy.exempt.iter();
        is_check || networks.any(|network| network.contains(&request.client))
    }

    fn question(
        &self,
        limiter: &Limiter,
        route: RouteId,
        head: &impl Head,
        snapshot: &Snapshot,
    ) -> Question {
        let policy = &limiter.policy;
        let mut hasher = limiter.hasher();
        for part in &policy.key {
            match self.part(part, route, head, snapshot) {
                Some(value) => {
                    hasher.write_usize(value.len());
                    hasher.write(&value);
                }
                None => {
                    // No text is as long.
                    hasher.write_usize(usize::MAX);
                    let client = self.request.as_ref().map(|request| request.client);
                    hasher.write(&client.map(|ip| limiter.client(ip)).unwrap_or_default());
                }
            }
        }
        let tier = policy.tiers.as_ref().and_then(|tiers| {
            let value = self.part(&tiers.by, route, head, snapshot)?;
            let is_it = |(name, _): &&(String, Rate)| {
                let mut words = value.split(|byte| *byte == b',');
                words.any(|word| word.trim_ascii() == name.as_bytes())
            };
            tiers.rates.iter().find(is_it).map(|(_, rate)| *rate)
        });
        let path = plain_path(head.path());
        let cost = policy.costs.iter().find(|cost| {
            let has_method = cost.methods.is_empty() || cost.methods.contains(head.method());
            has_method && cost.path.matches(&path)
        });
        Question {
            key: hasher.finish(),
            rate: tier.or(policy.rate),
            cost: cost.map_or(1, |cost| cost.cost),
            reserve: policy.reserve(snapshot.route(route).criticality),
            now: self.started,
        }
    }

    /// `None` where the request has nothing of the kind, and for its address, of which each limit takes another part.
    fn part<'h>(
        &'h self,
        part: &KeyPart,
        route: RouteId,
        head: &'h impl Head,
        snapshot: &'h Snapshot,
    ) -> Option<std::borrow::Cow<'h, [u8]>> {
        use std::borrow::Cow;
        let found = match part {
            KeyPart::ClientAddress => return None,
            KeyPart::All => Cow::Borrowed(&b"all"[..]),
            KeyPart::Route => Cow::Borrowed(snapshot.route(route).name.as_bytes()),
            KeyPart::Host => {
                let host = normalize_host(head.authority()?).to_ascii_lowercase();
                Cow::Owned(host.into_bytes())
            }
            KeyPart::Path => Cow::Owned(plain_path(head.path()).into_owned().into_bytes()),
            KeyPart::Header(name) => Cow::Borrowed(head.fields().first(name)?.trim_ascii()),
            KeyPart::Query(name) => Cow::Borrowed(parameter(head.query()?, name)?.as_bytes()),
            KeyPart::Cookie(name) => Cow::Borrowed(cookie(head.fields(), name)?),
            KeyPart::Claim(name) => Cow::Borrowed(self.claim(name, route, snapshot)?),
        };
        (!found.is_empty()).then_some(found)
    }

    fn claim(&self, name: &str, route: RouteId, snapshot: &Snapshot) -> Option<&[u8]> {
        let Principal::Verified(passport) = &self.principal else {
            return None;
        };
        let auth = snapshot.route(route).auth.as_ref()?;
        let issuer = snapshot.issuers.get(auth.issuer.0)?;
        let value = match name {
            "sub" => Some(&passport.subject),
            "client_id" => passport.client.as_ref(),
            "sid" => passport.session.as_ref(),
            "roles" => passport.roles.as_ref(),
            _ => {
                let position = issuer.position_of_claim(name)?;
                passport.others.get(position)?.as_ref()
            }
        };
        value.map(HeaderValue::as_bytes)
    }
}
