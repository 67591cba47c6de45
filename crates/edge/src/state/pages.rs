//! The operator's words instead of an answer of ours or of an endpoint. Never sends them.

use super::{RouteId, Snapshot};
use crate::config::{Page, Words};

impl Snapshot {
    /// The operator's words for an answer of ours.
    pub(crate) fn words(&self, route: Option<RouteId>, status: u16) -> Option<&Words> {
        let page = self
            .pages_of(route)
            .find(|page| page.statuses.contains(&status))?;
        Some(&page.words)
    }

    /// The operator's words in place of an endpoint's.
    pub(crate) fn words_instead(&self, route: Option<RouteId>, status: u16) -> Option<&Words> {
        let mut pages = self.pages_of(route);
        let page =
            pages.find(|page| page.also_from_endpoints && page.statuses.contains(&status))?;
        Some(&page.words)
    }

    fn pages_of(&self, route: Option<RouteId>) -> impl Iterator<Item = &Page> {
        let of_route = route.map_or(&[][..], |route| &self.route(route).pages);
        of_route.iter().chain(&self.pages)
    }
}
