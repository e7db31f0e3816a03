//! Weights as safetensors: names and shapes are those of the PyTorch module, so that its `load_state_dict` takes them as
//! they are, and the files it saves are taken here.

use crate::platform::Breath;
use ringtmp_compute::{ModelSpec, Parameter, Stage};
use ringtmp_core::ids::LayerIndex;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};

/// Draws a stage's first weights. In between links can be made, and answers heard: a browser's thread does one thing at a time.
pub(crate) async fn draw(stage: &mut Stage) {
    let mut breath = Breath::new();
    for parameter in 0..stage.parameter_count() {
        stage.draw(parameter);
        breath.take().await;
    }
}

/// The most bytes of a file of weights: as many as a device that trains it could hold, and then some.
pub const WEIGHTS_BYTES_MAX: u64 = 4 << 30;

/// Why weights cannot be used. The file is at fault, or is that of another model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Not a safetensors file, or a damaged one.
    #[error("the weights are no safetensors file, or a damaged one ({0}); write the file again")]
    Format(String),
    /// Not there.
    #[error("the weights lack {name}; they are those of another model")]
    Missing {
        /// The parameter.
        name: String,
    },
    /// There, but not in the model.
    #[error("the weights have {name}, which the model lacks; they are those of another model")]
    Unknown {
        /// The parameter.
        name: String,
    },
    /// Numbers of another kind.
    #[error("{name} is written as {found}; save the weights as 32-bit floats (F32)")]
    Type {
        /// The parameter.
        name: String,
        /// Its kind of numbers.
        found: String,
    },
    /// Of another shape.
    #[error(
        "{name} has the shape {found:?}, the model needs {needed:?}; the weights are those of another model"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// In the model.
        needed: Vec<usize>,
    },
    /// Infinite, or not a number.
    #[error(
        "{name} holds a value that is no finite number: the training that made it has diverged"
    )]
    NotFinite {
        /// The parameter.
        name: String,
    },
}

/// Writes weights.
pub fn to_safetensors(parameters: &[Parameter]) -> Vec<u8> {
    // What PyTorch's own writers put there.
    encode(&[("", parameters)], [("format", "pt".to_owned())])
}

/// Likewise, if they are of use.
///
/// # Errors
///
/// The first parameter that holds what is no finite number.
pub(crate) fn finite_file(parameters: &[Parameter]) -> Result<Vec<u8>, WeightsError> {
    let broken = |own: &&Parameter| !own.values.iter().all(|value| value.is_finite());
    match parameters.iter().find(broken) {
        Some(Parameter { name, .. }) => Err(WeightsError::NotFinite { name: name.clone() }),
        None => Ok(to_safetensors(parameters)),
    }
}

/// Writes the weights of a model out of the bytes of its layers, as [`to_safetensors`] does: parameter after parameter, in 32-bit floats,
/// little endian.
///
/// # Errors
///
/// The first parameter that is missing, or holds what is no finite number.
pub(crate) fn file_of_layers(
    model: &ModelSpec,
    layers: &BTreeMap<LayerIndex, Vec<u8>>,
) -> Result<Vec<u8>, WeightsError> {
    let modules = model.modules();
    let mut views = Vec::new();
    for ((layer, spec), index) in model.layers.iter().enumerate().zip(0u16..) {
        let mut rest = layers
            .get(&LayerIndex(index))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for parameter in spec.layer().parameters() {
            let name = format!("{}.{}", modules[layer], parameter.name);
            let length = 4 * parameter.shape.iter().product::<usize>();
            let Some((bytes, after)) = rest.split_at_checked(length) else {
                return Err(WeightsError::Missing { name });
            };
            rest = after;
            let (numbers, _) = bytes.as_chunks::<4>();
            if !numbers
                .iter()
                .all(|number| f32::from_le_bytes(*number).is_finite())
            {
                return Err(WeightsError::NotFinite { name });
            }
            let view = TensorView::new(Dtype::F32, parameter.shape, bytes);
            views.push((name, view.expect("as many bytes as the shape says")));
        }
    }
    let remarks = [("format".to_owned(), "pt".to_owned())];
    let file = safetensors::serialize(views, Some(remarks.into_iter().collect()));
    Ok(file.expect("whole floats can always be written"))
}

/// Reads the weights of a model: all of them, and nothing else.
///
/// # Errors
///
/// The first parameter that is missing, too much, or not as the model has it.
pub fn from_safetensors(bytes: &[u8], model: &ModelSpec) -> Result<Vec<Parameter>, WeightsError> {
    let tensors = tensors(bytes)?;
    let parameters = find(&tensors, model, "")?;
    refuse_others(&tensors, parameters.iter().map(|own| own.name.clone()))?;
    Ok(parameters)
}

/// Writes weights, or what is as large as they are, their names behind that of their group; and words about them by name.
pub(crate) fn encode<const N: usize>(
    groups: &[(&str, &[Parameter])],
    remarks: [(&str, String); N],
) -> Vec<u8> {
    let remarks = remarks.map(|(name, words)| (name.to_owned(), words));
    let all = groups.iter().flat_map(|(group, parameters)| {
        let names = parameters
            .iter()
            .map(move |own| format!("{group}{}", own.name));
        names.zip(*parameters)
    });
    let all: Vec<(String, &Parameter, Vec<u8>)> = all
        .map(|(name, parameter)| {
            let values = parameter.values.iter();
            let bytes = values.flat_map(|value| value.to_le_bytes()).collect();
            (name, parameter, bytes)
        })
        .collect();
    let views = all.iter().map(|(name, parameter, bytes)| {
        let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes);
        let view = view.expect("a parameter has as many values as its shape says");
        (name.as_str(), view)
    });
    safetensors::serialize(views, Some(remarks.into_iter().collect()))
        .expect("whole floats can always be written")
}

pub(crate) fn tensors(bytes: &[u8]) -> Result<SafeTensors<'_>, WeightsError> {
    SafeTensors::deserialize(bytes).map_err(|error| WeightsError::Format(error.to_string()))
}

/// A group of tensors, one for each parameter of the model.
pub(crate) fn find(
    tensors: &SafeTensors<'_>,
    model: &ModelSpec,
    group: &str,
) -> Result<Vec<Parameter>, WeightsError> {
    let mut parameters = Vec::new();
    let modules = model.modules();
    for (layer, spec) in model.layers.iter().enumerate() {
        for parameter in spec.layer().parameters() {
            let name = format!("{}.{}", modules[layer], parameter.name);
            let values = values(tensors, &format!("{group}{name}"), &parameter.shape)?;
            parameters.push(Parameter {
                layer,
                name,
                shape: parameter.shape,
                values,
            });
        }
    }
    Ok(parameters)
}

/// Refuses tensors of other names than these.
pub(crate) fn refuse_others(
    tensors: &SafeTensors<'_>,
    known: impl Iterator<Item = String>,
) -> Result<(), WeightsError> {
    let known: BTreeSet<String> = known.collect();
    let mut names = tensors.names().into_iter();
    match names.find(|name| !known.contains(*name)) {
        Some(name) => Err(WeightsError::Unknown { name: short(name) }),
        None => Ok(()),
    }
}

fn values(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, WeightsError> {
    let name_owned = || name.to_owned();
    let tensor = tensors
        .tensor(name)
        .map_err(|_| WeightsError::Missing { name: name_owned() })?;
    if tensor.dtype() != Dtype::F32 {
        return Err(WeightsError::Type {
            name: name_owned(),
            found: tensor.dtype().to_string(),
        });
    }
    if tensor.shape() != shape {
        return Err(WeightsError::Shape {
            name: name_owned(),
            found: tensor.shape().iter().copied().take(8).collect(),
            needed: shape.to_vec(),
        });
    }
    let (words, _) = tensor.data().as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(WeightsError::NotFinite { name: name_owned() })
    }
}

/// A name from a file, for people.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_compute::layers::LayerSpec;

    fn model() -> ModelSpec {
        ModelSpec {
            loss: ringtmp_compute::LossSpec::default(),
            input: vec![3],
            layers: vec![LayerSpec::linear(3, 2), LayerSpec::relu()],
        }
    }

    fn parameters() -> Vec<Parameter> {
        let parameter = |name: &str, shape: &[usize], values: &[f32]| Parameter {
            layer: 0,
            name: name.to_owned(),
            shape: shape.to_vec(),
            values: values.to_vec(),
        };
        vec![
            parameter("0.weight", &[2, 3], &[1.0, -2.0, 0.5, -0.0, 1e-40, 3.0]),
            parameter("0.bias", &[2], &[0.25, -1.0]),
        ]
    }

    #[test]
    fn weights_read_back_bit_for_bit() {
        let read = from_safetensors(&to_safetensors(&parameters()), &model()).expect("own file");
        assert_eq!(read, parameters());
        assert!(read[0].values[3].is_sign_negative(), "minus zero");
    }

    #[test]
    fn weights_of_another_model_are_refused_by_name() {
        let refused = |change: fn(&mut Vec<Parameter>)| {
            let mut changed = parameters();
            change(&mut changed);
            from_safetensors(&to_safetensors(&changed), &model()).expect_err("another model")
        };
        let name = |name: &str| name.to_owned();
        assert_eq!(
            refused(|all| drop(all.pop())),
            WeightsError::Missing {
                name: name("0.bias")
            }
        );
        assert_eq!(
            refused(|all| {
                let mut more = all[1].clone();
                more.name = "1.bias".to_owned();
                all.push(more);
            }),
            WeightsError::Unknown {
                name: name("1.bias")
            }
        );
        assert_eq!(
            refused(|all| all[0].shape = vec![3, 2]),
            WeightsError::Shape {
                name: name("0.weight"),
                found: vec![3, 2],
                needed: vec![2, 3]
            }
        );
        assert_eq!(
            refused(|all| all[1].values[0] = f32::NAN),
            WeightsError::NotFinite {
                name: name("0.bias")
            }
        );
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused_wherever_they_end() {
        let whole = to_safetensors(&parameters());
        for length in 0..whole.len() {
            let cut = from_safetensors(&whole[..length], &model());
            assert!(matches!(cut, Err(WeightsError::Format(_))), "{length}");
        }
        let mut endless = u64::MAX.to_le_bytes().to_vec();
        endless.extend([b'{'; 20]);
        assert!(from_safetensors(&endless, &model()).is_err());
    }
}
