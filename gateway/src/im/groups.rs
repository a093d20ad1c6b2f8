//! Members of the groups whose home is this shard.

use super::protocol::Refusal;
use super::{Map, SeededState};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::shard::ShardIndex;

/// Groups by name. Membership is the user's, and lasts until the user leaves.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Map<Arc<str>, Group>,
    members_max: usize,
}

/// Members by the shard they are at home on, so that a message crosses to each shard once.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    homes: Vec<Home>,
}

#[derive(Debug, Default)]
struct Home {
    /// Ordered, so that a fan-out goes in the same order in every run.
    members: BTreeSet<Arc<str>>,
    /// The same as a list, shared by the messages under way; made anew after a change.
    listed: Option<Arc<[Arc<str>]>>,
}

/// The members of a group at home on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) home: ShardIndex,
    pub(crate) members: Arc<[Arc<str>]>,
}

impl Groups {
    pub(crate) fn new(members_max: usize, hasher: SeededState) -> Groups {
        Groups { groups: Map::with_hasher(hasher), members_max }
    }

    /// `home` is the user's home.
    pub(crate) fn join(&mut self, group: &Arc<str>, user: Arc<str>, home: ShardIndex) -> Result<(), Refusal> {
        let group = self.groups.entry(Arc::clone(group)).or_default();
        if group.homes.len() <= home {
            group.homes.resize_with(home + 1, Home::default);
        }
        let place = &mut group.homes[home];
        if place.members.contains(&user) {
            return Ok(());
        }
        if group.count >= self.members_max {
            return Err(Refusal::GroupFull);
        }
        place.members.insert(user);
        place.listed = None;
        group.count += 1;
        Ok(())
    }

    /// A member who was one before; above the bound too. `home` is the user's home.
    pub(crate) fn recover(&mut self, group: &Arc<str>, user: Arc<str>, home: ShardIndex) {
        let members_max = std::mem::replace(&mut self.members_max, usize::MAX);
        // Without a bound nobody is refused.
        let _ = self.join(group, user, home);
        self.members_max = members_max;
    }

    /// `home` is the user's home.
    pub(crate) fn leave(&mut self, name: &str, user: &str, home: ShardIndex) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(place) = group.homes.get_mut(home) else { return };
        if place.members.remove(user) {
            place.listed = None;
            group.count -= 1;
        }
        if group.count == 0 {
            self.groups.remove(name);
        }
    }

    /// All members, the sender included; refused if the sender is not one. `home` is the sender's home.
    pub(crate) fn parts(&mut self, group: &str, from: &str, home: ShardIndex) -> Result<Vec<Part>, Refusal> {
        let is_member =
            |group: &&mut Group| group.homes.get(home).is_some_and(|home| home.members.contains(from));
        let group = self.groups.get_mut(group).filter(is_member).ok_or(Refusal::NotMember)?;
        let parts = group.homes.iter_mut().enumerate().filter(|(_, place)| !place.members.is_empty());
        Ok(parts
            .map(|(home, place)| {
                let members = &place.members;
                let listed = place.listed.get_or_insert_with(|| members.iter().cloned().collect());
                Part { home, members: Arc::clone(listed) }
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_send_and_groups_have_a_bound() {
        let mut groups = Groups::new(2, SeededState::with_seeds(1, 2, 3, 4));
        let group: Arc<str> = "dev".into();
        assert_eq!(groups.parts("dev", "al", 0), Err(Refusal::NotMember));
        assert_eq!(groups.join(&group, "al".into(), 0), Ok(()));
        assert_eq!(groups.join(&group, "bo".into(), 2), Ok(()));
        assert_eq!(groups.join(&group, "al".into(), 0), Ok(()), "joining twice is joining");
        assert_eq!(groups.join(&group, "cy".into(), 1), Err(Refusal::GroupFull));
        let part = |home, name: &str| Part { home, members: [Arc::from(name)].into() };
        assert_eq!(groups.parts("dev", "al", 0), Ok(vec![part(0, "al"), part(2, "bo")]));
        groups.leave("dev", "bo", 2);
        assert_eq!(groups.parts("dev", "al", 0), Ok(vec![part(0, "al")]), "the list is made anew");
        groups.leave("dev", "al", 0);
        assert_eq!(groups.parts("dev", "al", 0), Err(Refusal::NotMember));
    }
}
