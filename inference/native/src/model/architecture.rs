//! What sets the decoders apart: a line for each difference, none of them anywhere else.

use crate::error::{Error, Result};

/// The value of `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

/// The gate of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Silu,
    /// By its approximation with tanh.
    Gelu,
}

impl Architecture {
    const ALL: [Self; 4] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Gemma3];

    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|each| each.name() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                Error::new(format!(
                    "architecture {name} is not supported, expected {names}"
                ))
            })
    }

    /// Also the beginning of its metadata keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
        }
    }

    /// Queries, keys and values have a bias.
    pub fn has_bias(self) -> bool {
        self == Self::Qwen2
    }

    /// Each head of queries and keys is normalised before rope.
    pub fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// Attention and feed-forward network are normalised behind, too.
    pub fn has_post_norms(self) -> bool {
        self == Self::Gemma3
    }

    pub fn gate(self) -> Gate {
        if self == Self::Gemma3 {
            Gate::Gelu
        } else {
            Gate::Silu
        }
    }

    /// Rope turns value `i` of a head with value `i + rope_dim / 2`. Otherwise with its neighbour, which is how the
    /// conversion to GGUF stores llama's queries and keys.
    pub fn turns_halves(self) -> bool {
        self != Self::Llama
    }
}
