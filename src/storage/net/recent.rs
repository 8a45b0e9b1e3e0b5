//! Values that were used last, such as identities with their tokens: found again by key, made at the first use.

use std::sync::{Arc, Mutex, PoisonError};

/// Up to `MOST` values by key; the value that was not used for the longest time is dropped first.
#[derive(Debug)]
pub struct Recent<K, V, const MOST: usize> {
    /// The last used value comes first.
    values: Mutex<Vec<(K, Arc<V>)>>,
}

impl<K, V, const MOST: usize> Default for Recent<K, V, MOST> {
    fn default() -> Self {
        Self {
            values: Mutex::default(),
        }
    }
}

impl<K: PartialEq, V, const MOST: usize> Recent<K, V, MOST> {
    /// The value of this key, or the one that `make` returns.
    pub fn of(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = values.iter().position(|(other, _)| *other == key) {
            values[..=place].rotate_right(1);
        } else {
            values.insert(0, (key, Arc::new(make())));
            values.truncate(MOST);
        }
        values[0].1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_not_used_for_the_longest_time_goes() {
        let recent = Recent::<u8, u8, 2>::default();
        let of = |key, value| *recent.of(key, || value);
        assert_eq!((of(1, 10), of(2, 20), of(1, 11)), (10, 20, 10));
        // 2 goes, because 1 was used after it.
        assert_eq!((of(3, 30), of(1, 12), of(2, 21)), (30, 10, 21));
        assert_eq!(of(3, 31), 31);
    }
}
