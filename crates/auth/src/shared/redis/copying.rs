//! Copies of the store's revocations into one Redis. Never lets a marker be set by a copy that began at another process,
//! or before something was forgotten.

use super::entries::Entry;
use super::facts::Facts;
use super::{BATCH, RedisShared, bad, unavailable};
use crate::domain::{Revocation, UnixMillis};
use crate::shared::{Copying, SharedResult};

/// How long a copy of everything may take; then it begins again.
const COPY_SECONDS: u64 = 600;

impl RedisShared {
    /// Writes revocations, a bite at a time.
    pub(super) async fn write(
        &self,
        revocations: &[Revocation],
        now: UnixMillis,
    ) -> SharedResult<()> {
        for batch in revocations.chunks(BATCH) {
            let mut keys = Vec::with_capacity(batch.len());
            let mut arguments = Vec::with_capacity(2 * batch.len() + 1);
            arguments.push(now.0.to_string());
            for entry in batch.iter().map(|of| Entry::of(of, &self.keys)) {
                keys.push(entry.key);
                arguments.extend([entry.cut.to_string(), entry.until.to_string()]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let script = &self.scripts.revoke;
            self.invoke::<()>("sharing a revocation", script, &keys, &arguments)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn begin(&self) -> SharedResult<Copying> {
        const DOING: &str = "beginning a copy of the revocations";
        let doubts = self.trust.doubts();
        // The second key never exists: where the slot is on the move, that is refused as every lookup is.
        let mut get = redis::cmd("MGET");
        get.arg(&self.keys.loaded).arg(self.keys.loading(""));
        let (found, facts) = self.query::<Vec<Option<String>>>(DOING, &get).await?;
        if facts.forgets() {
            return Err(unavailable(DOING, "this Redis may evict revocations"));
        }
        let marker = found
            .into_iter()
            .next()
            .ok_or_else(|| bad(DOING, "answer"))?;
        let target = facts.name.clone();
        let nonce = match marker {
            Some(marker) if marker == target && !self.trust.is_behind() => None,
            _ => {
                let nonce = format!("{:032x}", u128::from_le_bytes(crate::random::bytes()));
                let mut set = redis::cmd("SET");
                set.arg(self.keys.loading(&nonce))
                    .arg(1)
                    .arg("EX")
                    .arg(COPY_SECONDS);
                self.query::<()>(DOING, &set).await?;
                Some(nonce)
            }
        };
        Ok(Copying {
            nonce,
            target,
            doubts,
            parts: Vec::new(),
        })
    }

    pub(super) async fn finish(&self, copying: Copying) -> SharedResult<bool> {
        if let Some(nonce) = &copying.nonce {
            let keys = [self.keys.loading(nonce), self.keys.loaded.clone()];
            let told = Facts::told_by(&copying.target);
            let mut arguments = vec![copying.target.as_str()];
            arguments.extend(told.iter().map(String::as_str));
            let doing = "finishing a copy of the revocations";
            let script = &self.scripts.finish;
            let done: i64 = self.invoke(doing, script, &keys, &arguments).await?;
            if done < 0 {
                // It is not what it said of itself when it was connected to.
                self.lanes.reconnect(&copying.target);
            }
            if done <= 0 {
                return Ok(false);
            }
            self.trust.catch_up(copying.doubts);
        }
        self.trust.settle(copying.doubts);
        Ok(self.trust.is_whole())
    }
}
