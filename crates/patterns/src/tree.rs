//! The prefix tree that leads from a line's words to the few patterns that it may belong to: a level for each word, and
//! one branch that takes every word. It must not know texts.

use crate::line::Form;
use crate::words::ANY;
use hashbrown::HashMap;

/// Levels of the tree: words behind them decide by likeness only.
const DEPTH: usize = 28;
/// Branches of a node, the one for any word included. When only one is left it is that one.
const CHILDREN_MAX: u8 = 15;
/// No node, no cluster.
const NONE: u32 = u32::MAX;

/// What all lines of one pattern have in common beside words: how they were read, how many words they have, and what
/// stands between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub form: Form,
    pub joints: Box<[u8]>,
}

#[derive(Debug)]
struct Node {
    word: u32,
    sibling: u32,
    child: u32,
    children: u8,
    /// The first of the leaf's clusters; the others follow by [`Tree::next`].
    cluster: u32,
}

const NODE_BYTES: usize = size_of::<Node>();

#[derive(Debug, Default)]
pub struct Tree {
    roots: HashMap<Shape, u32>,
    nodes: Vec<Node>,
    /// For each cluster the one behind it in its leaf.
    next: Vec<u32>,
    root_bytes: usize,
}

impl Tree {
    /// The clusters that a line with these words may belong to.
    pub fn candidates(&self, form: Form, joints: &[u8], words: &[u32]) -> impl Iterator<Item = usize> {
        let mut cluster = self.leaf(form, joints, words).map_or(NONE, |leaf| self.nodes[leaf as usize].cluster);
        std::iter::from_fn(move || {
            let found = (cluster != NONE).then_some(cluster as usize)?;
            cluster = self.next[found];
            Some(found)
        })
    }

    fn leaf(&self, form: Form, joints: &[u8], words: &[u32]) -> Option<u32> {
        let mut node = *self.roots.get(&ShapeRef { form, joints })?;
        for word in words.iter().take(DEPTH) {
            node = self.child(node, *word).or_else(|| self.child(node, ANY))?;
        }
        Some(node)
    }

    fn child(&self, node: u32, word: u32) -> Option<u32> {
        let mut child = self.nodes[node as usize].child;
        while child != NONE {
            let found = &self.nodes[child as usize];
            if found.word == word {
                return Some(child);
            }
            child = found.sibling;
        }
        None
    }

    /// Adds the next cluster. `varies` says of a word that it hardly comes twice.
    pub fn insert(&mut self, shape: Shape, words: &[u32], varies: impl Fn(usize) -> bool) {
        let mut node = match self.roots.get(&shape) {
            Some(root) => *root,
            None => {
                let root = self.add(ANY);
                self.root_bytes += shape.joints.len() + size_of::<(Shape, u32)>();
                self.roots.insert(shape, root);
                root
            }
        };
        for (i, word) in words.iter().take(DEPTH).enumerate() {
            node = self.child_for(node, *word, varies(i));
        }
        let cluster = self.next.len() as u32;
        let leaf = &mut self.nodes[node as usize];
        self.next.push(leaf.cluster);
        leaf.cluster = cluster;
    }

    /// The branch for a word: its own while there is room, else that for any word.
    fn child_for(&mut self, node: u32, word: u32, varies: bool) -> u32 {
        if let Some(child) = self.child(node, word) {
            return child;
        }
        let any = self.child(node, ANY);
        let room = CHILDREN_MAX.saturating_sub(self.nodes[node as usize].children);
        let own = !varies && if any.is_some() { room > 0 } else { room > 1 };
        if let (false, Some(any)) = (own, any) {
            return any;
        }
        let child = self.add(if own { word } else { ANY });
        let parent = &mut self.nodes[node as usize];
        let sibling = std::mem::replace(&mut parent.child, child);
        parent.children = parent.children.saturating_add(1);
        self.nodes[child as usize].sibling = sibling;
        child
    }

    fn add(&mut self, word: u32) -> u32 {
        self.nodes.push(Node { word, sibling: NONE, child: NONE, children: 0, cluster: NONE });
        self.nodes.len() as u32 - 1
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.nodes.len() * NODE_BYTES + self.next.len() * size_of::<u32>() + self.root_bytes
    }
}

/// A shape to look up without owning it.
#[derive(Hash)]
struct ShapeRef<'a> {
    form: Form,
    joints: &'a [u8],
}

impl hashbrown::Equivalent<Shape> for ShapeRef<'_> {
    fn equivalent(&self, shape: &Shape) -> bool {
        self.form == shape.form && *self.joints == *shape.joints
    }
}
