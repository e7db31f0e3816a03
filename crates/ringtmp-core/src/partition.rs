//! Cuts between shards.

use crate::plan::LayerCost;

/// What a shard costs in a comparison: first its operations, then how far it is from an equal share of layers.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Worst {
    flops: f64,
    layers: usize,
}

impl Worst {
    fn max(self, other: Self) -> Self {
        Self {
            flops: self.flops.max(other.flops),
            layers: self.layers.max(other.layers),
        }
    }

    fn better_than(self, other: Self) -> bool {
        (self.flops, self.layers) < (other.flops, other.layers)
    }
}

/// Divides layers among `stages` equal peers so that the most loaded one has the least to do; among equals the one with the
/// fewest layers in the largest shard. Gives the cuts: `stages + 1` numbers, from 0 to the number of layers, strictly rising.
/// Exact, by dynamic programming from the tail (PipeDream, SOSP'19, section 3.1, for equal machines and free links).
///
/// `stages` is lowered to the number of layers where there are more peers than layers. No layers give no cuts.
pub fn partition(layers: &[LayerCost], stages: usize) -> Vec<u16> {
    let stages = stages.clamp(1, layers.len().max(1));
    if layers.is_empty() {
        return Vec::new();
    }
    let prefix = prefix_sums(layers);
    let shard = |from: usize, to: usize| Worst {
        flops: prefix[to] - prefix[from],
        layers: to - from,
    };
    let n = layers.len();
    // best[j]: layers j.. on the stages considered so far (the last `depth + 1`); cut[depth][j]: where the first of them ends.
    let mut best: Vec<Option<Worst>> = (0..=n).map(|j| (j < n).then(|| shard(j, n))).collect();
    let mut cut: Vec<Vec<usize>> = vec![vec![n; n + 1]];
    for depth in 1..stages {
        let mut next = vec![None; n + 1];
        let mut ends = vec![n; n + 1];
        for j in 0..n - depth {
            for (k, rest) in best.iter().enumerate().take(n - depth + 1).skip(j + 1) {
                let Some(rest) = *rest else { continue };
                let candidate = shard(j, k).max(rest);
                if next[j].is_none_or(|so_far| candidate.better_than(so_far)) {
                    next[j] = Some(candidate);
                    ends[j] = k;
                }
            }
        }
        best = next;
        cut.push(ends);
    }
    let mut cuts = vec![0];
    let mut j = 0;
    for ends in cut.iter().rev() {
        j = ends[j];
        cuts.push(u16::try_from(j).expect("a run has at most LAYERS_MAX layers"));
    }
    cuts
}

fn prefix_sums(layers: &[LayerCost]) -> Vec<f64> {
    let sums = layers.iter().scan(0.0, |sum, layer| {
        *sum += layer.flops_total();
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layers(flops: &[f64]) -> Vec<LayerCost> {
        let layer = |flops: &f64| LayerCost {
            flops: [*flops, 0.0, 0.0],
            parameters: 0,
            output_bytes: 0,
            stash_bytes: 0,
        };
        flops.iter().map(layer).collect()
    }

    fn worst(flops: &[f64], cuts: &[u16]) -> f64 {
        let sum = |pair: &[u16]| {
            flops[usize::from(pair[0])..usize::from(pair[1])]
                .iter()
                .sum::<f64>()
        };
        cuts.windows(2).map(sum).fold(0.0, f64::max)
    }

    /// Every way to cut, by recursion.
    fn best_by_force(flops: &[f64], stages: usize) -> f64 {
        if stages == 1 {
            return flops.iter().sum();
        }
        let first = |k: usize| {
            flops[..k]
                .iter()
                .sum::<f64>()
                .max(best_by_force(&flops[k..], stages - 1))
        };
        (1..=flops.len() + 1 - stages)
            .map(first)
            .fold(f64::INFINITY, f64::min)
    }

    proptest! {
        #[test]
        fn no_other_cut_loads_the_busiest_peer_less(
            flops in prop::collection::vec(0u8..50, 1..9),
            stages in 1usize..10,
        ) {
            let flops: Vec<f64> = flops.into_iter().map(f64::from).collect();
            let cuts = partition(&layers(&flops), stages);
            prop_assert_eq!(cuts.len(), stages.min(flops.len()) + 1);
            prop_assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(cuts.last().map(|cut| usize::from(*cut)), Some(flops.len()));
            prop_assert_eq!(worst(&flops, &cuts), best_by_force(&flops, stages.min(flops.len())));
        }
    }

    #[test]
    fn the_default_model_gives_each_of_three_peers_a_matrix() {
        let cuts = partition(
            &layers(&[784.0 * 256.0, 256.0, 256.0 * 128.0, 128.0, 1280.0]),
            3,
        );
        assert_eq!(cuts, [0, 1, 3, 5]);
    }
}
