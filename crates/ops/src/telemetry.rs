//! Log lines on standard error, one format and one level for the whole process. Never writes to standard output.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::str::FromStr;
use std::sync::Arc;

pub use tracing::Level;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat),
        }
    }
}

/// Neither `text` nor `json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log format must be `text` or `json`")]
pub struct UnknownFormat;

/// Changes the level of the log of a process that runs.
#[derive(Clone)]
pub struct LogLevel(Option<Arc<dyn Fn(Level) + Send + Sync>>);

impl LogLevel {
    /// One that changes nothing: somebody else decides.
    pub fn fixed() -> Self {
        Self(None)
    }

    /// Lines of this level and above are written from now on.
    pub fn set(&self, level: Level) {
        if let Some(set) = &self.0 {
            set(level);
        }
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel")
    }
}

/// Starts logging for the whole process; lines of crates that use `log` arrive in the same place.
/// Fails if logging was started before.
pub fn init(format: Format, level: Level) -> Result<LogLevel, TryInitError> {
    let (subscriber, level) = subscriber(format, level, stderr().is_terminal(), stderr);
    subscriber.try_init()?;
    Ok(level)
}

fn subscriber<W>(
    format: Format,
    level: Level,
    is_terminal: bool,
    writer: W,
) -> (Box<dyn Subscriber + Send + Sync>, LogLevel)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        // It would tell standard error that standard error cannot be written, and panic when that fails: a full disk
        // behind the log, or a reader that has gone, must not take requests along.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        Format::Text => {
            let builder = builder.with_ansi(is_terminal).with_filter_reloading();
            let level = changing(builder.reload_handle());
            (Box::new(builder.finish()), level)
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            let builder = builder.with_filter_reloading();
            let level = changing(builder.reload_handle());
            (Box::new(builder.finish()), level)
        }
    }
}

fn changing<S: 'static>(filters: Handle<EnvFilter, S>) -> LogLevel {
    // It fails when logging is over, and then nobody misses it.
    LogLevel(Some(Arc::new(move |level| {
        drop(filters.reload(filter(level)))
    })))
}

fn filter(level: Level) -> EnvFilter {
    EnvFilter::new(directives(level))
}

/// Our own crates speak at `level`; others are capped, because their lines cost more than they tell:
/// pingora logs an error for every client that hangs up, which the access log says already.
fn directives(level: Level) -> String {
    let (others, pingora) = match level {
        Level::TRACE => ("debug", "debug"),
        Level::DEBUG => ("info", "warn"),
        Level::INFO | Level::WARN => ("warn", "off"),
        Level::ERROR => ("error", "off"),
    };
    // What operators did is told at every level.
    format!("{others},pingora={pingora},portcullis={level},audit=info")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, level: Level, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let (subscriber, _) = subscriber(format, level, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_level_changes_while_lines_are_written() {
        for format in [Format::Text, Format::Json] {
            let captured = Captured::default();
            let writer = captured.clone();
            let (subscriber, level) =
                subscriber(format, Level::INFO, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                let say = |what: &str| {
                    tracing::debug!(target: "portcullis_auth::server", "{what}");
                };
                say("hidden");
                level.set(Level::DEBUG);
                say("shown");
                level.set(Level::WARN);
                say("hidden again");
            });
            let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
        }
        LogLevel::fixed().set(Level::TRACE);
    }

    #[test]
    fn own_lines_appear_from_the_level_on() {
        let text = logged(Format::Text, Level::INFO, || {
            tracing::info!(target: "portcullis_edge::server", port = 8080, "listening");
            tracing::debug!(target: "portcullis_edge::server", "hidden");
        });
        assert!(
            text.contains("INFO portcullis_edge::server: listening port=8080"),
            "{text}"
        );
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn json_lines_hold_message_and_fields() {
        let text = logged(Format::Json, Level::INFO, || {
            tracing::warn!(target: "portcullis", port = 8080, "listening");
        });
        let json: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(json["level"], "WARN");
        assert_eq!(json["message"], "listening");
        assert_eq!(json["port"], 8080);
        assert!(json["timestamp"].is_string());
    }

    #[test]
    fn noise_of_pingora_is_silent_at_info() {
        let text = logged(Format::Text, Level::INFO, || {
            tracing::error!(target: "pingora_proxy", "client hung up");
            tracing::error!(target: "pingora_core::protocols", "client hung up");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn errors_of_other_crates_are_heard() {
        let text = logged(Format::Text, Level::ERROR, || {
            tracing::error!(target: "sqlx::pool", "no connection");
            tracing::warn!(target: "sqlx::pool", "slow statement");
        });
        assert!(
            text.contains("no connection") && !text.contains("slow"),
            "{text}"
        );
    }

    #[test]
    fn trace_opens_everything() {
        let text = logged(Format::Text, Level::TRACE, || {
            tracing::debug!(target: "pingora_proxy", "one");
            tracing::trace!(target: "portcullis_auth", "two");
        });
        assert!(text.contains("one") && text.contains("two"), "{text}");
    }

    #[test]
    fn text_for_a_file_has_no_colours() {
        let text = logged(Format::Text, Level::INFO, || {
            tracing::info!(target: "portcullis", "plain");
        });
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_log_that_cannot_be_written_harms_nobody() {
        const NAME: &str = "telemetry::tests::a_log_that_cannot_be_written_harms_nobody";
        const INSIDE: &str = "PORTCULLIS_TEST_LOGS_TO_A_FULL_DISK";
        if std::env::var_os(INSIDE).is_some() {
            init(Format::Text, Level::INFO).unwrap();
            tracing::error!(target: "portcullis", "nobody reads this");
            return;
        }
        // Standard error belongs to the whole process, so it takes one of its own.
        let full = std::fs::File::options().write(true).open("/dev/full");
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(INSIDE, "1")
            .stdout(std::process::Stdio::null())
            .stderr(full.unwrap())
            .status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn format_is_text_or_json() {
        assert_eq!("text".parse(), Ok(Format::Text));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("xml".parse::<Format>(), Err(UnknownFormat));
    }
}
