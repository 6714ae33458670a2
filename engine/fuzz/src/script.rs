//! An input as a list of small choices; when it is used up, every further choice is 0.

/// The rest of an input.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    /// The next two bytes.
    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        let number = if n <= 256 {
            usize::from(self.byte())
        } else {
            usize::from(self.word())
        };
        number % n
    }

    /// The next bytes, at most `n` of them.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A text as long as the next byte says, at most `most` bytes before it is made valid.
    pub fn text(&mut self, most: usize) -> String {
        let n = self.below(most + 1);
        String::from_utf8_lossy(self.bytes(n)).into_owned()
    }

    /// All that is left, as a text.
    pub fn rest_as_text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}
