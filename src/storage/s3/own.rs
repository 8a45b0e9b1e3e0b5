//! Whose a bucket is, and what may therefore be done to it. PURE.
//!
//! This is where it is decided that a bucket becomes the operator's, and with it that a removal may delete it. A bucket is
//! made ours only where the Config says that it is one that the operator creates (the intent), and it holds nothing; or
//! where the administrator asked for it. In doubt it is used as it is.

use super::tags::Owner;
use crate::storage::driver::State;

/// What the bucket itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// Its tags.
    By(Owner),
    /// Nothing: the store knows no tags of buckets.
    Nowhere,
}

/// What the bucket holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// No version, delete marker or key, but for our probe.
    Nothing,
    /// Something.
    Something,
    /// It cannot be known: why.
    Hidden(String),
}

/// Whether the Config notes the bucket as one that the operator creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// No.
    Not,
    /// It is about to be created, or was.
    Intended,
    /// It stands in the spec as the operator's: the intent is the record of its creation.
    Recorded,
}

/// What the Config says of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// managementState; `None` is blank.
    pub state: Option<State>,
    /// Whether it is one that the operator creates, or created.
    pub noted: Noted,
    /// Its name is the one that the operator gives.
    pub deterministic: bool,
    /// An administrator consented to its being owned.
    pub consent: bool,
}

impl Claim {
    /// Whether the intent names it.
    pub fn is_noted(self) -> bool {
        self.noted != Noted::Not
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is ours: all settings are applied.
    Own,
    /// It becomes ours: the mark is written first. Whether that is because of an administrator's consent.
    Mark {
        /// By consent, and not because the operator created it.
        consented: bool,
    },
    /// It may become ours, once the Config says so.
    Note,
    /// Settings are applied, and it is never deleted.
    Settings,
    /// It is used as it is. Why it did not become ours, where that could have been expected.
    Use(Option<String>),
    /// It is not to be touched: whose it is.
    Refuse(String),
}

/// Whether [`decide`] has to know what the bucket holds.
pub(super) fn needs_contents(claim: Claim, marked: &Marked) -> bool {
    let candidate = match claim.state {
        None if is_finished(claim, marked) => false,
        None => claim.is_noted() || claim.deterministic,
        Some(State::Managed) => claim.is_noted() && *marked != Marked::By(Owner::Ours),
        Some(State::Unmanaged) => false,
    };
    candidate && !matches!(marked, Marked::By(Owner::Other(_)))
}

/// Whether the operator created the bucket and marked it, and only the status does not name it yet. What it holds was put
/// there since: an administrator copies images, or pods that died with the last process pushed them.
fn is_finished(claim: Claim, marked: &Marked) -> bool {
    claim.noted == Noted::Recorded && *marked == Marked::By(Owner::Ours)
}

/// What is to be done with a bucket that exists.
pub(super) fn decide(claim: Claim, marked: &Marked, contents: &Contents) -> Decision {
    let empty = *contents == Contents::Nothing;
    match (claim.state, marked) {
        (Some(State::Unmanaged), _) => Decision::Use(None),
        (Some(State::Managed), Marked::By(Owner::Other(cluster))) => Decision::Refuse(cluster.clone()),
        (Some(State::Managed), Marked::By(Owner::Ours)) => Decision::Own,
        (Some(State::Managed), _) if claim.is_noted() && empty => Decision::Mark { consented: false },
        (Some(State::Managed), Marked::By(Owner::Nobody(_))) if claim.consent => Decision::Mark { consented: true },
        (Some(State::Managed), _) => Decision::Settings,
        (None, _) if is_finished(claim, marked) => Decision::Own,
        (None, _) if !claim.is_noted() && !claim.deterministic => Decision::Use(None),
        (None, Marked::By(Owner::Other(cluster))) => {
            Decision::Use(Some(format!("it carries the mark of cluster {cluster}")))
        }
        (None, _) if !empty => Decision::Use(Some(match contents {
            Contents::Hidden(why) => format!("whether it is empty cannot be known: {why}"),
            Contents::Nothing | Contents::Something => "it is not empty".to_owned(),
        })),
        (None, _) if !claim.is_noted() => Decision::Note,
        (None, Marked::By(Owner::Ours)) => Decision::Own,
        (None, _) => Decision::Mark { consented: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLANK: Claim = Claim {
        state: None,
        noted: Noted::Not,
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
            for noted in [Noted::Not, Noted::Intended, Noted::Recorded] {
                for bits in 0..4 {
                    all.push(Claim {
                        state,
                        noted,
                        deterministic: bits & 1 != 0,
                        consent: bits & 2 != 0,
                    });
                }
            }
        }
        all
    }

    fn nobody() -> Marked {
        Marked::By(Owner::Nobody("it carries no mark".into()))
    }

    fn every_mark() -> [Marked; 4] {
        let other = Marked::By(Owner::Other("green-1".into()));
        [Marked::By(Owner::Ours), other, nobody(), Marked::Nowhere]
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
                let decision = decide(claim, &Marked::By(Owner::Other("green-1".into())), &contents);
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
                    let created = claim.is_noted() && contents == Contents::Nothing;
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
    fn a_blank_state_becomes_managed_only_on_a_bucket_that_was_noted_first_and_is_empty_or_recorded_and_marked() {
        for claim in every_claim().into_iter().filter(|claim| claim.state.is_none()) {
            for mark in every_mark() {
                for contents in every_contents() {
                    let decision = decide(claim, &mark, &contents);
                    let becomes_ours = changes(&decision);
                    let created = claim.noted == Noted::Recorded && mark == Marked::By(Owner::Ours);
                    assert!(
                        !becomes_ours || (claim.is_noted() && (contents == Contents::Nothing || created)),
                        "{claim:?} {mark:?}"
                    );
                    assert_ne!(decision, Decision::Settings, "settings are for an explicit Managed");
                }
            }
        }
    }

    // storage-core 20, storage-s3 24
    #[test]
    fn unmanaged_and_a_users_own_bucket_of_a_blank_state_are_used_as_they_are_without_a_look_inside() {
        for mark in every_mark() {
            for claim in every_claim() {
                let users = claim.state.is_none() && !claim.is_noted() && !claim.deterministic;
                if claim.state == Some(State::Unmanaged) || users {
                    assert!(!needs_contents(claim, &mark));
                    assert_eq!(decide(claim, &mark, &Contents::Something), Decision::Use(None));
                }
            }
        }
    }

    #[test]
    fn what_the_bucket_holds_counts_only_where_it_is_asked_for() {
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
        assert_eq!(decide(consent, &Marked::Nowhere, &full), Decision::Settings);
    }
}
