//! What happens to a simulated cluster from outside: moods, and the operator. Never decides
//! anything about traffic.

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::select::{Member, Zone};

use crate::endpoint::{CONDITIONS, Condition, Endpoint};
use crate::settings::Settings;
use crate::world::World;

/// Most endpoints that a cluster grows to.
const MOST_MEMBERS: usize = 12;

impl World {
    pub(crate) fn change_weather(&mut self) {
        let chosen = self.rng.usize(..self.endpoints.len());
        let endpoint = &mut self.endpoints[chosen];
        let (id, now) = (endpoint.member.id, self.origin + self.clock);
        match self.rng.u8(..12) {
            0 | 1 => {
                endpoint.is_drained = !endpoint.is_drained;
                let is_drained = endpoint.is_drained;
                self.cluster.tell(now, |it| it.drain(id, is_drained, now));
            }
            2 if endpoint.is_member => {
                let weight = self.rng.u16(0..=self.settings.most_weight);
                self.cluster.reweigh(id, weight);
            }
            3 => self.add(),
            4 => {
                // Removed, or added again: nothing is known of it, but its old requests still run.
                endpoint.is_member = !endpoint.is_member;
                endpoint.is_drained = false;
                let is_back = endpoint.is_member;
                self.reshape();
                if is_back {
                    self.plan_probe(chosen);
                }
            }
            5 => {
                endpoint.member = random_member(&self.settings, id.0, &mut self.rng);
                self.reshape();
            }
            _ => endpoint.condition = CONDITIONS[self.rng.usize(..CONDITIONS.len())],
        }
    }

    fn add(&mut self) {
        if self.cluster.members().len() >= MOST_MEMBERS {
            return;
        }
        let id = u32::try_from(self.endpoints.len()).expect("few");
        let member = random_member(&self.settings, id, &mut self.rng);
        self.endpoints.push(Endpoint::new(member));
        self.reshape();
        self.plan_probe(self.endpoints.len() - 1);
    }

    fn reshape(&mut self) {
        let members = self.endpoints.iter().filter(|endpoint| endpoint.is_member);
        let members = members.map(|endpoint| endpoint.member.clone()).collect();
        self.cluster.reshape(members, self.origin + self.clock);
    }

    /// Everybody is there and well, nobody is drained, and all have a weight.
    pub(crate) fn clear_weather(&mut self) {
        self.weather_interval = None;
        for position in 0..self.endpoints.len() {
            if !std::mem::replace(&mut self.endpoints[position].is_member, true) {
                self.plan_probe(position);
            }
        }
        for endpoint in &mut self.endpoints {
            endpoint.condition = Condition::Up;
            endpoint.is_drained = false;
        }
        self.reshape();
        let now = self.origin + self.clock;
        for position in 0..self.endpoints.len() {
            let id = self.endpoints[position].member.id;
            self.cluster.tell(now, |it| it.drain(id, false, now));
        }
        let without = |member: &&Member| member.weight == 0;
        let members = self.cluster.members().iter().filter(without);
        let ids: Vec<_> = members.map(|member| member.id).collect();
        for id in ids {
            self.cluster.reweigh(id, 1);
        }
    }
}

pub(crate) fn random_member(settings: &Settings, id: u32, rng: &mut fastrand::Rng) -> Member {
    let port = u16::try_from(4_000 + id).expect("few");
    Member {
        weight: rng.u16(1..=settings.most_weight),
        priority: rng.u8(..settings.tiers),
        zone: (settings.zones > 0).then(|| Zone::new(&rng.usize(..=settings.zones).to_string())),
        max_in_flight: match settings.places {
            few @ 0..16 => rng.u32(1..=few),
            many => many,
        },
        ..Member::new(EndpointId(id), ([127, 0, 0, 1], port).into())
    }
}
