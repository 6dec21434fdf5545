//! crc32 of few bytes. Most checksums here are over less than 128 bytes, for which `crc32fast` looks up tables; carry-less
//! multiplication needs two thirds of that time. Everything longer, and every other processor, is left to `crc32fast`.
//!
//! Invariant: for any state and bytes the answer is that of `crc32fast`, which the tests compare. The algorithm is that
//! of Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009: the
//! message is taken as a polynomial in blocks of 16 bytes, each folded into the next. The last one is reduced in fewer steps
//! than there, see `reduce`. Zeros in front of a message change nothing, so the odd bytes go first, behind zeros. Four steps
//! are unsafe: calls of functions for processors that have the instruction.

/// From so many bytes on `crc32fast` is as fast, and from so many where its answer is waited for.
#[cfg(any(test, target_arch = "x86_64"))]
const FEW_BYTES: usize = 128;
#[cfg(any(test, target_arch = "x86_64"))]
const FEW_BYTES_OF_BOTH: usize = 256;

/// Continues a checksum.
#[inline]
pub(crate) fn crc32(state: u32, bytes: &[u8]) -> u32 {
    with_sums(Crc32(state, bytes))
}

struct Crc32<'a>(u32, &'a [u8]);

impl Summed for Crc32<'_> {
    type Output = u32;

    #[inline(always)]
    fn run(self, sums: impl Sums) -> u32 {
        sums.of(self.0, self.1)
    }
}

/// How checksums are continued on this processor: asked for once in a step of work, see [`with_sums`].
pub(crate) trait Sums: Copy {
    /// As [`crc32`].
    fn of(self, state: u32, bytes: &[u8]) -> u32;
    /// Continues a checksum with 42 bytes: ten in the low end of the first number, and sixteen in each other one. What was
    /// just computed needn't go through memory, where it couldn't be loaded in blocks before all of it is stored.
    fn of_words(self, state: u32, words: [u128; 3]) -> u32;
    /// Continues a checksum with a message, and beside it the same one with words whose first four bytes are to be the first
    /// answer, and are zero here.
    fn of_both(self, state: u32, message: Message<'_>, words: [u128; 3]) -> (u32, u32) {
        one_by_one(self, state, message, words)
    }
}

/// Some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    Whole(&'a [u8]),
    /// Two bytes, the low one first, and those behind them, which stand somewhere else.
    Fronted(u16, &'a [u8]),
}

impl Message<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        match self {
            Message::Whole(bytes) => bytes.len(),
            Message::Fronted(_, rest) => 2 + rest.len(),
        }
    }
}

fn one_by_one(sums: impl Sums, state: u32, message: Message<'_>, words: [u128; 3]) -> (u32, u32) {
    let first = match message {
        Message::Whole(bytes) => sums.of(state, bytes),
        Message::Fronted(front, rest) => by_library(by_library(state, &front.to_le_bytes()), rest),
    };
    (first, sums.of_words(state, [words[0] | u128::from(first), words[1], words[2]]))
}

/// A step of work with checksums in it.
pub(crate) trait Summed {
    type Output;
    /// Does it. Marked `#[inline(always)]`, so that the sums become a part of it.
    fn run(self, sums: impl Sums) -> Self::Output;
}

/// Does the work, compiled once for processors that have the instruction and once for the others.
#[inline]
pub(crate) fn with_sums<W: Summed>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if folding::is_there() {
        // SAFETY: the processor has the instructions, as was just asked.
        return unsafe { folding::run(work) };
    }
    work.run(Library)
}

#[derive(Clone, Copy)]
struct Library;

impl Sums for Library {
    #[inline]
    fn of(self, state: u32, bytes: &[u8]) -> u32 {
        by_library(state, bytes)
    }

    #[inline]
    fn of_words(self, state: u32, words: [u128; 3]) -> u32 {
        by_library(state, &bytes_of(words))
    }
}

/// The bytes that [`Sums::of_words`] is given.
fn bytes_of(words: [u128; 3]) -> [u8; 42] {
    let mut bytes = [0; 42];
    bytes[..10].copy_from_slice(&words[0].to_le_bytes()[..10]);
    bytes[10..26].copy_from_slice(&words[1].to_le_bytes());
    bytes[26..].copy_from_slice(&words[2].to_le_bytes());
    bytes
}

#[inline]
fn by_library(state: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(state);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(target_arch = "x86_64")]
mod folding {
    #![expect(
        clippy::cast_possible_wrap,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "plain bits"
    )]

    use std::sync::LazyLock;

    use super::{FEW_BYTES, FEW_BYTES_OF_BOTH, Message, Summed, Sums, by_library, one_by_one};

    use std::arch::x86_64::{
        __m128i, _mm_clmulepi64_si128, _mm_cvtsi32_si128, _mm_extract_epi32, _mm_set_epi64x, _mm_shuffle_epi8,
        _mm_srli_epi64, _mm_srli_si128, _mm_xor_si128,
    };

    const BLOCK_BYTES: usize = 16;

    // The paper's constants for the reflected polynomial 0xedb88320.
    const FOLD: (i64, i64) = (0x1_7519_97d0, 0x0_ccaa_009e);
    /// Over the 42 bytes of the words: x^(336 + 32) and x^(336 - 32), as the others.
    const FOLD_WORDS: (i64, i64) = (0x0_a139_84ee, 0x0_2482_5136);
    const POLYNOMIAL: i64 = 0x1_db71_0641;
    /// Times the polynomial, its low 128 bits are 1.
    const INVERSE: (i64, i64) = (0xb4e5_b025_f701_1641_u64 as i64, 0xe8f6_c5af_c0be_831e_u64 as i64);

    /// From index `n` on: moves the first `n` of 16 bytes to the end, behind zeros.
    const MOVES: [u8; 32] = {
        let mut moves = [0x80; 32];
        let mut i = 0;
        while i < 16 {
            moves[16 + i] = i as u8;
            i += 1;
        }
        moves
    };

    /// What the standard library's own cache says takes two looks, and longer than folding a block.
    static IS_THERE: LazyLock<bool> =
        LazyLock::new(|| is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1"));

    #[inline]
    pub(super) fn is_there() -> bool {
        *IS_THERE
    }

    /// Made by [`run`] alone, so that whoever has it runs on a processor with the instructions.
    #[derive(Clone, Copy)]
    struct Folding(());

    impl Sums for Folding {
        #[inline(always)]
        fn of(self, state: u32, bytes: &[u8]) -> u32 {
            if bytes.len() >= FEW_BYTES {
                return by_library(state, bytes);
            }
            // SAFETY: the processor has the instructions, or this couldn't be here.
            unsafe { of_bytes(state, bytes) }
        }

        #[inline(always)]
        fn of_words(self, state: u32, words: [u128; 3]) -> u32 {
            // SAFETY: as above.
            unsafe { of_words(state, words) }
        }

        #[inline(always)]
        fn of_both(self, state: u32, message: Message<'_>, words: [u128; 3]) -> (u32, u32) {
            if !(2 * BLOCK_BYTES..FEW_BYTES_OF_BOTH).contains(&message.len()) {
                return one_by_one(self, state, message, words);
            }
            // SAFETY: as above.
            unsafe {
                match message {
                    Message::Whole(bytes) => of_both(fold_bytes(state, bytes), state, words),
                    Message::Fronted(front, rest) => of_both(fold_fronted(state, front, rest), state, words),
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    pub(super) fn run<W: Summed>(work: W) -> W::Output {
        work.run(Folding(()))
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    pub(super) fn of_bytes(state: u32, bytes: &[u8]) -> u32 {
        if bytes.len() >= BLOCK_BYTES {
            return !reduce(fold_bytes(state, bytes));
        }
        let (state, odd) = (!state, bytes.len());
        // What of the state lies behind the bytes.
        let behind = if odd < 4 { state >> (8 * odd) } else { 0 };
        let mut padded = [0; BLOCK_BYTES];
        padded[..odd].copy_from_slice(bytes);
        let only = _mm_xor_si128(block(&padded), _mm_cvtsi32_si128(state as i32));
        !(reduce(move_back(only, odd)) ^ behind)
    }

    /// Neither answer waits for the other: what the first adds to the second is folded there before it is reduced.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn of_both(folded: __m128i, state: u32, [odd, second, third]: [u128; 3]) -> (u32, u32) {
        // The first answer is complemented and so is the state, where the two meet.
        let first = number((odd ^ u128::from(state)) << 48);
        let words = fold(fold(first, number(second)), number(third));
        (!reduce(folded), !reduce(fold_over(FOLD_WORDS, folded, words)))
    }

    /// Of at least one block.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn fold_bytes(state: u32, bytes: &[u8]) -> __m128i {
        let (state, odd) = (!state, bytes.len() % BLOCK_BYTES);
        // What of the state lies behind the first `odd` bytes.
        let behind = if odd < 4 { state >> (8 * odd) } else { 0 };
        let first = _mm_xor_si128(block(array(&bytes[..BLOCK_BYTES])), _mm_cvtsi32_si128(state as i32));
        if odd == 0 {
            return fold_all(first, &bytes[BLOCK_BYTES..]);
        }
        let second = block(array(&bytes[odd..odd + BLOCK_BYTES]));
        let second = _mm_xor_si128(second, _mm_cvtsi32_si128(behind as i32));
        fold_all(fold(move_back(first, odd), second), &bytes[odd + BLOCK_BYTES..])
    }

    /// Of at least 30 bytes behind the front: with it the first block, and the second begins behind the odd bytes.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn fold_fronted(state: u32, front: u16, rest: &[u8]) -> __m128i {
        let state = !state;
        let odd = (2 + rest.len()) % BLOCK_BYTES;
        let behind = if odd < 4 { state >> (8 * odd) } else { 0 };
        let begins = u128::from_le_bytes(*array(&rest[..BLOCK_BYTES]));
        let first = number((begins << 16 | u128::from(front)) ^ u128::from(state));
        let second = match odd {
            0 => return fold_all(first, &rest[BLOCK_BYTES - 2..]),
            1 => begins << 8 | u128::from(front >> 8),
            _ => u128::from_le_bytes(*array(&rest[odd - 2..odd + BLOCK_BYTES - 2])),
        };
        let folded = fold(move_back(first, odd), number(second ^ u128::from(behind)));
        fold_all(folded, &rest[odd + BLOCK_BYTES - 2..])
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    pub(super) fn of_words(state: u32, [odd, second, third]: [u128; 3]) -> u32 {
        let first = number((odd ^ u128::from(!state)) << 48);
        !reduce(fold(fold(first, number(second)), number(third)))
    }

    #[inline]
    fn array(bytes: &[u8]) -> &[u8; 16] {
        bytes.try_into().expect("sixteen bytes")
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn number(number: u128) -> __m128i {
        _mm_set_epi64x((number >> 64) as i64, number as i64)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn block(bytes: &[u8; 16]) -> __m128i {
        number(u128::from_le_bytes(*bytes))
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn move_back(bytes: __m128i, n: usize) -> __m128i {
        _mm_shuffle_epi8(bytes, block(array(&MOVES[n..n + 16])))
    }

    /// Takes 16 bytes further, into the next 16.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn fold(bytes: __m128i, next: __m128i) -> __m128i {
        fold_over(FOLD, bytes, next)
    }

    /// Takes 16 bytes further by as much as the constants are for.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn fold_over(by: (i64, i64), bytes: __m128i, next: __m128i) -> __m128i {
        let by = _mm_set_epi64x(by.1, by.0);
        let (low, high) = (_mm_clmulepi64_si128(bytes, by, 0x00), _mm_clmulepi64_si128(bytes, by, 0x11));
        _mm_xor_si128(_mm_xor_si128(low, next), high)
    }

    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn fold_all(first: __m128i, rest: &[u8]) -> __m128i {
        rest.as_chunks().0.iter().fold(first, |folded, next| fold(folded, block(next)))
    }

    /// The remainder of 16 bytes, by Hensel's division, which begins at the low end: modulo x^128 they are the polynomial
    /// times a quotient, which is their product with the polynomial's inverse there. That multiple is longer than the bytes
    /// by what the quotient's last 32 bits give from x^128 on, and this is the remainder.
    #[inline]
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn reduce(bytes: __m128i) -> u32 {
        let inverse = _mm_set_epi64x(INVERSE.1, INVERSE.0);
        let carried = _mm_srli_si128(_mm_clmulepi64_si128(bytes, inverse, 0x00), 8);
        let crossed =
            _mm_xor_si128(_mm_clmulepi64_si128(bytes, inverse, 0x01), _mm_clmulepi64_si128(bytes, inverse, 0x10));
        let quotient = _mm_srli_epi64(_mm_xor_si128(carried, crossed), 32);
        let product = _mm_clmulepi64_si128(quotient, _mm_set_epi64x(0, POLYNOMIAL), 0x00);
        _mm_extract_epi32(product, 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [u32; 6] = [0, 1, 0x8000_0000, 0xdead_beef, 0x1234_5678, u32::MAX];

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn every_length_from_every_state_is_as_the_library_says() {
        let bytes = noise(2 * FEW_BYTES + 15);
        for len in 0..=2 * FEW_BYTES {
            for (at, state) in STATES.into_iter().enumerate() {
                let bytes = &bytes[at..at + len];
                assert_eq!(crc32(state, bytes), by_library(state, bytes), "{len} bytes from {state:#x}");
            }
        }
    }

    #[test]
    fn every_bit_of_few_bytes_counts_as_the_library_says() {
        for len in [1, 2, 3, 4, 5, 15, 16, 17, 19, 20, 42] {
            for bit in 0..len * 8 {
                let mut bytes = vec![0; len];
                bytes[bit / 8] = 1 << (bit % 8);
                assert_eq!(crc32(7, &bytes), by_library(7, &bytes), "bit {bit} of {len} bytes");
            }
        }
    }

    struct OfWords(u32, [u128; 3]);

    impl Summed for OfWords {
        type Output = u32;

        fn run(self, sums: impl Sums) -> u32 {
            sums.of_words(self.0, self.1)
        }
    }

    #[test]
    fn words_are_their_bytes() {
        let bytes = noise(42);
        let number = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen"));
        let words = [number(0) & (u128::MAX >> 48), number(10), number(26)];
        for state in STATES {
            assert_eq!(with_sums(OfWords(state, words)), by_library(state, &bytes), "{state:#x}");
            assert_eq!(Library.of_words(state, words), by_library(state, &bytes), "{state:#x}");
        }
    }

    struct OfBoth<'a>(u32, &'a [u8], [u128; 3]);

    impl Summed for OfBoth<'_> {
        type Output = [(u32, u32); 2];

        fn run(self, sums: impl Sums) -> [(u32, u32); 2] {
            let OfBoth(state, bytes, words) = self;
            let fronted = Message::Fronted(u16::from_le_bytes([bytes[0], bytes[1]]), &bytes[2..]);
            [Message::Whole(bytes), fronted].map(|message| sums.of_both(state, message, words))
        }
    }

    #[test]
    fn words_that_begin_with_a_sum_are_summed_beside_it() {
        let bytes = noise(FEW_BYTES_OF_BOTH + 40);
        let number = |at: usize| u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen"));
        let words = [number(0) & (u128::MAX >> 48) & !0xffff_ffff, number(10), number(26)];
        for (len, state) in (2..bytes.len()).flat_map(|len| STATES.map(|state| (len, state))) {
            let first = by_library(state, &bytes[..len]);
            let second = by_library(state, &bytes_of([words[0] | u128::from(first), words[1], words[2]]));
            let of_both = || OfBoth(state, &bytes[..len], words);
            assert_eq!(with_sums(of_both()), [(first, second); 2], "{len} bytes from {state:#x}");
            assert_eq!(of_both().run(Library), [(first, second); 2], "{len} bytes from {state:#x}");
        }
    }

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    }
}
