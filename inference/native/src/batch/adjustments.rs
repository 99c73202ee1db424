//! Changes to single logits before a sample is drawn. The other side counts tokens; this one only applies what it made.

/// See `AdjustmentRows` in logit-adjustments.ts: the same fields in the same order.
#[derive(Default)]
pub struct Adjustments {
    /// [samples + 1] where each sample's entries begin; empty where no sample has any.
    pub starts: Vec<i32>,
    /// [entries] each.
    pub ids: Vec<i32>,
    pub biases: Vec<f32>,
    pub scales: Vec<f32>,
    pub penalties: Vec<f32>,
}

/// The entries of one sample.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    ids: &'a [i32],
    biases: &'a [f32],
    scales: &'a [f32],
    penalties: &'a [f32],
}

impl Adjustments {
    pub fn are_sound(&self, num_samples: usize, vocab_size: usize) -> bool {
        let len = self.ids.len();
        let starts = &self.starts;
        let are_starts = if starts.is_empty() {
            len == 0
        } else {
            starts.len() == num_samples + 1
                && starts[0] == 0
                && starts[num_samples] as usize == len
                && starts.is_sorted()
        };
        are_starts
            && [&self.biases, &self.scales, &self.penalties]
                .iter()
                .all(|values| values.len() == len && values.iter().all(|each| each.is_finite()))
            && self.scales.iter().all(|scale| *scale > 0.0)
            && self
                .ids
                .iter()
                .all(|id| *id >= 0 && (*id as usize) < vocab_size)
    }

    /// The entries of these samples, in this order.
    pub fn select(&self, samples: &[usize]) -> Self {
        if self.starts.is_empty() {
            return Self::default();
        }
        let mut selected = Self {
            starts: vec![0],
            ..Self::default()
        };
        for row in samples.iter().map(|sample| self.row(*sample)) {
            selected.ids.extend(row.ids);
            selected.biases.extend(row.biases);
            selected.scales.extend(row.scales);
            selected.penalties.extend(row.penalties);
            selected.starts.push(selected.ids.len() as i32);
        }
        selected
    }

    /// A sample's entries, after `are_sound`.
    pub fn row(&self, sample: usize) -> Row<'_> {
        let range = match self.starts.get(sample..sample + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        };
        Row {
            ids: &self.ids[range.clone()],
            biases: &self.biases[range.clone()],
            scales: &self.scales[range.clone()],
            penalties: &self.penalties[range],
        }
    }
}

impl Row<'_> {
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds the bias; divides what is then positive by the scale, multiplies what is not; subtracts the penalty.
    /// Finite logits stay finite. Source of the scale: the penalised sampling of CTRL, arXiv 1909.05858 §4.1.
    pub fn apply(&self, logits: &mut [f32]) {
        let factors = self.biases.iter().zip(self.scales).zip(self.penalties);
        for (id, ((bias, scale), penalty)) in self.ids.iter().zip(factors) {
            let logit = &mut logits[*id as usize];
            let biased = *logit + bias;
            let scaled = if biased > 0.0 {
                biased / scale
            } else {
                biased * scale
            };
            *logit = (scaled - penalty).clamp(f32::MIN, f32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_samples() -> Adjustments {
        Adjustments {
            starts: vec![0, 0, 3],
            ids: vec![2, 0, 1],
            biases: vec![0.0, -5.0, 100.0],
            scales: vec![2.0, 2.0, 1.0],
            penalties: vec![0.5, 0.0, -1.0],
        }
    }

    #[test]
    fn a_sample_without_entries_is_left_alone() {
        let mut logits = [1.0, 2.0, 3.0];
        two_samples().row(0).apply(&mut logits);
        assert_eq!(
            logits.map(f32::to_bits),
            [1.0_f32, 2.0, 3.0].map(f32::to_bits)
        );
        assert!(two_samples().row(0).is_empty());
        assert!(Adjustments::default().row(7).is_empty());
    }

    #[test]
    fn biases_come_before_scales_and_penalties_after_them() {
        let mut logits = [1.0, 2.0, 3.0];
        two_samples().row(1).apply(&mut logits);
        // (1 − 5) · 2; 2 + 100 + 1; 3 / 2 − 0.5
        assert_eq!(
            logits.map(f32::to_bits),
            [-8.0_f32, 103.0, 1.0].map(f32::to_bits)
        );
    }

    #[test]
    fn a_tiny_scale_leaves_numbers() {
        let mut logits = [5.0];
        Adjustments {
            starts: vec![0, 1],
            ids: vec![0],
            biases: vec![0.0],
            scales: vec![f32::MIN_POSITIVE],
            penalties: vec![0.0],
        }
        .row(0)
        .apply(&mut logits);
        assert_eq!(logits.map(f32::to_bits), [f32::MAX].map(f32::to_bits));
    }
}
