//! Endpoints in files. Never uses a file that is still being written, or half of one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Desk;
use crate::config::endpoint_file::{self, EndpointFileError};
use crate::config::{Endpoint, EndpointDefaults};
use crate::stamps::Stamps;

/// Between two looks; what changed is read once it looks the same twice.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks after which what could not be read is tried again without a change: names in it may be known
/// by then.
const LOOKS_BEFORE_RETRY: u32 = 10;

type Read = Result<Vec<Endpoint>, EndpointFileError>;

/// Follows a file or a directory of files for ever.
pub(super) async fn follow(desk: &Desk, path: &Path, defaults: &EndpointDefaults) {
    let mut watch = Watch {
        path: path.to_owned(),
        defaults: defaults.clone(),
        stamps: Stamps::default(),
        retry_in: None,
    };
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let read = watch.look();
            (watch, read)
        });
        let read;
        (watch, read) = match looking.await {
            Ok(looked) => looked,
            Err(error) => return desk.failed(format!("its files cannot be looked at: {error}")),
        };
        match read {
            None => {}
            Some(Ok(endpoints)) => desk.found(endpoints),
            Some(Err(error)) => desk.failed(error.to_string()),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

struct Watch {
    path: PathBuf,
    defaults: EndpointDefaults,
    stamps: Stamps,
    /// After how many looks what could not be read is tried again, 0 for never. `None` before the first
    /// reading.
    retry_in: Option<u32>,
}

impl Watch {
    /// Reads if there is something to read. Blocks.
    fn look(&mut self) -> Option<Read> {
        // The directory itself is looked at, too: a file that is gone shows there.
        let files = endpoint_file::files(&self.path).unwrap_or_default();
        let seen: Vec<PathBuf> = std::iter::once(self.path.clone()).chain(files).collect();
        let is_due = match self.retry_in {
            None => {
                self.stamps.take(&seen);
                true
            }
            Some(left) => self.stamps.look(&seen) || left == 1,
        };
        if !is_due {
            self.retry_in = self.retry_in.map(|left| left.saturating_sub(1));
            return None;
        }
        let read = endpoint_file::read(&self.path, &self.defaults);
        self.retry_in = Some(if read.is_err() { LOOKS_BEFORE_RETRY } else { 0 });
        Some(read)
    }
}
