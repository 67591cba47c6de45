//! Places where endpoints are found: that there is one, once, and of one kind. Never connects to
//! anything.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::discovery::{Discover, EndpointDefaults, Place, Source};
use super::super::endpoint_file;
use super::super::file::{FileCluster, FilePlace, FileSource};
use super::Parser;

/// Beyond that somebody has made a list of sources instead of a source with a list.
const SOURCES_MAX: usize = 16;

impl Parser<'_> {
    pub(super) fn discover(&self, file: &FileCluster) -> Discover {
        if file.endpoints.is_empty() && file.discover.is_empty() {
            let message = format!("`{}` has no endpoints", file.name.value);
            let hint = "write `endpoints`, or say under `discover` where to find them";
            let span = file.endpoints_span;
            self.report.error_with_hint(span, message, hint);
        }
        if let Some(beyond) = file.discover.get(SOURCES_MAX) {
            let message = format!("a cluster has at most {SOURCES_MAX} sources of endpoints");
            self.report.error(beyond.span, message);
        }
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut sources = Vec::new();
        for written in &file.discover {
            let Some(source) = self.source(written, file) else {
                continue;
            };
            let (label, line) = (source.label(), written.span.line);
            if let Some(line) = lines.insert(label.clone(), line) {
                let message = format!("{label} is a source of this cluster already");
                let hint = format!("see line {line}");
                self.report.error_with_hint(written.span, message, hint);
                continue;
            }
            sources.push(Arc::new(source));
        }
        Discover {
            sources,
            timeout: file.discover_timeout,
            endpoints_max: file.max_endpoints,
        }
    }

    fn source(&self, file: &FileSource, cluster: &FileCluster) -> Option<Source> {
        let place = match &file.places[..] {
            [place] => place,
            [] => {
                let message = "this source does not say where to look";
                let hint = "write `file`";
                self.report.error_with_hint(file.span, message, hint);
                return None;
            }
            [_, second, ..] => {
                let message = "one source is one place";
                let hint = "write each as a member of the list";
                self.report.error_with_hint(second.span, message, hint);
                return None;
            }
        };
        let defaults = EndpointDefaults {
            weight: file.weight,
            priority: file.priority,
            zone: file.zone.clone(),
            max_requests: file.max_requests.unwrap_or(cluster.max_requests),
        };
        let found = match &place.value {
            FilePlace::File(path) => {
                let path = self.surroundings.directory.join(path);
                // It may be written later: until then the cluster has what else it has.
                if let Err(problem) = endpoint_file::read(&path, &defaults) {
                    let hint = "until it is in order, nothing is found there";
                    self.report.warning(place.span, problem.to_string(), hint);
                }
                Place::File(path)
            }
        };
        Some(Source {
            place: found,
            defaults,
        })
    }
}
