//! Finding many byte strings at once in one pass (Aho and Corasick, 1975), whatever the text: a cell chooses the text.
//!
//! Knows neither secrets nor streams: needles go in, the state of a search is the caller's.

/// The node at which nothing is matched.
pub const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;
/// Depth and byte share a word: there can be millions of nodes.
const DEPTH_SHIFT: u32 = 8;

#[derive(Clone, Copy)]
struct Node {
    fail: u32,
    child: u32,
    sibling: u32,
    /// The longest needle that ends here.
    needle: u32,
    depth_byte: u32,
}

/// Needles, ready to be searched for.
pub struct Automaton {
    nodes: Vec<Node>,
    /// Children of the root.
    first: [u32; 256],
    /// Which two bytes may begin a needle, a bit each: text without secrets is passed over by it alone.
    pairs: Box<[u64; 1024]>,
    lengths: Vec<u32>,
}

impl Automaton {
    /// Needles of two bytes at least; `between` may stand behind the first byte of a needle as well.
    pub fn new<'n>(needles: impl IntoIterator<Item = &'n [u8]>, between: &[u8]) -> Self {
        let root = Node { fail: ROOT, child: NONE, sibling: NONE, needle: NONE, depth_byte: 0 };
        let mut made = Self {
            nodes: vec![root],
            first: [NONE; 256],
            pairs: Box::new([0; 1024]),
            lengths: Vec::new(),
        };
        for needle in needles {
            made.insert(needle, between);
        }
        made.link();
        made
    }

    fn insert(&mut self, needle: &[u8], between: &[u8]) {
        debug_assert!(needle.len() >= 2, "the filter looks at two bytes");
        for second in needle[1..2].iter().chain(between) {
            let pair = pair(needle[0], *second);
            self.pairs[pair >> 6] |= 1 << (pair & 63);
        }
        let mut at = ROOT;
        for &byte in needle {
            at = match self.child(at, byte) {
                NONE => self.grow(at, byte),
                child => child,
            };
        }
        if self.nodes[at as usize].needle == NONE {
            // There are fewer needles than bytes in them, and these fit.
            self.nodes[at as usize].needle = u32::try_from(self.lengths.len()).unwrap_or(NONE);
        }
        self.lengths.push(u32::try_from(needle.len()).unwrap_or(u32::MAX));
    }

    fn grow(&mut self, at: u32, byte: u8) -> u32 {
        let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let parent = &mut self.nodes[at as usize];
        let depth = (parent.depth_byte >> DEPTH_SHIFT) + 1;
        let sibling = std::mem::replace(&mut parent.child, new);
        self.nodes.push(Node {
            fail: ROOT,
            child: NONE,
            sibling,
            needle: NONE,
            depth_byte: depth << DEPTH_SHIFT | u32::from(byte),
        });
        if at == ROOT {
            self.first[usize::from(byte)] = new;
        }
        new
    }

    #[inline]
    fn child(&self, at: u32, byte: u8) -> u32 {
        if at == ROOT {
            return self.first[usize::from(byte)];
        }
        let mut child = self.nodes[at as usize].child;
        while child != NONE {
            let node = &self.nodes[child as usize];
            if node.depth_byte & 0xff == u32::from(byte) {
                break;
            }
            child = node.sibling;
        }
        child
    }

    /// Where to go on from each node when its byte does not follow. Parents come before their children.
    fn link(&mut self) {
        let mut queue: Vec<u32> = self.first.iter().copied().filter(|node| *node != NONE).collect();
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let mut child = self.nodes[at as usize].child;
            while child != NONE {
                let Node { sibling, depth_byte, .. } = self.nodes[child as usize];
                #[expect(clippy::cast_possible_truncation, reason = "the byte is in the low bits")]
                let fail = self.step(self.nodes[at as usize].fail, depth_byte as u8);
                self.nodes[child as usize].fail = fail;
                if self.nodes[child as usize].needle == NONE {
                    self.nodes[child as usize].needle = self.nodes[fail as usize].needle;
                }
                queue.push(child);
                child = sibling;
            }
        }
    }

    /// The node after one more byte.
    #[inline]
    pub fn step(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.child(at, byte) {
                NONE if at == ROOT => return ROOT,
                NONE => at = self.nodes[at as usize].fail,
                child => return child,
            }
        }
    }

    /// How many bytes of the text may be the beginning of a needle.
    #[inline]
    pub fn depth(&self, at: u32) -> usize {
        (self.nodes[at as usize].depth_byte >> DEPTH_SHIFT) as usize
    }

    /// The longest needle that ends at this node: its number and its length.
    #[inline]
    pub fn ends(&self, at: u32) -> Option<(usize, usize)> {
        let needle = self.nodes[at as usize].needle as usize;
        Some((needle, *self.lengths.get(needle)? as usize))
    }

    /// The first place from `from` on at which a needle may begin; the end of the text's last byte is one.
    #[inline]
    pub fn skip(&self, text: &[u8], from: usize) -> usize {
        let rest = text.get(from..).unwrap_or_default();
        let found = rest.windows(2).position(|two| {
            let pair = pair(two[0], two[1]);
            self.pairs[pair >> 6] >> (pair & 63) & 1 == 1
        });
        found.map_or_else(|| text.len().saturating_sub(1).max(from), |at| from + at)
    }
}

#[inline]
fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}
