//! `[optimizer]`: how gradients change weights.

use super::RunFileError;
use ringtmp_compute::{AdamSettings, OptimizerSpec, Rule, Schedule};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// As PyTorch has it.
const MOMENTUM: f32 = 0.9;
const WEIGHT_DECAY: f32 = 0.01;
const MOMENTUM_DECAY: f32 = 0.004;

/// How gradients change weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerTable {
    /// The rule: `sgd`, `momentum`, `nesterov`, `adam`, `adamw` or `nadam`, each as PyTorch computes it. Where it is not given
    /// it is `adamw` for a model of text and `sgd` for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleName>,
    /// The learning rate after warming up. Where it is not given it is 0.2 for `sgd`, 0.02 for `momentum` and `nesterov`, and
    /// 0.001 for `adam`, `adamw` and `nadam`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f32>,
    /// How much of the last step is kept by `momentum` and `nesterov`; 0.9 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f32>,
    /// How much of the mean of gradients is kept by `adam`, `adamw` and `nadam`; 0.9 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f32>,
    /// How much of the mean of their squares is kept by `adam`, `adamw` and `nadam`; 0.999 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f32>,
    /// Added to the root of that mean; 1e-8 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f32>,
    /// The part of each weight that `adamw` takes away, times the learning rate; 0.01 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f32>,
    /// How slowly the momentum of `nadam` grows to `beta1`; 0.004 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum_decay: Option<f32>,
    /// Steps over which the learning rate grows in equal parts from near zero.
    pub warm_up_steps: u32,
    /// The step at which the learning rate has fallen, along half a cosine since warming up, to `final_ratio` of it; where it
    /// is not given the learning rate stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine_steps: Option<u32>,
    /// The part of the learning rate that is left in the end.
    pub final_ratio: f32,
    /// Gradients of the whole model whose norm is larger are scaled down to it; where it is not given, none are. In a ring every
    /// step then ends with a lap: no stage updates before all know the norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
}

/// The name of an optimizer's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleName {
    /// Stochastic gradient descent.
    Sgd,
    /// The same with momentum.
    Momentum,
    /// Momentum that looks ahead.
    Nesterov,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
    /// Adam with Nesterov's momentum.
    Nadam,
}

impl RuleName {
    /// All, in the order in which they are told to users.
    pub const ALL: [Self; 6] = [
        Self::Sgd,
        Self::Momentum,
        Self::Nesterov,
        Self::Adam,
        Self::Adamw,
        Self::Nadam,
    ];

    /// As run files and command lines write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Momentum => "momentum",
            Self::Nesterov => "nesterov",
            Self::Adam => "adam",
            Self::Adamw => "adamw",
            Self::Nadam => "nadam",
        }
    }

    /// What trains the presets without further thought.
    const fn learning_rate(self) -> f32 {
        match self {
            Self::Sgd => 0.2,
            Self::Momentum | Self::Nesterov => 0.02,
            Self::Adam | Self::Adamw | Self::Nadam => 0.001,
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no optimizer {0:?}; choose sgd, momentum, nesterov, adam, adamw or nadam")]
pub struct UnknownRule(String);

impl FromStr for RuleName {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let named = Self::ALL.into_iter().find(|rule| rule.word() == text);
        named.ok_or_else(|| UnknownRule(text.chars().take(32).collect()))
    }
}

impl OptimizerTable {
    /// A rule with a learning rate, and otherwise its usual numbers.
    pub fn new(rule: RuleName, learning_rate: f32) -> Self {
        Self {
            rule: Some(rule),
            learning_rate: Some(learning_rate),
            ..Self::default()
        }
    }

    /// The optimizer, or the first number that cannot be.
    pub(super) fn spec(&self, model_takes_text: bool) -> Result<OptimizerSpec, RunFileError> {
        let usual = if model_takes_text {
            RuleName::Adamw
        } else {
            RuleName::Sgd
        };
        let name = self.rule.unwrap_or(usual);
        self.refuse_numbers_of_other_rules(name)?;
        let rule = self.rule(name);
        let spec = OptimizerSpec {
            schedule: Schedule {
                warm_up_steps: self.warm_up_steps.into(),
                cosine_steps: self.cosine_steps.map(u64::from),
                final_ratio: self.final_ratio,
            },
            clip_norm: self.clip_norm,
            ..OptimizerSpec::new(rule, self.learning_rate.unwrap_or(name.learning_rate()))
        };
        if let Some(cosine) = self.cosine_steps
            && cosine <= self.warm_up_steps
        {
            let rule = "above optimizer.warm_up_steps: the learning rate falls after it has risen";
            let field = "optimizer.cosine_steps";
            return Err(RunFileError::out_of_range(field, cosine, rule));
        }
        spec.check().map_err(|error| {
            let field = format!("optimizer.{}", error.field);
            RunFileError::out_of_range(field, error.value, error.rule)
        })?;
        Ok(spec)
    }

    fn rule(&self, name: RuleName) -> Rule {
        let usual = AdamSettings::default();
        let adam = AdamSettings {
            beta1: self.beta1.unwrap_or(usual.beta1),
            beta2: self.beta2.unwrap_or(usual.beta2),
            epsilon: self.epsilon.unwrap_or(usual.epsilon),
        };
        let momentum = self.momentum.unwrap_or(MOMENTUM);
        match name {
            RuleName::Sgd => Rule::Sgd {},
            RuleName::Momentum => Rule::Momentum { momentum },
            RuleName::Nesterov => Rule::Nesterov { momentum },
            RuleName::Adam => Rule::Adam(adam),
            RuleName::Adamw => Rule::Adamw {
                adam,
                weight_decay: self.weight_decay.unwrap_or(WEIGHT_DECAY),
            },
            RuleName::Nadam => Rule::Nadam {
                adam,
                momentum_decay: self.momentum_decay.unwrap_or(MOMENTUM_DECAY),
            },
        }
    }

    /// A number that nobody reads is a mistake.
    fn refuse_numbers_of_other_rules(&self, name: RuleName) -> Result<(), RunFileError> {
        use RuleName::{Adam, Adamw, Momentum, Nadam, Nesterov};
        let adam: &[RuleName] = &[Adam, Adamw, Nadam];
        let numbers: [(&str, Option<f32>, &[RuleName]); 6] = [
            ("optimizer.momentum", self.momentum, &[Momentum, Nesterov]),
            ("optimizer.beta1", self.beta1, adam),
            ("optimizer.beta2", self.beta2, adam),
            ("optimizer.epsilon", self.epsilon, adam),
            ("optimizer.weight_decay", self.weight_decay, &[Adamw]),
            ("optimizer.momentum_decay", self.momentum_decay, &[Nadam]),
        ];
        for (field, number, rules) in numbers {
            if let Some(number) = number
                && !rules.contains(&name)
            {
                let rules: Vec<&str> = rules.iter().map(|rule| rule.word()).collect();
                let rules = rules.join(", ");
                let rule = format!("the rule {name} has no such number; {rules} have");
                return Err(RunFileError::out_of_range(field, number, rule));
            }
        }
        Ok(())
    }
}
