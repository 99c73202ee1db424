//! Where the codes of a row lie in the lines of a block; see `layout`.

use super::layout::{BLOCK, CHUNK, QuantLayout};

impl QuantLayout {
    /// The codes of row `lane`.
    pub fn read_codes(self, lines: &[u8], lane: usize) -> [u8; BLOCK] {
        std::array::from_fn(|column| {
            let (chunk, at) = (column / CHUNK, lane * CHUNK + column % CHUNK);
            let line = |index: usize| lines[index * 64 + at];
            let nibble = || line(chunk % 4) >> (chunk / 4 * 4) & 15;
            match self {
                Self::Q4 | Self::Q4Wide => nibble(),
                Self::Q5 | Self::Q5Wide => nibble() | (line(4) >> chunk & 1) << 4,
                Self::Q6 => nibble() | (line(4 + chunk / 4) >> (chunk % 4 * 2) & 3) << 4,
                Self::Q8 => line(chunk),
            }
        })
    }

    /// Writes the codes of row `lane`, whose bytes are still zero.
    pub fn write_codes(self, codes: &[u8; BLOCK], lines: &mut [u8], lane: usize) {
        for (chunk, codes) in codes.as_chunks::<CHUNK>().0.iter().enumerate() {
            for (at, code) in codes.iter().enumerate() {
                let at = lane * CHUNK + at;
                if self == Self::Q8 {
                    lines[chunk * 64 + at] = *code;
                    continue;
                }
                lines[chunk % 4 * 64 + at] |= (code & 15) << (chunk / 4 * 4);
                match self {
                    Self::Q5 | Self::Q5Wide => lines[4 * 64 + at] |= (code >> 4) << chunk,
                    Self::Q6 => {
                        lines[(4 + chunk / 4) * 64 + at] |= (code >> 4) << (chunk % 4 * 2);
                    }
                    _ => {}
                }
            }
        }
    }
}
