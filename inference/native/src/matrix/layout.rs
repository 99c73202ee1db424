//! How the weights of a tile lie in memory: 16 rows, interleaved so that one vector lane is one row.
//!
//! Quantised, per block of 32 columns: scales, then codes. Byte `4 r + j` of a 64-byte line belongs to row `r`; *chunk* `g` of a
//! block is its columns `4 g … 4 g + 3`.
//!
//! | layout | from             | scales                  | codes                                                            |
//! | ------ | ---------------- | ----------------------- | ---------------------------------------------------------------- |
//! | Q4     | `Q4_0`, `Q4_1`   | 16 scales, 16 minima f16 | 4 lines: chunk `p` in the low nibbles, chunk `p + 4` in the high |
//! | Q5     | `Q5_0`, `Q5_1`   | as Q4                   | as Q4, and a line whose bit `g` is the fifth bit of chunk `g`    |
//! | `Q4Wide` | `Q4_K`         | as Q4, but f32          | as Q4                                                            |
//! | `Q5Wide` | `Q5_K`         | as Q4, but f32          | as Q5                                                            |
//! | Q6     | `Q6_K`           | 2 × 16 scales f32       | as Q4, and 2 lines: bits `2 p, 2 p + 1` are the upper bits of chunk `p`, of chunk `p + 4` |
//! | Q8     | `Q8_0`           | 16 scales f32           | 8 lines, one for each chunk                                      |
//!
//! The value is `scale · code + minimum`; of Q6 `scale · (code − 32)` with a scale for each half of the block; of Q8
//! `scale · (code − 128)`. Codes are unsigned, which is what the dot instructions want. Scales of `_K` formats are products of
//! two numbers of the file, which f32 holds exactly and f16 does not.
//!
//! Memory, packed ÷ file: `Q4_0` 1.11, `Q4_1` 1, `Q5_0` 1.09, `Q5_1` 1, `Q8_0` 1.06, `Q4_K` 1.33, `Q5_K` 1.27, `Q6_K` 1.22, floats 1.
//!
//! In the arithmetic of rows a tile begins with a scale for each row, and the scales of a block are two 16-bit numbers a row, of
//! every layout: see `rows`. Codes lie as above.
//!
//! Float layouts have 16 values a column. Rows beyond the last are zero.

use super::rows::{BLOCK_SCALES, ROW_SCALES};
use crate::gguf::TensorType;

/// Rows of a tile.
pub const TILE: usize = 16;
/// Columns of a quantised block.
pub const BLOCK: usize = 32;
/// Columns of a chunk: as many as one dot instruction takes.
pub const CHUNK: usize = 4;

/// How quantised weights meet activations. Products of the two have different bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// The file's codes and scales, activations of 8 bits with a scale for each 32.
    Blocks,
    /// Weights of 8 bits with a scale for each row, activations of 16 bits with a scale for each token.
    Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Quant(QuantLayout),
    /// Codes as of `Quant`, scales as of `rows`
    Rows(QuantLayout),
    Float(FloatLayout),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantLayout {
    Q4,
    Q4Wide,
    Q5,
    Q5Wide,
    Q6,
    Q8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatLayout {
    F16,
    Bf16,
    F32,
}

impl Arithmetic {
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Rows => "rows",
        }
    }
}

impl Layout {
    pub fn of(kind: TensorType, arithmetic: Arithmetic) -> Self {
        use QuantLayout::{Q4, Q4Wide, Q5, Q5Wide, Q6, Q8};
        // The scales of rows need no wide layouts.
        let quant = |blocks: QuantLayout, rows: QuantLayout| match arithmetic {
            Arithmetic::Blocks => Self::Quant(blocks),
            Arithmetic::Rows => Self::Rows(rows),
        };
        match kind {
            TensorType::F32 => Self::Float(FloatLayout::F32),
            TensorType::F16 => Self::Float(FloatLayout::F16),
            TensorType::Bf16 => Self::Float(FloatLayout::Bf16),
            TensorType::Q4_0 | TensorType::Q4_1 => quant(Q4, Q4),
            TensorType::Q5_0 | TensorType::Q5_1 => quant(Q5, Q5),
            TensorType::Q8_0 => quant(Q8, Q8),
            TensorType::Q4_K => quant(Q4Wide, Q4),
            TensorType::Q5_K => quant(Q5Wide, Q5),
            TensorType::Q6_K => quant(Q6, Q6),
        }
    }

    /// Bytes of a tile; a quantised one has a multiple of `BLOCK` columns.
    pub fn tile_bytes(self, num_columns: usize) -> usize {
        match self {
            Self::Quant(layout) => num_columns / BLOCK * layout.block_bytes(),
            Self::Rows(layout) => ROW_SCALES + num_columns / BLOCK * layout.row_block_bytes(),
            Self::Float(layout) => num_columns * layout.column_bytes(),
        }
    }
}

impl QuantLayout {
    /// Bytes before the codes of a block.
    pub const fn scale_bytes(self) -> usize {
        match self {
            Self::Q4 | Self::Q5 | Self::Q8 => 64,
            Self::Q4Wide | Self::Q5Wide | Self::Q6 => 128,
        }
    }

    /// Bytes of the codes of 16 rows × 32 columns.
    pub const fn code_bytes(self) -> usize {
        match self {
            Self::Q4 | Self::Q4Wide => 256,
            Self::Q5 | Self::Q5Wide => 320,
            Self::Q6 => 384,
            Self::Q8 => 512,
        }
    }

    /// Bytes of 16 rows × 32 columns.
    pub const fn block_bytes(self) -> usize {
        self.scale_bytes() + self.code_bytes()
    }

    /// The same in the arithmetic of rows.
    pub const fn row_block_bytes(self) -> usize {
        BLOCK_SCALES + self.code_bytes()
    }
}

impl FloatLayout {
    /// Bytes of 16 rows of one column.
    pub const fn column_bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => TILE * 2,
            Self::F32 => TILE * 4,
        }
    }
}
