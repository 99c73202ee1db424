//! Rotary position embeddings: how fast each pair turns, and the table of angles.
//! Sources: Su et al. 2021; Chen et al. 2023 for the linear scaling; the factors of llama 3.1 come with its files.

use super::shape::Shape;
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};
use crate::matrix::load_vector;

/// What the layers with a sliding window turn by, unless the file says otherwise.
const WINDOW_BASE: f32 = 10_000.0;

/// [`context_length`, `rope_dim` / 2] of (cos, sin)
pub type RopeTable = Vec<(f32, f32)>;

/// The table of the layers that attend to everything, then, if there is a sliding window, that of the others.
pub fn rope_tables(gguf: &Gguf, shape: &Shape) -> Result<Vec<RopeTable>> {
    let key = |key: &str| format!("{}.rope.{key}", shape.architecture.name());
    let base = |name: &str, default: f32| match gguf.value(&key(name)) {
        None => Ok(default),
        Some(_) => gguf.float(&key(name)).and_then(|base| {
            if base > 0.0 {
                Ok(base)
            } else {
                Err(Error::new(format!("{} is not positive", key(name))))
            }
        }),
    };
    let divisors = divisors(gguf, shape)?;
    let mut tables = vec![table(shape, base("freq_base", 10_000.0)?, &divisors)];
    if shape.window.is_some() {
        let plain = vec![1.0; shape.rope_dim / 2];
        tables.push(table(shape, base("freq_base_swa", WINDOW_BASE)?, &plain));
    }
    Ok(tables)
}

/// What each pair's frequency is divided by.
fn divisors(gguf: &Gguf, shape: &Shape) -> Result<Vec<f64>> {
    let (half, name) = (shape.rope_dim / 2, shape.architecture.name());
    let factor = match gguf.value(&format!("{name}.rope.scaling.type")) {
        None => 1.0,
        Some(Value::Text(kind)) if kind == "none" => 1.0,
        Some(Value::Text(kind)) if kind == "linear" => {
            gguf.float(&format!("{name}.rope.scaling.factor"))?
        }
        Some(kind) => {
            return Err(Error::new(format!(
                "the model scales its rope by {kind:?}, expected none or linear"
            )));
        }
    };
    let factors = if gguf.has_tensor("rope_freqs.weight") {
        load_vector(gguf, "rope_freqs.weight", half)?
    } else {
        vec![1.0; half]
    };
    if !factors.iter().all(|each| *each * factor > 0.0) {
        return Err(Error::new("a factor of the model's rope is not positive"));
    }
    Ok(factors
        .iter()
        .map(|each| f64::from(*each) * f64::from(factor))
        .collect())
}

fn table(shape: &Shape, base: f32, divisors: &[f64]) -> RopeTable {
    let frequencies: Vec<f64> = divisors
        .iter()
        .enumerate()
        .map(|(pair, divisor)| {
            f64::from(base).powf(-2.0 * pair as f64 / shape.rope_dim as f64) / divisor
        })
        .collect();
    (0..shape.context_length)
        .flat_map(|position| {
            frequencies
                .iter()
                .map(move |frequency| (position as f64 * frequency).sin_cos())
        })
        .map(|(sin, cos)| (cos as f32, sin as f32))
        .collect()
}

/// Where value `at` of a query or key is in a file whose pairs are halves apart. Bringing pairs side by side changes no
/// product of a query and a key, as both are ordered alike, and lets one kernel turn them all.
pub fn neighbours_from_halves(at: usize, head_dim: usize, rope_dim: usize) -> usize {
    let (head, within) = (at / head_dim * head_dim, at % head_dim);
    if within < rope_dim {
        head + within % 2 * (rope_dim / 2) + within / 2
    } else {
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_neighbours_in_each_head_and_the_rest_stays() {
        let order = |head_dim, rope_dim| {
            (0..2 * head_dim)
                .map(|at| neighbours_from_halves(at, head_dim, rope_dim))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(6, 4), [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]);
        assert_eq!(order(4, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
