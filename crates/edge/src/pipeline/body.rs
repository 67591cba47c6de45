//! How a request body arrives: its size and its pace. Never holds against the client the time in
//! which nobody was ready to read from it.

use std::time::{Duration, Instant};

use crate::config::{ClientTimeouts, Limits};
use crate::outcome::Cause;

/// What has arrived of one request body, and how long it was waited for.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: u64,
    /// Something of it has arrived, if only framing.
    has_begun: bool,
    /// Since when the engine waits for more; `None` while it is busy with what it has.
    waiting_since: Option<Instant>,
    /// All waiting after the first byte. Before it only silence is bounded: the client may have
    /// asked to be told to go on first.
    waited: Duration,
}

impl Body {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The engine waits for more from now on, unless it does so already. Until when it may: the
    /// body falls silent or below the least rate then.
    pub(super) fn wait(
        &mut self,
        limits: &Limits,
        timeouts: &ClientTimeouts,
        now: Instant,
    ) -> Instant {
        let since = *self.waiting_since.get_or_insert(now);
        let silent = since + timeouts.body;
        if !self.has_begun {
            return silent;
        }
        let left = self.patience(limits, timeouts).saturating_sub(self.waited);
        since
            .checked_add(left)
            .map_or(silent, |slow| slow.min(silent))
    }

    /// Bytes have arrived, which ends the waiting.
    pub(super) fn receive(
        &mut self,
        bytes: usize,
        limits: &Limits,
        timeouts: &ClientTimeouts,
        now: Instant,
    ) -> Result<(), Cause> {
        if let Some(since) = self.waiting_since.take()
            && self.has_begun
        {
            self.waited += now.saturating_duration_since(since);
        }
        self.has_begun = true;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes > limits.body_bytes {
            Err(Cause::BodyTooLarge)
        } else if self.waited > self.patience(limits, timeouts) {
            Err(Cause::BodyTimeout)
        } else {
            Ok(())
        }
    }

    /// How long the bytes so far may have been waited for. An average says nothing at first; who
    /// has less patience with silence has less with a trickle, too.
    fn patience(&self, limits: &Limits, timeouts: &ClientTimeouts) -> Duration {
        let earned_ms = self
            .bytes
            .saturating_mul(1_000)
            .checked_div(limits.body_rate);
        let earned = earned_ms.map_or(Duration::MAX, Duration::from_millis);
        earned.max(GRACE_MAX.min(timeouts.body))
    }
}

const GRACE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body that should come at 100 bytes a second, and its clock. Silence may last 30 seconds.
    struct Client {
        body: Body,
        limits: Limits,
        timeouts: ClientTimeouts,
        now: Instant,
    }

    impl Client {
        fn new() -> Self {
            let listener = fake::listener("web");
            let limits = Limits {
                body_rate: 100,
                ..listener.limits
            };
            Self {
                body: Body::default(),
                limits,
                timeouts: listener.timeouts,
                now: Instant::now(),
            }
        }

        /// For how long the engine may wait from now on.
        fn wait(&mut self) -> Duration {
            self.body.wait(&self.limits, &self.timeouts, self.now) - self.now
        }

        /// The client takes this long to send these bytes.
        fn send(&mut self, bytes: usize, after: Duration) -> Result<(), Cause> {
            self.wait();
            self.now += after;
            self.receive(bytes)
        }

        fn receive(&mut self, bytes: usize) -> Result<(), Cause> {
            self.body
                .receive(bytes, &self.limits, &self.timeouts, self.now)
        }
    }

    #[test]
    fn trickle_ends_when_the_grace_is_over() {
        let mut client = Client::new();
        client.send(1, 5 * SECOND).unwrap();
        for _ in 0..10 {
            assert_eq!(client.send(1, SECOND), Ok(()));
        }
        assert_eq!(client.send(1, SECOND), Err(Cause::BodyTimeout));
    }

    #[test]
    fn framing_without_a_byte_of_body_is_a_trickle_too() {
        let mut client = Client::new();
        client.send(0, 5 * SECOND).unwrap();
        assert_eq!(client.send(0, 9 * SECOND), Ok(()));
        assert_eq!(client.wait(), SECOND, "what is left of the grace");
        assert_eq!(client.send(0, 2 * SECOND), Err(Cause::BodyTimeout));
    }

    #[test]
    fn deadline_is_the_instant_at_which_the_rate_fails() {
        let mut client = Client::new();
        client.send(1, SECOND).unwrap();
        assert_eq!(client.wait(), 10 * SECOND, "grace");
        client.send(1_199, 8 * SECOND).unwrap();
        assert_eq!(client.wait(), 4 * SECOND, "1,200 bytes are worth 12 s");
        client.now += 3 * SECOND;
        assert_eq!(client.wait(), SECOND, "asked again, it is the same instant");
        client.now += SECOND;
        assert_eq!(client.receive(1), Ok(()), "just in time");
    }

    #[test]
    fn silence_is_bounded_however_fast_the_body_was() {
        let mut client = Client::new();
        assert_eq!(client.wait(), 30 * SECOND, "before the first byte");
        client.send(1_000_000, 20 * SECOND).unwrap();
        assert_eq!(client.wait(), 30 * SECOND);
        client.now += 10 * SECOND;
        assert_eq!(client.wait(), 20 * SECOND);
    }

    #[test]
    fn time_in_which_nobody_reads_is_not_the_clients() {
        let mut client = Client::new();
        client.send(1, SECOND).unwrap();
        for _ in 0..60 {
            // The endpoint takes a minute for what it got before the engine waits again.
            client.now += 60 * SECOND;
            assert_eq!(client.send(1, Duration::from_millis(100)), Ok(()));
        }
    }

    #[test]
    fn bytes_that_were_there_already_need_no_waiting() {
        let mut client = Client::new();
        client.receive(1).unwrap();
        client.now += 60 * SECOND;
        assert_eq!(client.receive(1), Ok(()));
    }

    #[test]
    fn rate_of_zero_allows_any() {
        let mut client = Client::new();
        client.limits.body_rate = 0;
        for _ in 0..1_000 {
            assert_eq!(client.send(1, 29 * SECOND), Ok(()));
        }
        assert_eq!(client.wait(), 30 * SECOND);
    }

    #[test]
    fn little_patience_with_silence_is_little_grace() {
        let mut client = Client::new();
        client.timeouts.body = 2 * SECOND;
        client.send(1, SECOND).unwrap();
        client.send(1, SECOND).unwrap();
        client.send(1, SECOND).unwrap();
        assert_eq!(client.send(1, SECOND), Err(Cause::BodyTimeout));
    }

    #[test]
    fn size_is_bounded_whatever_the_pace() {
        let mut client = Client::new();
        let limit = client.limits.body_bytes as usize;
        assert_eq!(client.receive(limit), Ok(()));
        assert_eq!(client.receive(1), Err(Cause::BodyTooLarge));
        assert_eq!(client.body.bytes(), limit as u64 + 1);
    }
}
