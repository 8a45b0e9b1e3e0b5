//! PURE: decides whether the operator owns a container, and what it may do with the container.
//!
//! If the operator owns a container, a removal deletes it. The operator becomes the owner only if the Config's creation
//! record names the container and the container is empty, or if the administrator consents. In doubt the container is
//! used without a change.

use crate::storage::model::container::{Contents, Owner};
use crate::storage::model::state::State;
use crate::storage::model::target::CreationRecord;

/// What the Config says about the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// managementState; `None` if blank.
    pub state: Option<State>,
    /// Intent or creation record.
    pub record: CreationRecord,
    /// The container has the deterministic name that the operator would choose.
    pub deterministic: bool,
    /// An administrator consents to the adoption of the container.
    pub consent: bool,
}

/// What the operator may do with an existing container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The operator owns the container: apply all settings.
    Own,
    /// The operator becomes the owner: write the ownership mark first.
    Mark {
        /// By consent, not because the operator created the container.
        consented: bool,
    },
    /// Record the intent. The operator may become the owner after that.
    Record,
    /// Apply settings, but never delete the container.
    Settings,
    /// Use the container without a change. Why the operator is not the owner, if the user might expect that.
    Use(Option<String>),
    /// Change nothing and fail: the container carries the mark of the cluster with this name.
    Refuse(String),
}

/// Whether [`decide`] depends on the content of the container.
pub fn needs_contents(claim: Claim, owner: &Owner) -> bool {
    let candidate = match claim.state {
        None if is_finished(claim, owner) => false,
        None => claim.record.exists() || claim.deterministic,
        Some(State::Managed) => claim.record.exists() && *owner != Owner::Ours,
        Some(State::Unmanaged) => false,
    };
    candidate && !matches!(owner, Owner::Other(_))
}

/// Whether the operator created and marked the container, so that only the status does not name it yet. The container
/// need not be empty: an administrator may have copied images, or pods of an earlier process may have pushed them.
fn is_finished(claim: Claim, owner: &Owner) -> bool {
    claim.record == CreationRecord::Created && *owner == Owner::Ours
}

/// Decides what the operator may do with an existing container.
pub fn decide(claim: Claim, owner: &Owner, contents: &Contents) -> Decision {
    let empty = *contents == Contents::Nothing;
    match (claim.state, owner) {
        (Some(State::Unmanaged), _) => Decision::Use(None),
        (Some(State::Managed), Owner::Other(cluster)) => Decision::Refuse(cluster.clone()),
        (Some(State::Managed), Owner::Ours) => Decision::Own,
        (Some(State::Managed), _) if claim.record.exists() && empty => Decision::Mark { consented: false },
        (Some(State::Managed), Owner::Nobody(_)) if claim.consent => Decision::Mark { consented: true },
        (Some(State::Managed), _) => Decision::Settings,
        (None, _) if is_finished(claim, owner) => Decision::Own,
        (None, _) if !claim.record.exists() && !claim.deterministic => Decision::Use(None),
        (None, Owner::Other(cluster)) => Decision::Use(Some(format!("it carries the mark of cluster {cluster}"))),
        (None, _) if !empty => Decision::Use(Some(match contents {
            Contents::Hidden(why) => format!("whether it is empty cannot be known: {why}"),
            Contents::Nothing | Contents::Something => "it is not empty".to_owned(),
        })),
        (None, _) if !claim.record.exists() => Decision::Record,
        (None, Owner::Ours) => Decision::Own,
        (None, _) => Decision::Mark { consented: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLANK: Claim = Claim {
        state: None,
        record: CreationRecord::None,
        deterministic: false,
        consent: false,
    };
    const MANAGED: Claim = Claim {
        state: Some(State::Managed),
        ..BLANK
    };

    fn every_claim() -> Vec<Claim> {
        let mut all = Vec::new();
        for state in [None, Some(State::Managed), Some(State::Unmanaged)] {
            for record in [CreationRecord::None, CreationRecord::Intended, CreationRecord::Created] {
                for bits in 0..4 {
                    all.push(Claim {
                        state,
                        record,
                        deterministic: bits & 1 != 0,
                        consent: bits & 2 != 0,
                    });
                }
            }
        }
        all
    }

    fn nobody() -> Owner {
        Owner::Nobody("it carries no mark".into())
    }

    fn every_mark() -> [Owner; 4] {
        let other = Owner::Other("green-1".into());
        [Owner::Ours, other, nobody(), Owner::Unmarkable]
    }

    fn every_contents() -> [Contents; 3] {
        [
            Contents::Nothing,
            Contents::Something,
            Contents::Hidden("denied".into()),
        ]
    }

    fn marks(decision: &Decision) -> bool {
        matches!(decision, Decision::Mark { .. })
    }

    fn changes(decision: &Decision) -> bool {
        marks(decision) || matches!(decision, Decision::Own | Decision::Settings)
    }

    // storage-decisions 3, T1
    #[test]
    fn nothing_is_ever_changed_in_a_bucket_with_the_mark_of_another_cluster() {
        for claim in every_claim() {
            for contents in every_contents() {
                let decision = decide(claim, &Owner::Other("green-1".into()), &contents);
                assert!(!changes(&decision), "{claim:?} {contents:?}: {decision:?}");
            }
        }
    }

    // storage-decisions T1, T6
    #[test]
    fn the_mark_is_written_only_to_an_empty_bucket_of_the_intent_or_by_consent() {
        let mut written = 0;
        for claim in every_claim() {
            for mark in every_mark() {
                for contents in every_contents() {
                    let decision = decide(claim, &mark, &contents);
                    if !marks(&decision) {
                        continue;
                    }
                    written += 1;
                    let created = claim.record.exists() && contents == Contents::Nothing;
                    let consented = claim.consent && claim.state == Some(State::Managed);
                    assert!(created || consented, "{claim:?} {mark:?} {contents:?}");
                    assert_ne!(claim.state, Some(State::Unmanaged));
                }
            }
        }
        assert!(written > 0);
    }

    // storage-decisions 10, T6
    #[test]
    fn a_blank_state_becomes_managed_only_on_a_recorded_bucket_that_is_empty_or_marked() {
        for claim in every_claim().into_iter().filter(|claim| claim.state.is_none()) {
            for mark in every_mark() {
                for contents in every_contents() {
                    let decision = decide(claim, &mark, &contents);
                    let becomes_owned = changes(&decision);
                    let created = claim.record == CreationRecord::Created && mark == Owner::Ours;
                    assert!(
                        !becomes_owned || (claim.record.exists() && (contents == Contents::Nothing || created)),
                        "{claim:?} {mark:?}"
                    );
                    assert_ne!(decision, Decision::Settings, "settings are for an explicit Managed");
                }
            }
        }
    }

    // storage-core 20, storage-s3 24
    #[test]
    fn unmanaged_and_a_users_own_bucket_of_a_blank_state_are_used_without_a_listing() {
        for mark in every_mark() {
            for claim in every_claim() {
                let users = claim.state.is_none() && !claim.record.exists() && !claim.deterministic;
                if claim.state == Some(State::Unmanaged) || users {
                    assert!(!needs_contents(claim, &mark));
                    assert_eq!(decide(claim, &mark, &Contents::Something), Decision::Use(None));
                }
            }
        }
    }

    #[test]
    fn the_decision_depends_on_the_content_only_if_needs_contents_says_so() {
        for claim in every_claim() {
            for mark in every_mark().into_iter().filter(|mark| !needs_contents(claim, mark)) {
                let [first, second, third] = every_contents().map(|contents| decide(claim, &mark, &contents));
                assert!(first == second && second == third, "{claim:?} {mark:?}");
            }
        }
    }

    // storage-decisions 1, 2
    #[test]
    fn explicit_managed_gets_settings_and_the_mark_only_with_consent() {
        let full = Contents::Something;
        assert_eq!(decide(MANAGED, &nobody(), &full), Decision::Settings);
        let consent = Claim {
            consent: true,
            ..MANAGED
        };
        assert_eq!(decide(consent, &nobody(), &full), Decision::Mark { consented: true });
        assert_eq!(decide(consent, &Owner::Unmarkable, &full), Decision::Settings);
    }
}
