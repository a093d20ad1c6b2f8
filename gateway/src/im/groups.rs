//! Members of the groups whose home is this shard.

use super::protocol::Refusal;
use super::{Map, SeededState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Groups by name. Membership is the user's, and lasts until the user leaves.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Ordered, so that a fan-out goes in the same order in every run.
    members: Map<Arc<str>, BTreeSet<Arc<str>>>,
    members_max: usize,
}

impl Groups {
    pub(crate) fn new(members_max: usize, hasher: SeededState) -> Groups {
        Groups { members: Map::with_hasher(hasher), members_max }
    }

    pub(crate) fn join(&mut self, group: &Arc<str>, user: Arc<str>) -> Result<(), Refusal> {
        let members = self.members.entry(Arc::clone(group)).or_default();
        if members.len() >= self.members_max && !members.contains(&user) {
            return Err(Refusal::GroupFull);
        }
        members.insert(user);
        Ok(())
    }

    pub(crate) fn leave(&mut self, group: &str, user: &str) {
        if let Some(members) = self.members.get_mut(group) {
            members.remove(user);
            if members.is_empty() {
                self.members.remove(group);
            }
        }
    }

    /// The members other than the sender; refused if the sender is not one.
    pub(crate) fn recipients(&self, group: &str, from: &str) -> Result<Vec<Arc<str>>, Refusal> {
        match self.members.get(group) {
            Some(members) if members.contains(from) => {
                Ok(members.iter().filter(|member| &***member != from).cloned().collect())
            }
            _ => Err(Refusal::NotMember),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_send_and_groups_have_a_bound() {
        let mut groups = Groups::new(2, SeededState::with_seeds(1, 2, 3, 4));
        let group: Arc<str> = "dev".into();
        assert_eq!(groups.recipients("dev", "al"), Err(Refusal::NotMember));
        assert_eq!(groups.join(&group, "al".into()), Ok(()));
        assert_eq!(groups.join(&group, "bo".into()), Ok(()));
        assert_eq!(groups.join(&group, "al".into()), Ok(()), "joining twice is joining");
        assert_eq!(groups.join(&group, "cy".into()), Err(Refusal::GroupFull));
        assert_eq!(groups.recipients("dev", "al"), Ok(vec!["bo".into()]));
        groups.leave("dev", "al");
        assert_eq!(groups.recipients("dev", "al"), Err(Refusal::NotMember));
    }
}
