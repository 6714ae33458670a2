//! The adapters that a model has been given: bounded in number and in memory, and stacks checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Adapter, AdapterError, MAX_SCALE};
use crate::pass::AdapterId;
use crate::sequences::MAX_STACK;

/// adapters; what 8 sequences with a stack each use at once, with as many again waiting.
pub const MAX_ADAPTERS: usize = 128;

/// Keeps adapters by id. An id is never given twice; a clone shares what it keeps.
#[derive(Debug, Clone)]
pub struct Registry {
    adapters: BTreeMap<AdapterId, Arc<Adapter>>,
    next: u32,
    used_bytes: u64,
    max_bytes: u64,
}

impl Registry {
    /// Keeps adapters of `max_bytes` together.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            adapters: BTreeMap::new(),
            next: 0,
            used_bytes: 0,
            max_bytes,
        }
    }

    /// Keeps an adapter.
    ///
    /// # Errors
    /// [`AdapterError::TooManyAdapters`] and [`AdapterError::DoesNotFit`]; nothing has changed
    /// then.
    pub fn add(&mut self, adapter: impl Into<Arc<Adapter>>) -> Result<AdapterId, AdapterError> {
        let adapter = adapter.into();
        let too_many = AdapterError::TooManyAdapters { max: MAX_ADAPTERS };
        if self.adapters.len() == MAX_ADAPTERS {
            return Err(too_many);
        }
        let needed_bytes = adapter.bytes();
        if needed_bytes > self.max_bytes - self.used_bytes {
            return Err(AdapterError::DoesNotFit {
                needed_bytes,
                used_bytes: self.used_bytes,
                max_bytes: self.max_bytes,
            });
        }
        let id = AdapterId(self.next);
        self.next = self.next.checked_add(1).ok_or(too_many)?;
        self.used_bytes += needed_bytes;
        self.adapters.insert(id, adapter);
        Ok(id)
    }

    /// Forgets an adapter and gives it back.
    ///
    /// # Errors
    /// [`AdapterError::UnknownId`].
    pub fn remove(&mut self, id: AdapterId) -> Result<Arc<Adapter>, AdapterError> {
        let adapter = self.adapters.remove(&id);
        let adapter = adapter.ok_or(AdapterError::UnknownId { id: id.0 })?;
        self.used_bytes -= adapter.bytes();
        Ok(adapter)
    }

    /// The adapter of that id.
    pub fn get(&self, id: AdapterId) -> Option<&Arc<Adapter>> {
        self.adapters.get(&id)
    }

    /// Every adapter, by id.
    pub fn iter(&self) -> impl Iterator<Item = (AdapterId, &Arc<Adapter>)> {
        self.adapters.iter().map(|(id, adapter)| (*id, adapter))
    }

    /// Bytes of all adapters that are kept.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Whether a sequence may use `stack`: adapters and the factor of each.
    ///
    /// # Errors
    /// [`AdapterError::StackTooHigh`], [`AdapterError::UnknownId`], [`AdapterError::StackedTwice`]
    /// and [`AdapterError::BadFactor`].
    pub fn check_stack(&self, stack: &[(AdapterId, f32)]) -> Result<(), AdapterError> {
        if stack.len() > MAX_STACK {
            return Err(AdapterError::StackTooHigh {
                adapters: stack.len(),
                max: MAX_STACK,
            });
        }
        for (place, (id, factor)) in stack.iter().enumerate() {
            let id_number = id.0;
            if !self.adapters.contains_key(id) {
                return Err(AdapterError::UnknownId { id: id_number });
            }
            if stack[..place].iter().any(|(other, _)| other == id) {
                return Err(AdapterError::StackedTwice { id: id_number });
            }
            if !factor.is_finite() || factor.abs() > MAX_SCALE {
                return Err(AdapterError::BadFactor {
                    id: id_number,
                    factor: *factor,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::LoraPair;
    use crate::weights::{LayerSlot, Slot};

    fn adapter(numbers: usize) -> Adapter {
        let pair = LoraPair {
            rank: 1,
            scale: 1.0,
            a: vec![0.5; numbers - 2],
            b: vec![0.5; 2],
        };
        Adapter {
            name: String::new(),
            rank: 1,
            pairs: BTreeMap::from([(Slot::Layer(0, LayerSlot::AttnQ), pair)]),
        }
    }

    #[test]
    fn memory_is_counted_and_bounded() {
        let mut registry = Registry::new(4 * 25);
        let first = registry.add(adapter(10)).unwrap();
        let second = registry.add(adapter(15)).unwrap();
        assert_eq!(registry.used_bytes(), 100);
        let refusal = AdapterError::DoesNotFit {
            needed_bytes: 12,
            used_bytes: 100,
            max_bytes: 100,
        };
        assert_eq!(registry.add(adapter(3)), Err(refusal));
        assert_eq!(registry.remove(first).unwrap().bytes(), 40);
        assert_eq!(
            registry.remove(first).unwrap_err(),
            AdapterError::UnknownId { id: 0 }
        );
        let third = registry.add(adapter(10)).unwrap();
        assert!(third != first && third != second);
        let ids: Vec<_> = registry.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [second, third]);
    }

    #[test]
    fn adapters_are_counted() {
        let mut registry = Registry::new(u64::MAX);
        for _ in 0..MAX_ADAPTERS {
            registry.add(adapter(3)).unwrap();
        }
        let refusal = AdapterError::TooManyAdapters { max: MAX_ADAPTERS };
        assert_eq!(registry.add(adapter(3)), Err(refusal));
    }

    #[test]
    fn stacks_are_checked() {
        let mut registry = Registry::new(u64::MAX);
        let ids: Vec<_> = (0..MAX_STACK + 1)
            .map(|_| registry.add(adapter(3)).unwrap())
            .collect();
        let stack = |n: usize| ids[..n].iter().map(|id| (*id, 0.5)).collect::<Vec<_>>();
        assert_eq!(registry.check_stack(&[]), Ok(()));
        assert_eq!(registry.check_stack(&stack(MAX_STACK)), Ok(()));
        assert_eq!(
            registry.check_stack(&stack(MAX_STACK + 1)),
            Err(AdapterError::StackTooHigh {
                adapters: MAX_STACK + 1,
                max: MAX_STACK
            })
        );
        assert_eq!(
            registry.check_stack(&[(ids[1], 1.0), (ids[0], 1.0), (ids[1], 2.0)]),
            Err(AdapterError::StackedTwice { id: ids[1].0 })
        );
        assert_eq!(
            registry.check_stack(&[(AdapterId(999), 1.0)]),
            Err(AdapterError::UnknownId { id: 999 })
        );
        for factor in [f32::INFINITY, 1e9, -1e9] {
            assert_eq!(
                registry.check_stack(&[(ids[0], factor)]),
                Err(AdapterError::BadFactor { id: 0, factor })
            );
        }
        assert!(registry.check_stack(&[(ids[0], f32::NAN)]).is_err());
    }
}
