//! Everything that was ever appended to one partition, as a tree: a truncate, or a power cut, begins a branch.
//!
//! Invariant: a record is known by a number that is given once, so two ways through the tree agree exactly as far as they
//! share their records. A place stands for the record before it, and with it for the whole way from the root.

use std::collections::HashMap;

use epochlog::Place;

/// A record in the tree; 0 is the root, which stands before the first one.
pub type Node = usize;

#[derive(Clone, Debug)]
struct Appended {
    parent: Node,
    depth: usize,
    id: u64,
    len: usize,
    batch: u64,
}

#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Appended>,
    /// The nodes of what is there now, by offset.
    chain: Vec<Node>,
    /// Every place that was handed out, and behind which record.
    bound: HashMap<Place, Node>,
    handed: Vec<Place>,
}

/// So many places are kept to be offered again.
const PLACES_MAX: usize = 64;

impl Tree {
    pub fn new() -> Tree {
        let root = Appended { parent: 0, depth: 0, id: 0, len: 0, batch: 0 };
        Tree { nodes: vec![root], chain: Vec::new(), bound: HashMap::new(), handed: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.chain.len()
    }

    /// Number and length of the record at an offset.
    pub fn at(&self, offset: usize) -> Option<(u64, usize)> {
        let node = &self.nodes[*self.chain.get(offset)?];
        Some((node.id, node.len))
    }

    pub fn push(&mut self, id: u64, len: usize, batch: u64) {
        let parent = self.head(self.chain.len());
        self.chain.push(self.nodes.len());
        self.nodes.push(Appended { parent, depth: self.chain.len(), id, len, batch });
    }

    pub fn cut(&mut self, len: usize) {
        self.chain.truncate(len);
    }

    /// Whether no batch reaches over this offset.
    pub fn is_border(&self, offset: usize) -> bool {
        let batch = |offset: usize| self.nodes[self.chain[offset]].batch;
        offset == 0 || offset >= self.chain.len() || batch(offset - 1) != batch(offset)
    }

    fn head(&self, len: usize) -> Node {
        if len == 0 { 0 } else { self.chain[len - 1] }
    }

    /// Takes note of a place that was handed out behind everything below its offset.
    ///
    /// # Panics
    ///
    /// If it was handed out behind other records before: P4.
    pub fn hand(&mut self, place: Place) {
        let next = place.next().get() as usize;
        assert!(next <= self.chain.len(), "place {place} lies behind the end, {}", self.chain.len());
        let node = self.head(next);
        let before = *self.bound.entry(place).or_insert(node);
        assert_eq!(before, node, "P4: place {place} was handed out behind two records");
        if !self.handed.contains(&place) {
            if self.handed.len() == PLACES_MAX {
                // The oldest half and the newest half: forks lie far back, and near.
                self.handed.remove(PLACES_MAX / 2);
            }
            self.handed.push(place);
        }
    }

    pub fn handed(&self) -> &[Place] {
        &self.handed
    }

    /// How many of the records before a place are those that are there; none for a place that was never handed out.
    pub fn common(&self, place: Place) -> Option<usize> {
        let mut node = *self.bound.get(&place)?;
        while node != 0 && self.chain.get(self.nodes[node].depth - 1) != Some(&node) {
            node = self.nodes[node].parent;
        }
        Some(self.nodes[node].depth)
    }
}
