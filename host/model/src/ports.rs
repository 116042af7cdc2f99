//! What a cell has by port. Every cell has some of it and few have much, so that it is a list in order: a map has room for eleven of each.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Index;

use crate::PortName;

/// Things by port, in the order of the names.
#[derive(Clone, PartialEq)]
pub struct Ports<T>(Vec<(PortName, T)>);

impl<T> Ports<T> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn find<Q: Ord + ?Sized>(&self, name: &Q) -> Result<usize, usize>
    where
        PortName: Borrow<Q>,
    {
        self.0.binary_search_by(|(own, _)| own.borrow().cmp(name))
    }

    /// That of a port.
    pub fn get<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&T>
    where
        PortName: Borrow<Q>,
    {
        self.get_key_value(name).map(|(_, it)| it)
    }

    /// That of a port, and the name as it is kept.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, name: &Q) -> Option<(&PortName, &T)>
    where
        PortName: Borrow<Q>,
    {
        let (name, it) = &self.0[self.find(name).ok()?];
        Some((name, it))
    }

    /// That of a port, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, name: &Q) -> Option<&mut T>
    where
        PortName: Borrow<Q>,
    {
        let at = self.find(name).ok()?;
        Some(&mut self.0[at].1)
    }

    /// Whether there is one of that name.
    pub fn contains_key<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        PortName: Borrow<Q>,
    {
        self.find(name).is_ok()
    }

    /// Puts one in, and gives back what was there. Moves all that come after it: what is read by the thousand is collected.
    pub fn insert(&mut self, name: PortName, it: T) -> Option<T> {
        match self.find(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, it)),
            Err(at) => {
                self.0.insert(at, (name, it));
                None
            }
        }
    }

    /// Takes one out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, name: &Q) -> Option<T>
    where
        PortName: Borrow<Q>,
    {
        let at = self.find(name).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps those that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&PortName, &mut T) -> bool) {
        self.0.retain_mut(|(name, it)| keep(name, it));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PortName, &T)> + Clone {
        self.0.iter().map(|(name, it)| (name, it))
    }

    /// Their names.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &PortName> + Clone {
        self.0.iter().map(|(name, _)| name)
    }

    /// Without their names.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> + Clone {
        self.0.iter().map(|(_, it)| it)
    }

    /// Without their names, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, it)| it)
    }
}

impl<T, Q: Ord + ?Sized> Index<&Q> for Ports<T>
where
    PortName: Borrow<Q>,
{
    type Output = T;
    fn index(&self, name: &Q) -> &T {
        self.get(name).expect("the port is there")
    }
}

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Ports<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T> FromIterator<(PortName, T)> for Ports<T> {
    /// Of two with one name the last stays.
    fn from_iter<I: IntoIterator<Item = (PortName, T)>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        all.shrink_to_fit();
        Self(all)
    }
}

impl<T, const N: usize> From<[(PortName, T); N]> for Ports<T> {
    fn from(all: [(PortName, T); N]) -> Self {
        all.into_iter().collect()
    }
}

impl<T> IntoIterator for Ports<T> {
    type Item = (PortName, T);
    type IntoIter = std::vec::IntoIter<(PortName, T)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Ports<T> {
    type Item = (&'a PortName, &'a T);
    type IntoIter =
        std::iter::Map<std::slice::Iter<'a, (PortName, T)>, fn(&(PortName, T)) -> (&PortName, &T)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, it)| (name, it))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Ports;
    use crate::PortName;

    #[test]
    fn ports_are_in_order_and_the_last_of_a_name_stays() {
        let all = ["b", "a", "c", "a", "b", "a"];
        let all = || all.into_iter().enumerate().map(|(n, name)| (name.parse().unwrap(), n));
        let map: BTreeMap<PortName, usize> = all().collect();
        let collected: Ports<usize> = all().collect();
        let mut inserted = Ports::new();
        let before: Vec<_> = all().map(|(name, n)| inserted.insert(name, n)).collect();
        assert_eq!(before, [None, None, None, Some(1), Some(0), Some(3)]);
        assert_eq!(collected, inserted);
        assert!(inserted.iter().eq(map.iter()) && inserted.len() == 3);
        assert_eq!(format!("{collected:?}"), format!("{map:?}"));
        assert_eq!((collected.get("a"), collected.get("d")), (Some(&5), None));
        assert!(collected.contains_key(&"c".parse::<PortName>().unwrap()));
    }
}
