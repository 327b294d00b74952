//! Looks for bytes in a text, sixteen at a time.

pub use block::Block;

/// Sixteen bytes, compared all at once. What a comparison leaves has all bits of a byte set, or none.
#[cfg(target_family = "wasm")]
mod block {
    use core::arch::wasm32::{
        i8x16_lt, i8x16_splat, u8x16_bitmask, u8x16_eq, u8x16_splat, v128, v128_or,
    };
    use core::mem::transmute;

    #[derive(Clone, Copy)]
    pub struct Block(v128);

    impl Block {
        pub fn new(bytes: [u8; 16]) -> Self {
            // SAFETY: a vector is made of sixteen bytes, whichever.
            Self(unsafe { transmute::<[u8; 16], v128>(bytes) })
        }

        pub fn is(self, byte: u8) -> Self {
            Self(u8x16_eq(self.0, u8x16_splat(byte)))
        }

        /// Whether bytes are less than `byte` or not ASCII.
        pub fn is_below(self, byte: i8) -> Self {
            Self(i8x16_lt(self.0, i8x16_splat(byte)))
        }

        /// Sets bits in all bytes.
        pub fn with(self, bits: u8) -> Self {
            Self(v128_or(self.0, u8x16_splat(bits)))
        }

        pub fn or(self, other: Self) -> Self {
            Self(v128_or(self.0, other.0))
        }

        /// The place of the first byte whose bits are set.
        pub fn first(self) -> Option<usize> {
            let set = u8x16_bitmask(self.0);
            (set != 0).then(|| set.trailing_zeros() as usize)
        }
    }
}

/// The same where nobody's processor is known.
#[cfg(not(target_family = "wasm"))]
mod block {
    use core::array::from_fn;

    #[derive(Clone, Copy)]
    pub struct Block([u8; 16]);

    impl Block {
        pub fn new(bytes: [u8; 16]) -> Self {
            Self(bytes)
        }

        pub fn is(self, byte: u8) -> Self {
            Self(from_fn(|at| if self.0[at] == byte { 0xff } else { 0 }))
        }

        pub fn is_below(self, byte: i8) -> Self {
            Self(from_fn(|at| {
                let is = self.0[at].cast_signed() < byte;
                if is { 0xff } else { 0 }
            }))
        }

        pub fn with(self, bits: u8) -> Self {
            Self(from_fn(|at| self.0[at] | bits))
        }

        pub fn or(self, other: Self) -> Self {
            Self(from_fn(|at| self.0[at] | other.0[at]))
        }

        pub fn first(self) -> Option<usize> {
            let set = u128::from_le_bytes(self.0);
            (set != 0).then(|| (set.trailing_zeros() / 8) as usize)
        }
    }
}

/// The place of the first byte of `text` that is of `class`, or its end. NUL must be of the class.
#[inline(always)]
pub fn find(text: &[u8], class: impl Fn(Block) -> Block) -> usize {
    until(text, class, |_, _| {})
}

/// The same. `each` gets the place of each block up to there, none of which is behind the end of the text, and
/// its bytes. Behind the end, those are NULs.
#[inline(always)]
pub fn until(
    text: &[u8],
    class: impl Fn(Block) -> Block,
    mut each: impl FnMut(usize, [u8; 16]),
) -> usize {
    let (blocks, rest) = text.as_chunks();
    let mut at = 0;
    for block in blocks {
        each(at, *block);
        if let Some(first) = class(Block::new(*block)).first() {
            return at + first;
        }
        at += block.len();
    }
    if rest.is_empty() {
        return at;
    }
    let mut block = [0; 16];
    if let Some(bytes) = block.get_mut(..rest.len()) {
        bytes.copy_from_slice(rest);
    }
    each(at, block);
    at + class(Block::new(block)).first().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Room;
    use alloc::vec;

    #[test]
    fn the_first_byte_of_a_class_is_found_wherever_it_stands() {
        let class = |b: Block| b.is_below(1).or(b.with(1).is(b'y'));
        let check = |text: &[u8], at: usize| {
            assert_eq!(find(text, class), at, "{text:?}");
            let mut out = Room::new(0);
            out.extend(b"before");
            assert_eq!(out.extend_until(text, class), at, "{text:?}");
            assert_eq!(out[..], [b"before", &text[..at]].concat());
        };
        for len in 0..70 {
            let mut text = vec![b'a'; len];
            check(&text, len);
            for at in 0..len {
                for byte in [0, b'x', b'y', 0x80, 0xff] {
                    text[at] = byte;
                    check(&text, at);
                    check(&text[at / 2..], at - at / 2);
                    check(&text[at + 1..], len - at - 1);
                    text[at] = b'a';
                }
            }
        }
    }
}
