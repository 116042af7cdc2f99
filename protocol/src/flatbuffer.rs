//! Reading FlatBuffers, as far as Arrow's metadata needs it (<https://flatbuffers.dev/internals/>). Every offset is
//! checked; a damaged buffer reads as absent fields.

/// A table within a buffer.
#[derive(Debug, Clone, Copy)]
pub struct Node<'b> {
    bytes: &'b [u8],
    at: usize,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    let distance = usize::try_from(u32::from_le_bytes(array(bytes, at)?)).ok()?;
    at.checked_add(distance).filter(|to| distance > 0 && *to < bytes.len())
}

impl<'b> Node<'b> {
    /// The root table of a buffer.
    #[must_use]
    pub fn root(bytes: &'b [u8]) -> Option<Self> {
        Some(Self { bytes, at: offset(bytes, 0)? })
    }

    /// Where the field with this number in the schema is stored.
    fn field(&self, number: usize) -> Option<usize> {
        let back = i32::from_le_bytes(array(self.bytes, self.at)?);
        let vtable = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let len = usize::from(u16::from_le_bytes(array(self.bytes, vtable)?));
        let entry = 4 + 2 * number;
        if entry + 2 > len {
            return None;
        }
        let distance = u16::from_le_bytes(array(self.bytes, vtable.checked_add(entry)?)?);
        if distance == 0 { None } else { self.at.checked_add(usize::from(distance)) }
    }

    /// A byte.
    #[must_use]
    pub fn u8(&self, number: usize) -> Option<u8> {
        self.bytes.get(self.field(number)?).copied()
    }

    /// A number of two bytes.
    #[must_use]
    pub fn i16(&self, number: usize) -> Option<i16> {
        Some(i16::from_le_bytes(array(self.bytes, self.field(number)?)?))
    }

    /// A number of four bytes.
    #[must_use]
    pub fn i32(&self, number: usize) -> Option<i32> {
        Some(i32::from_le_bytes(array(self.bytes, self.field(number)?)?))
    }

    /// A number of eight bytes.
    #[must_use]
    pub fn i64(&self, number: usize) -> Option<i64> {
        Some(i64::from_le_bytes(array(self.bytes, self.field(number)?)?))
    }

    /// A table.
    #[must_use]
    pub fn table(&self, number: usize) -> Option<Node<'b>> {
        Some(Node { bytes: self.bytes, at: offset(self.bytes, self.field(number)?)? })
    }

    /// A text, if it is UTF-8.
    #[must_use]
    pub fn text(&self, number: usize) -> Option<&'b str> {
        let (at, len) = self.vector(number, 1)?;
        std::str::from_utf8(&self.bytes[at..at + len]).ok()
    }

    /// Where a vector's elements begin and how many there are; all of them are within the buffer.
    fn vector(&self, number: usize, width: usize) -> Option<(usize, usize)> {
        let at = offset(self.bytes, self.field(number)?)?;
        let len = usize::try_from(u32::from_le_bytes(array(self.bytes, at)?)).ok()?;
        let from = at.checked_add(4)?;
        let end = from.checked_add(len.checked_mul(width)?)?;
        (end <= self.bytes.len()).then_some((from, len))
    }

    /// The tables of a vector.
    #[must_use]
    pub fn tables(&self, number: usize) -> Vec<Node<'b>> {
        let Some((from, len)) = self.vector(number, 4) else { return Vec::new() };
        // No schema has so many columns; a hostile length could claim as many as fit the buffer.
        let all = (0..len.min(65_536)).map(|i| offset(self.bytes, from + 4 * i));
        all.map_while(|at| Some(Node { bytes: self.bytes, at: at? })).collect()
    }

    /// The fixed-size structs of a vector, as bytes.
    #[must_use]
    pub fn structs<const N: usize>(&self, number: usize) -> Vec<[u8; N]> {
        let Some((from, len)) = self.vector(number, N) else { return Vec::new() };
        (0..len).map_while(|i| array(self.bytes, from + N * i)).collect()
    }
}
