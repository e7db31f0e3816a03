//! From what peers measured to what the planner reckons with.

use crate::plan::LayerCost;

/// What a peer measured of the run's layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Seconds of F, of B and of W per sample, for each layer.
    pub layer_seconds: Vec<[f64; 3]>,
    /// By what share equal measurements differed: 0.2 where one took 1.2 times as long as another.
    pub noise: f64,
}

impl Measured {
    fn seconds(&self) -> f64 {
        self.layer_seconds.iter().flatten().sum()
    }
}

/// Seconds of each layer at each peer, in the order of `measured`. Peers whose difference is within what their measurements vary
/// by count as equal, so that equal devices get equal shares. Who measured nothing is taken to be as fast as the one in the middle
/// of those who did, and where nobody did all are alike: one operation is then one second.
pub fn devices(layers: &[LayerCost], measured: &[Option<Measured>]) -> Vec<Vec<[f64; 3]>> {
    let counted: Vec<[f64; 3]> = layers.iter().map(|layer| layer.flops).collect();
    let mut by_speed: Vec<(usize, &Measured)> = measured
        .iter()
        .enumerate()
        .filter_map(|(i, measured)| Some((i, measured.as_ref()?)))
        .collect();
    by_speed.sort_by(|(_, a), (_, b)| a.seconds().total_cmp(&b.seconds()));
    let Some((_, middle)) = by_speed.get(by_speed.len() / 2) else {
        return vec![counted; measured.len()];
    };
    let operations: f64 = counted.iter().flatten().sum();
    let second_per_operation = if operations > 0.0 {
        middle.seconds() / operations
    } else {
        0.0
    };
    let scaled: Vec<[f64; 3]> = counted
        .iter()
        .map(|layer| layer.map(|operations| operations * second_per_operation))
        .collect();
    let mut seconds = vec![scaled; measured.len()];
    let mut rest = &by_speed[..];
    while let Some((_, fastest)) = rest.first() {
        let alike = |other: &Measured| {
            let noise = fastest.noise.max(other.noise);
            other.seconds() <= fastest.seconds() * (1.0 + noise)
        };
        let count = rest.iter().take_while(|(_, other)| alike(other)).count();
        let (group, slower) = rest.split_at(count.max(1));
        let mean = mean(group, layers.len());
        for (i, _) in group {
            seconds[*i].clone_from(&mean);
        }
        rest = slower;
    }
    seconds
}

fn mean(group: &[(usize, &Measured)], layers: usize) -> Vec<[f64; 3]> {
    let of = |layer: usize, pass: usize| {
        let all = group
            .iter()
            .map(|(_, measured)| measured.layer_seconds[layer][pass]);
        all.sum::<f64>() / group.len() as f64
    };
    (0..layers)
        .map(|layer| [0, 1, 2].map(|pass| of(layer, pass)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [LayerCost; 2] = [
        LayerCost {
            flops: [1.0; 3],
            parameters: 0,
            output_bytes: 0,
            stash_bytes: 0,
        },
        LayerCost {
            flops: [2.0; 3],
            parameters: 0,
            output_bytes: 0,
            stash_bytes: 0,
        },
    ];

    fn measured(seconds: f64, noise: f64) -> Option<Measured> {
        let layer_seconds = vec![[seconds; 3]; 2];
        Some(Measured {
            layer_seconds,
            noise,
        })
    }

    #[test]
    fn peers_that_differ_by_no_more_than_their_noise_count_as_equal() {
        let found = devices(
            &LAYERS,
            &[measured(1.2, 0.3), measured(4.0, 0.1), measured(1.0, 0.1)],
        );
        assert_eq!(found[0], found[2]);
        assert_eq!(found[1], vec![[4.0; 3]; 2]);
        let exact = devices(&LAYERS, &[measured(1.2, 0.0), measured(1.0, 0.0)]);
        assert_ne!(exact[0], exact[1]);
    }

    #[test]
    fn who_measured_nothing_is_as_fast_as_the_one_in_the_middle() {
        let found = devices(
            &LAYERS,
            &[
                None,
                measured(1.0, 0.0),
                measured(3.0, 0.0),
                measured(9.0, 0.0),
            ],
        );
        assert_eq!(found[0], vec![[2.0; 3], [4.0; 3]]);
        assert_eq!(devices(&LAYERS, &[None, None])[1], vec![[1.0; 3], [2.0; 3]]);
    }
}
