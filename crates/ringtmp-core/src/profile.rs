//! What a peer tells of its own speed and links: before the first plan, and while it trains.
//!
//! All of it is remote input. What cannot be true is refused with the reason; what merely is not true costs speed, since a plan
//! only decides who computes what, never what comes out.

use crate::ids::PeerId;
use serde::{Deserialize, Serialize};

/// The longest that a pass of one layer may take for a sample, in seconds: beyond it nobody would wait for a step.
pub const LAYER_SECONDS_MAX: f64 = 1000.0;

/// The shortest that F, B and W of a whole model may take for a sample, in seconds.
pub const SAMPLE_SECONDS_MIN: f64 = 1e-12;

/// The most that equal measurements may differ by: beyond it nothing was measured.
pub const NOISE_MAX: f64 = 4.0;

/// The most links a peer may tell about: a room has at most as many other members.
pub const LINKS_MAX: usize = 64;

/// How planning gets the speed of peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planning {
    /// Each measures the run's layers before the first plan; the room waits for it a while.
    #[default]
    Measured,
    /// All count as equally fast, and operations are counted: the same cuts everywhere.
    Counted,
}

/// What a peer measured before the first plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Seconds of F, of B and of W per sample, for each layer of the run.
    pub layer_seconds: Vec<[f64; 3]>,
    /// By what share equal measurements differed.
    pub noise: f64,
    /// The links to other members, as far as they are known.
    #[serde(default)]
    pub links: Vec<LinkProfile>,
    /// Bytes per second of the medium (a Wi-Fi) that it shares with all others that name one, if it does and it is known.
    #[serde(default)]
    pub medium_bytes_per_second: Option<f64>,
}

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkProfile {
    /// The other end.
    pub to: PeerId,
    /// From the last byte sent to the arrival, in seconds.
    pub delay_seconds: f64,
    /// None where it takes any amount at once, or is not known.
    pub bytes_per_second: Option<f64>,
}

/// Why a profile is not used. The fault is the peer's that sent it.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// Not one entry per layer.
    #[error("it measured {measured} layers of {layers}")]
    Layers {
        /// Measured.
        measured: usize,
        /// In the run.
        layers: usize,
    },
    /// A time that no device takes.
    #[error("it claims to take {seconds} s for a layer; 0 to {LAYER_SECONDS_MAX} s can be true")]
    Seconds {
        /// What it claims.
        seconds: f64,
    },
    /// A speed that no device has.
    #[error("it claims to take {seconds} s for all layers; no device is as fast")]
    Speed {
        /// What it claims.
        seconds: f64,
    },
    /// A measurement that measures nothing.
    #[error("its measurements differ by a share of {noise}; 0 to {NOISE_MAX} can be used")]
    Noise {
        /// What it claims.
        noise: f64,
    },
    /// A link or a medium that cannot be.
    #[error("it tells of {links} links or of one that cannot be")]
    Links {
        /// How many.
        links: usize,
    },
}

impl Profile {
    /// Refuses what cannot be true of a run with so many layers.
    ///
    /// # Errors
    ///
    /// What cannot be true.
    pub fn check(&self, layers: usize) -> Result<(), ProfileError> {
        let measured = self.layer_seconds.len();
        if measured != layers {
            return Err(ProfileError::Layers { measured, layers });
        }
        let all = || self.layer_seconds.iter().flatten().copied();
        if let Some(seconds) = all().find(|seconds| !(0.0..=LAYER_SECONDS_MAX).contains(seconds)) {
            return Err(ProfileError::Seconds { seconds });
        }
        let seconds: f64 = all().sum();
        if seconds < SAMPLE_SECONDS_MIN {
            return Err(ProfileError::Speed { seconds });
        }
        if !(0.0..=NOISE_MAX).contains(&self.noise) {
            return Err(ProfileError::Noise { noise: self.noise });
        }
        let medium_can_be = self.medium_bytes_per_second.is_none_or(is_rate);
        let links = self.links.len();
        if links > LINKS_MAX || !medium_can_be || !self.links.iter().all(LinkProfile::can_be) {
            return Err(ProfileError::Links { links });
        }
        Ok(())
    }
}

impl LinkProfile {
    /// Whether it can be true.
    pub(crate) fn can_be(&self) -> bool {
        let delay = (0.0..=LAYER_SECONDS_MAX).contains(&self.delay_seconds);
        delay && self.bytes_per_second.is_none_or(is_rate)
    }
}

fn is_rate(bytes_per_second: f64) -> bool {
    bytes_per_second.is_finite() && bytes_per_second >= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_cannot_be_true_is_refused_with_the_reason() {
        let sound = Profile {
            layer_seconds: vec![[1e-3, 0.0, 1e-3]; 2],
            noise: 0.1,
            links: Vec::new(),
            medium_bytes_per_second: None,
        };
        assert_eq!(sound.check(2), Ok(()));
        let refused = |change: fn(&mut Profile)| {
            let mut profile = sound.clone();
            change(&mut profile);
            profile.check(2).expect_err("impossible").to_string()
        };
        assert!(refused(|profile| profile.layer_seconds.truncate(1)).contains("1 layers of 2"));
        for seconds in [f64::NAN, -1.0, f64::INFINITY, 1e300] {
            let mut profile = sound.clone();
            profile.layer_seconds[1][2] = seconds;
            let error = profile.check(2).expect_err("impossible");
            assert!(matches!(error, ProfileError::Seconds { .. }), "{error}");
        }
        assert!(refused(|profile| profile.layer_seconds.fill([0.0; 3])).contains("as fast"));
        assert!(refused(|profile| profile.noise = f64::NAN).contains("differ"));
        assert!(refused(|profile| profile.medium_bytes_per_second = Some(0.0)).contains("links"));
        let link = LinkProfile {
            to: PeerId(1),
            delay_seconds: f64::NAN,
            bytes_per_second: None,
        };
        let mut profile = sound.clone();
        profile.links = vec![link];
        assert!(profile.check(2).is_err());
    }
}
