//! First values, names and digests of what a stage learns.

use super::Parameter;
use super::plan::ParameterPlan;
use crate::error::ParameterError;
use crate::layers::Initial;
use crate::model::elements;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The first values of a parameter: a function of the seed, the layer and the parameter alone.
pub(super) fn initial_values(seed: u64, parameter: &ParameterPlan) -> Vec<f32> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(parameter.layer as u64).to_le_bytes());
    key[16..24].copy_from_slice(&(parameter.index as u64).to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    let count = elements(&parameter.shape);
    // 24 random bits are what a float holds, so every value is exact and evenly spaced over [0, 2).
    let even = |random: &mut ChaCha8Rng| (random.next_u32() >> 8) as f32 * 2.0f32.powi(-23);
    match parameter.initial {
        Initial::Uniform { bound } => {
            let value = |_| bound * (even(&mut random) - 1.0);
            (0..count).map(value).collect()
        }
        Initial::Normal { deviation } => {
            let value = |_| {
                let (radius, angle) = (even(&mut random), even(&mut random));
                deviation * normal(f64::from(radius) / 2.0, f64::from(angle))
            };
            (0..count).map(value).collect()
        }
        Initial::Constant { value } => vec![value; count],
    }
}

/// What a layer draws from: a function of the seed and the layer alone ("splitmix64": Steele, Lea and Flood, 2014).
pub(crate) fn draw_key(seed: u64, layer: usize) -> u32 {
    let mut key = seed.wrapping_add((layer as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (key >> 32) as u32
}

/// A normally distributed number from one in \[0, 1) and one in \[0, 2) (Box and Muller, 1958).
fn normal(radius: f64, angle: f64) -> f32 {
    let radius = (-2.0 * libm::log(1.0 - radius)).sqrt();
    (radius * libm::cos(std::f64::consts::PI * angle)) as f32
}

/// The values of `plan` among parameters that somebody gave.
pub(super) fn find<'a>(
    plan: &ParameterPlan,
    given: &'a [Parameter],
) -> Result<&'a [f32], ParameterError> {
    let found = given.iter().find(|parameter| parameter.name == plan.name);
    let parameter = found.ok_or_else(|| ParameterError::Missing {
        name: plan.name.clone(),
    })?;
    if parameter.shape != plan.shape || parameter.values.len() != elements(&plan.shape) {
        return Err(ParameterError::Shape {
            name: plan.name.clone(),
            expected: plan.shape.clone(),
            actual: parameter.shape.iter().copied().take(8).collect(),
            values: parameter.values.len(),
        });
    }
    Ok(&parameter.values)
}

/// SHA-256 over the values of a layer's parameters, 32-bit floats, little endian, in order; in hexadecimal.
pub(super) fn digest<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> String {
    let mut hash = Sha256::new();
    for parameter in parameters {
        let bytes: Vec<u8> = parameter
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        hash.update(&bytes);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
