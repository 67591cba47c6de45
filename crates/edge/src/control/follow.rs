//! Reloads when the file has changed, if it shall. Never reads a file that is still being written.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Controller, Origin};
use crate::stamps::{LOOK_INTERVAL, Stamps};

/// Looks at the file until told to stop, also while nobody wants it reloaded: whoever turns that on wants
/// to hear of later changes.
pub(crate) async fn follow(controller: Arc<Controller>, mut stopped: watch::Receiver<bool>) {
    let Some(file) = controller.file().map(|file| file.to_owned()) else {
        // Whoever told us to stop may be gone.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        return;
    };
    let files = Arc::new([file]);
    let mut stamps = Stamps::default();
    loop {
        let looked_at = Arc::clone(&files);
        let edge = Arc::clone(&controller.edge);
        let looking = tokio::task::spawn_blocking(move || {
            edge.sweep();
            edge.forget_gone();
            let is_due = stamps.look(looked_at.as_slice());
            (stamps, is_due)
        });
        let is_due;
        (stamps, is_due) = match looking.await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "the configuration file is not watched any more");
                return;
            }
        };
        if is_due && controller.edge.snapshot.load().watches_file {
            // It is told where it happens.
            let _ = controller.reload(Origin::File).await;
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}
