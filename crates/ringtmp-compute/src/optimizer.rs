//! Optimizers: how gradients change weights.

use crate::cpu;
use crate::operation::{Kernel, Operation};
use crate::recording::{Recording, View};
use serde::{Deserialize, Serialize};

/// What changes from step to step, computed by the host; what each number means depends on the optimizer, but for the
/// first, the factor of all gradients.
pub(crate) type Coefficients = [f32; 8];

/// The largest beta1 beside a decay: with it, NAdam's product of momenta vanishes after 41,000 factors, which is 2 ms.
const BETA1_MAX: f32 = 0.999;

/// An optimizer as a run file names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// The rule.
    pub rule: Rule,
    /// The learning rate after warming up, above zero.
    pub learning_rate: f32,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Gradients of the whole model whose norm is larger are scaled down to it.
    #[serde(default)]
    pub clip_norm: Option<f32>,
}

/// A number of an optimizer that cannot be. The run file's fault.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{field} = {value}: {rule}")]
pub struct OptimizerError {
    /// The number.
    pub field: &'static str,
    /// What it is.
    pub value: f32,
    /// What it may be.
    pub rule: &'static str,
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Stochastic gradient descent; `torch.optim.SGD`.
    Sgd {},
    /// The same with momentum (Polyak, 1964).
    Momentum {
        /// How much of the last step is kept, 0 to 1.
        momentum: f32,
    },
    /// Momentum that looks ahead (Nesterov, 1983, in the form of Sutskever and others, 2013).
    Nesterov {
        /// How much of the last step is kept, 0 to 1.
        momentum: f32,
    },
    /// `torch.optim.Adam` (Kingma and Ba, "Adam", 2015, algorithm 1).
    Adam(AdamSettings),
    /// `torch.optim.AdamW` (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
    Adamw {
        /// Of Adam.
        #[serde(default)]
        adam: AdamSettings,
        /// The part of each weight that is taken away, times the learning rate.
        weight_decay: f32,
    },
    /// `torch.optim.NAdam` (Dozat, "Incorporating Nesterov momentum into Adam", 2016).
    Nadam {
        /// Of Adam.
        #[serde(default)]
        adam: AdamSettings,
        /// How slowly the momentum grows to beta1; PyTorch has 0.004.
        momentum_decay: f32,
    },
}

/// What the optimizers of Adam's family have in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamSettings {
    /// How much of the mean of gradients is kept.
    pub beta1: f32,
    /// How much of the mean of their squares is kept.
    pub beta2: f32,
    /// Added to the root of that mean.
    pub epsilon: f32,
}

impl Default for AdamSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// How the learning rate changes: a function of the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps over which it grows in equal parts from near zero.
    pub warm_up_steps: u64,
    /// The step at which it has fallen, along half a cosine since warming up, to `final_ratio`; without it, it stays.
    pub cosine_steps: Option<u64>,
    /// The part of the learning rate that is left in the end, 0 to 1.
    pub final_ratio: f32,
}

impl Schedule {
    /// The factor of the learning rate at `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warm_up_steps {
            return (step + 1) as f64 / self.warm_up_steps as f64;
        }
        let Some(end) = self.cosine_steps else {
            return 1.0;
        };
        let length = end.saturating_sub(self.warm_up_steps).max(1);
        let passed = (step - self.warm_up_steps).min(length);
        let cosine = libm::cos(std::f64::consts::PI * passed as f64 / length as f64);
        let floor = f64::from(self.final_ratio);
        floor + (1.0 - floor) * 0.5 * (1.0 + cosine)
    }
}

/// The factor that brings gradients to a norm of at most `clip_norm`, if `square_sum` is the sum of all their squares, as
/// `torch.nn.utils.clip_grad_norm_` computes it. Without a finite sum there is no such factor, and it is not a number.
pub fn clip_factor(square_sum: f64, clip_norm: f32) -> f32 {
    if !square_sum.is_finite() {
        return f32::NAN;
    }
    (f64::from(clip_norm) / (square_sum.sqrt() + 1e-6)).min(1.0) as f32
}

impl OptimizerSpec {
    /// Plain stochastic gradient descent.
    pub const fn sgd(learning_rate: f32) -> Self {
        Self::new(Rule::Sgd {}, learning_rate)
    }

    /// A rule with a constant learning rate.
    pub const fn new(rule: Rule, learning_rate: f32) -> Self {
        Self {
            rule,
            learning_rate,
            schedule: Schedule {
                warm_up_steps: 0,
                cosine_steps: None,
                final_ratio: 0.0,
            },
            clip_norm: None,
        }
    }

    /// Tensors of the parameters' size that it remembers from step to step.
    pub const fn state_tensors(&self) -> usize {
        match self.rule {
            Rule::Sgd {} => 0,
            Rule::Momentum { .. } | Rule::Nesterov { .. } => 1,
            Rule::Adam(_) | Rule::Adamw { .. } | Rule::Nadam { .. } => 2,
        }
    }

    /// Refuses what cannot train.
    ///
    /// # Errors
    ///
    /// The first number that is out of its range.
    pub fn check(&self) -> Result<(), OptimizerError> {
        let rule = |holds: bool, field, value, rule| match holds {
            true => Ok(()),
            false => Err(OptimizerError { field, value, rule }),
        };
        let above_zero = |field, value: f32| {
            let holds = value.is_finite() && value > 0.0;
            rule(holds, field, value, "a finite number above 0")
        };
        let part = |field, value: f32| {
            let holds = (0.0..1.0).contains(&value);
            rule(holds, field, value, "at least 0 and below 1")
        };
        above_zero("learning_rate", self.learning_rate)?;
        if let Some(norm) = self.clip_norm {
            above_zero("clip_norm", norm)?;
        }
        let ratio = self.schedule.final_ratio;
        let holds = (0.0..=1.0).contains(&ratio);
        rule(holds, "final_ratio", ratio, "0 to 1")?;
        let adam = |adam: &AdamSettings| {
            part("beta1", adam.beta1)?;
            part("beta2", adam.beta2)?;
            above_zero("epsilon", adam.epsilon)
        };
        let bounded = |adam: &AdamSettings| {
            let holds = adam.beta1 <= BETA1_MAX;
            rule(holds, "beta1", adam.beta1, "at most 0.999 beside a decay")
        };
        match &self.rule {
            Rule::Sgd {} => Ok(()),
            Rule::Momentum { momentum } | Rule::Nesterov { momentum } => {
                part("momentum", *momentum)
            }
            Rule::Adam(settings) => adam(settings),
            Rule::Adamw {
                adam: settings,
                weight_decay,
            } => {
                bounded(settings)?;
                adam(settings)?;
                part("weight_decay", *weight_decay)
            }
            Rule::Nadam {
                adam: settings,
                momentum_decay,
            } => {
                bounded(settings)?;
                adam(settings)?;
                part("momentum_decay", *momentum_decay)
            }
        }
    }

    /// What changes from step to step; `scale` is the factor of all gradients. In double precision up to the last rounding.
    pub(crate) fn coefficients(&self, step: u64, scale: f32) -> Coefficients {
        self.coefficients_of(step, step, 1.0, scale)
    }

    /// Likewise, where the learning rate is that of `step`, `updates` were made before this one, and it has a `part` of the
    /// learning rate.
    pub(crate) fn coefficients_of(
        &self,
        step: u64,
        updates: u64,
        part: f64,
        scale: f32,
    ) -> Coefficients {
        let rate = f64::from(self.learning_rate) * self.schedule.factor(step) * part;
        let count = (updates + 1) as f64;
        let root = |adam: &AdamSettings| (1.0 - libm::pow(f64::from(adam.beta2), count)).sqrt();
        let adam = |keep: f64, now: f64, past: f64, root: f64| {
            let [keep, now, past, root] = [keep, now, past, root].map(|value| value as f32);
            [scale, keep, now, past, root, 0.0, 0.0, 0.0]
        };
        let past = |adam: &AdamSettings| rate / (1.0 - libm::pow(f64::from(adam.beta1), count));
        match &self.rule {
            Rule::Sgd {} | Rule::Momentum { .. } | Rule::Nesterov { .. } => {
                [scale, rate as f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
            }
            Rule::Adam(settings) => adam(1.0, 0.0, past(settings), root(settings)),
            Rule::Adamw {
                adam: settings,
                weight_decay,
            } => {
                let keep = 1.0 - rate * f64::from(*weight_decay);
                adam(keep, 0.0, past(settings), root(settings))
            }
            Rule::Nadam {
                adam: settings,
                momentum_decay,
            } => {
                let (now, past) = nadam(settings.beta1, *momentum_decay, updates);
                adam(1.0, rate * now, rate * past, root(settings))
            }
        }
    }

    /// Updates one run of parameters by its gradients, and sets the gradients to zero.
    pub(crate) fn record_update(&self, site: &UpdateSite, recording: &mut Recording) {
        let UpdateSite {
            coefficients,
            parameters,
            gradients,
            ..
        } = *site;
        recording.push(match self.rule {
            Rule::Sgd {} => sgd(coefficients, parameters, gradients),
            Rule::Momentum { momentum: keep } => momentum(site, keep, false),
            Rule::Nesterov { momentum: keep } => momentum(site, keep, true),
            Rule::Adam(settings)
            | Rule::Adamw { adam: settings, .. }
            | Rule::Nadam { adam: settings, .. } => adam(site, settings),
        });
    }
}

/// The factors of the gradient and of the mean of gradients at `step` (Dozat, 2016, algorithm 2).
fn nadam(beta1: f32, momentum_decay: f32, step: u64) -> (f64, f64) {
    let (beta1, decay) = (f64::from(beta1), f64::from(momentum_decay));
    let momentum = |count: u64| beta1 * (1.0 - 0.5 * libm::pow(0.96, count as f64 * decay));
    let mut product = 1.0;
    for count in 1..=step + 1 {
        product *= momentum(count);
        // What is left of it changes no digit any more: so the loop is short, however long the run.
        if product < 1e-18 {
            break;
        }
    }
    let (this, next) = (momentum(step + 1), momentum(step + 2));
    (
        (1.0 - this) / (1.0 - product),
        next / (1.0 - product * next),
    )
}

/// Where an optimizer works: views of one arena of each kind.
#[derive(Clone, Debug)]
pub struct UpdateSite {
    /// What changes from step to step, 8 numbers.
    pub coefficients: View,
    /// What is learnt.
    pub parameters: View,
    /// Its gradients.
    pub gradients: View,
    /// What the optimizer remembers.
    pub state: Vec<View>,
}

fn numbers(coefficients: View) -> (View, Option<usize>) {
    (coefficients, Some(size_of::<Coefficients>() / 4))
}

fn array(coefficients: &[f32]) -> Coefficients {
    coefficients.first_chunk().copied().unwrap_or_default()
}

/// parameters -= `learning_rate` * scale * gradients; gradients = 0. Coefficients: scale, `learning_rate`.
pub fn sgd(coefficients: View, parameters: View, gradients: View) -> Operation {
    let elements = parameters.elements;
    let source = include_str!("../../../shaders/sgd.wgsl");
    Operation::new(
        "sgd",
        [numbers(coefficients)],
        [(parameters, Some(elements)), (gradients, Some(elements))],
        Kernel::in_fours(source, elements),
        |[coefficients], [parameters, gradients], _| {
            cpu::sgd(parameters, gradients, &array(coefficients));
        },
    )
}

/// velocity = keep * velocity + g; parameters -= `learning_rate` * velocity, or, if `nesterov`, (g + keep * velocity), where
/// g = scale * gradients; gradients = 0. Coefficients: scale, `learning_rate`. Of the site's state, the first is the velocity.
pub fn momentum(site: &UpdateSite, keep: f32, nesterov: bool) -> Operation {
    let size = Some(site.parameters.elements);
    let source = include_str!("../../../shaders/momentum.wgsl");
    Operation::new(
        "momentum",
        [numbers(site.coefficients)],
        [
            (site.parameters, size),
            (site.gradients, size),
            (site.state[0], size),
        ],
        Kernel::in_fours(source, site.parameters.elements)
            .number(keep)
            .constant("NESTEROV", nesterov),
        move |[coefficients], [parameters, gradients, velocity], _| {
            let coefficients = array(coefficients);
            cpu::momentum(
                parameters,
                gradients,
                velocity,
                &coefficients,
                keep,
                nesterov,
            );
        },
    )
}

/// With g = scale * gradients: mean = beta1 mean + (1 - beta1) g; square = beta2 square + (1 - beta2) g²; parameters = keep *
/// parameters - (now g + past mean) / (sqrt(square) / root + epsilon); gradients = 0. Coefficients: scale, keep, now, past,
/// root. The site's state is mean and square.
pub fn adam(site: &UpdateSite, settings: AdamSettings) -> Operation {
    let size = Some(site.parameters.elements);
    let source = include_str!("../../../shaders/adam.wgsl");
    Operation::new(
        "adam",
        [numbers(site.coefficients)],
        [
            (site.parameters, size),
            (site.gradients, size),
            (site.state[0], size),
            (site.state[1], size),
        ],
        Kernel::in_fours(source, site.parameters.elements)
            .number(settings.beta1)
            .number(settings.beta2)
            .number(settings.epsilon),
        move |[coefficients], [parameters, gradients, mean, square], _| {
            let coefficients = array(coefficients);
            cpu::adam(parameters, gradients, mean, square, &coefficients, settings);
        },
    )
}

/// sums\[i\] = the sum of the squares of every `sums.elements`th number of the input from the i-th on.
pub fn square_sums(input: View, sums: View) -> Operation {
    let source = include_str!("../../../shaders/square_sums.wgsl");
    Operation::new(
        "square_sums",
        [(input, Some(input.elements))],
        [(sums, Some(sums.elements))],
        Kernel::new(source, &[input.elements, sums.elements], sums.elements),
        |[input], [sums], _| cpu::square_sums(input, sums),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learning_rate_warms_up_and_falls_along_half_a_cosine() {
        let schedule = Schedule {
            warm_up_steps: 4,
            cosine_steps: Some(14),
            final_ratio: 0.1,
        };
        let factors: Vec<_> = [0, 3, 4, 9, 14, 1000]
            .map(|step| schedule.factor(step))
            .into();
        for (factor, expected) in factors.iter().zip([0.25, 1.0, 1.0, 0.55, 0.1, 0.1]) {
            assert!((factor - expected).abs() < 1e-8, "{factors:?}");
        }
        assert_eq!(Schedule::default().factor(u64::MAX), 1.0);
    }

    #[test]
    fn a_late_step_takes_no_longer_and_its_corrections_are_gone() {
        let rule = Rule::Nadam {
            adam: AdamSettings {
                beta1: BETA1_MAX,
                ..AdamSettings::default()
            },
            momentum_decay: 0.004,
        };
        let [_, keep, now, past, root, ..] =
            OptimizerSpec::new(rule, 1.0).coefficients(1_000_000_000, 1.0);
        assert_eq!((keep, root), (1.0, 1.0));
        assert!((now - 0.001).abs() < 1e-6 && (past - 0.999).abs() < 1e-6);
    }

    #[test]
    fn norms_below_the_limit_are_left_alone_and_others_scaled_or_refused() {
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(0.81, 1.0), 1.0);
        assert!((clip_factor(4.0, 1.0) - 0.5).abs() < 1e-6);
        for sum in [f64::NAN, f64::INFINITY] {
            assert!(clip_factor(sum, 1.0).is_nan(), "{sum}");
        }
    }
}
