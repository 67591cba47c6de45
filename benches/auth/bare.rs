//! What the work of auth costs by itself: the same hash and the same signatures in this process, on as many threads as
//! auth has for it. Never through a socket.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use portcullis_testkit::machine::this_threads_nanoseconds;
use portcullis_token::{
    Claims, Jwks, KeySet, SigningKey, Skew, TokenType, Verified, Verifier, sign,
};

use crate::load::Done;

/// The defaults of auth: memory in KiB, passes, lanes.
const HASH_COST: (u32, u32, u32) = (19456, 2, 1);
/// Between two looks at the clock.
const BATCH: u64 = 32;

/// What an instance issues and publishes, to be checked and made here too.
pub(crate) struct Sample {
    verifier: Verifier,
    keys: KeySet,
    token: String,
    claims: Claims,
    now: i64,
    /// Of our own, since an instance keeps its private ones.
    signing: SigningKey,
}

impl Sample {
    /// Takes a good access token and the keys it was signed by.
    pub(crate) fn of(issuer: &str, token: &str, jwks: &[u8], now: i64) -> Result<Sample> {
        let keys = KeySet::from_jwks(&Jwks::parse(jwks)?);
        let verifier = Verifier {
            issuer: issuer.to_owned(),
            audience: issuer.to_owned(),
            token_type: TokenType::AccessToken,
            skew: Skew::DEFAULT,
        };
        let verified = verifier.verify(token, &keys, now);
        let Verified { claims, .. } = verified.context("the token of a login")?;
        let (signing, _) = SigningKey::generate(portcullis_token::Algorithm::Rs256)?;
        Ok(Sample {
            verifier,
            keys,
            token: token.to_owned(),
            claims,
            now,
            signing,
        })
    }

    pub(crate) fn verifications(&self, threads: usize, duration: Duration) -> Result<Done> {
        at_once(threads, duration, || {
            for _ in 0..BATCH {
                let verified = self
                    .verifier
                    .verify(black_box(&self.token), &self.keys, self.now);
                black_box(verified.is_ok());
            }
            BATCH
        })
    }

    pub(crate) fn signatures(&self, threads: usize, duration: Duration) -> Result<Done> {
        at_once(threads, duration, || {
            let token = sign(
                &self.signing,
                TokenType::AccessToken,
                black_box(&self.claims),
            );
            black_box(token.is_ok());
            1
        })
    }
}

/// Memory is reused from hash to hash, as it is best.
pub(crate) fn hashes(threads: usize, duration: Duration) -> Result<Done> {
    let (memory, passes, lanes) = HASH_COST;
    let params =
        Params::new(memory, passes, lanes, Some(32)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    at_once_with(
        threads,
        duration,
        || vec![Block::new(); params.block_count()],
        |memory| {
            let mut tag = [0; 32];
            let (password, salt) = (b"correct horse battery staple", b"0123456789abcdef");
            let hashed =
                argon2.hash_password_into_with_memory(password, salt, &mut tag, &mut memory[..]);
            black_box((hashed.is_ok(), tag));
            1
        },
    )
}

fn at_once(threads: usize, duration: Duration, work: impl Fn() -> u64 + Sync) -> Result<Done> {
    at_once_with(threads, duration, || (), |()| work())
}

/// Repeats `work` on so many threads, and adds up.
fn at_once_with<S>(
    threads: usize,
    duration: Duration,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S) -> u64 + Sync,
) -> Result<Done> {
    let one = || -> Result<Done> {
        let mut state = state();
        // Fresh memory and cold caches are nobody's steady state.
        work(&mut state);
        let before = this_threads_nanoseconds()?;
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed() < duration {
            count += work(&mut state);
        }
        Ok(Done {
            count,
            seconds: started.elapsed().as_secs_f64(),
            cpu_nanoseconds: this_threads_nanoseconds()? - before,
        })
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let done = running
            .into_iter()
            .map(|thread| thread.join().expect("arithmetic does not panic"));
        Done::sum(done)
    })
}
