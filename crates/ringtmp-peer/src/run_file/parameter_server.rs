//! `paradigm` and `[parameter_server]`: how devices train one model together.

use super::{RunFile, RunFileError};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::parameter_server::{Exchange, Placement, Staleness, Topology};
use ringtmp_core::schedule::Mode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most shards of a parameter server: as many as a room's devices.
const SHARDS_MAX: u16 = 64;

/// How devices train one model together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paradigm {
    /// Each holds some layers.
    #[default]
    Ring,
    /// Workers hold whole models, and servers update the parameters.
    ParameterServer,
    /// Workers hold whole models, and add their gradients up round a ring.
    AllReduce,
}

impl Paradigm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ring, Self::ParameterServer, Self::AllReduce];

    /// As run files and command lines write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::ParameterServer => "parameter-server",
            Self::AllReduce => "all-reduce",
        }
    }
}

impl fmt::Display for Paradigm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no paradigm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no paradigm {0:?}; choose ring, parameter-server or all-reduce")]
pub struct UnknownParadigm(String);

impl FromStr for Paradigm {
    type Err = UnknownParadigm;

    fn from_str(text: &str) -> Result<Self, UnknownParadigm> {
        let named = Self::ALL.into_iter().find(|word| word.word() == text);
        named.ok_or_else(|| UnknownParadigm(text.chars().take(32).collect()))
    }
}

/// What a parameter server is like; of no other paradigm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterServerTable {
    /// Where the parameters are: `single`, at one device that is the server; `dedicated`, in equal parts at several devices that
    /// are servers; `colocated`, in equal parts at all workers. Where it is not given it is `single`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// How many servers, where they are `dedicated`; 2 where it is not given. Those devices are servers that compute most slowly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<u16>,
    /// How many steps' pushes a worker may miss when it begins a step (staleness): 0, none, all gradients of a step make one
    /// update; a number, or `infinite`, every push makes an update when it comes. Where it is not given it is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<Staleness>,
}

/// As many servers as one would try first.
const SHARDS: u16 = 2;

impl ParameterServerTable {
    /// Where the parameters are.
    pub fn placement(&self) -> Placement {
        self.placement.unwrap_or_default()
    }

    /// How many servers, if they are dedicated.
    pub fn shards(&self) -> u16 {
        self.shards.unwrap_or(SHARDS)
    }

    /// How far workers may drift apart.
    pub fn staleness(&self) -> Staleness {
        self.tau.unwrap_or_default()
    }
}

impl RunFile {
    /// How gradients come together; none in a ring of stages.
    pub fn exchange(&self) -> Option<Exchange> {
        match self.paradigm {
            Paradigm::Ring => None,
            Paradigm::ParameterServer => Some(Exchange::Server),
            Paradigm::AllReduce => Some(Exchange::AllReduce),
        }
    }

    /// Refuses what the paradigm does not have, or not yet: nothing is ignored.
    pub(super) fn check_paradigm(&self) -> Result<(), RunFileError> {
        let refuse = |field: &str, value: &dyn ToString, rule: &str| {
            Err(RunFileError::out_of_range(field, value.to_string(), rule))
        };
        let table = &self.parameter_server;
        if self.paradigm != Paradigm::ParameterServer && *table != ParameterServerTable::default() {
            let rule = "only with paradigm = \"parameter-server\" is there anything to say in [parameter_server]";
            return refuse("paradigm", &self.paradigm, rule);
        }
        if let Some(shards) = table.shards {
            let placement = table.placement();
            if placement != Placement::Dedicated {
                let rule = "with placement = \"dedicated\" alone; single is one server, colocated as many as workers";
                return refuse("parameter_server.shards", &shards, rule);
            }
            if !(1..=SHARDS_MAX).contains(&shards) {
                return refuse("parameter_server.shards", &shards, "1 to 64");
            }
        }
        if self.paradigm == Paradigm::Ring {
            return Ok(());
        }
        if self.schedule != Mode::Sync {
            let rule = "sync, where the paradigm is not ring: schedules are of stages, and staleness is parameter_server.tau";
            return refuse("schedule", &self.schedule, rule);
        }
        let rule = match (self.codec, self.paradigm) {
            (CodecChoice::Int8 | CodecChoice::Auto, Paradigm::AllReduce) => {
                "f32 or f16, with paradigm = \"all-reduce\": every device would round the sum again"
            }
            (CodecChoice::Auto, _) => {
                "f32, f16 or int8, with paradigm = \"parameter-server\": no link is measured"
            }
            _ => "",
        };
        if !rule.is_empty() {
            return refuse("codec", &self.codec, rule);
        }
        if let Some(norm) = self.optimizer.clip_norm {
            let rule = "left out, where the paradigm is not ring: no shard knows the norm of all gradients yet";
            return refuse("optimizer.clip_norm", &norm, rule);
        }
        Ok(())
    }

    /// How the devices of a room train it together.
    pub(crate) fn topology(&self) -> Topology {
        let table = &self.parameter_server;
        match self.paradigm {
            Paradigm::Ring => Topology::Ring,
            Paradigm::ParameterServer => Topology::ParameterServer {
                placement: table.placement(),
                shards: table.shards(),
            },
            Paradigm::AllReduce => Topology::AllReduce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::Run;

    fn check(toml: &str) -> Result<Run, RunFileError> {
        RunFile::parse(toml).and_then(RunFile::check)
    }

    #[test]
    fn a_paradigm_and_its_table_read_back_as_they_were_written() {
        let toml = "paradigm = 'parameter-server'
            [parameter_server]
            placement = 'dedicated'
            shards = 3
            tau = 'infinite'";
        let file = check(toml).expect("sound").file;
        let table = file.parameter_server;
        assert_eq!(table.placement(), Placement::Dedicated);
        assert_eq!(
            (table.shards(), table.staleness()),
            (3, Staleness::Infinite)
        );
        assert_eq!(RunFile::parse(&file.to_toml()).expect("its own"), file);
        let plain = check("paradigm = 'all-reduce'").expect("sound").file;
        assert_eq!(plain.exchange(), Some(Exchange::AllReduce));
        let tau = "paradigm = 'parameter-server'\nparameter_server.tau = 4";
        let tau = check(tau).expect("sound").file.parameter_server.staleness();
        assert_eq!(tau, Staleness::Steps(4));
        assert_eq!(RunFile::default().exchange(), None);
    }

    #[test]
    fn what_a_paradigm_does_not_have_is_refused_and_not_ignored() {
        let refused = |toml: &str| check(toml).expect_err("impossible").to_string();
        assert!(refused("paradigm = 'gossip'").contains("all-reduce"));
        assert!(refused("parameter_server.tau = 4").contains("only with paradigm"));
        assert!(refused("paradigm = 'all-reduce'\nparameter_server.tau = 0").contains("only with"));
        let server = |more: &str| refused(&format!("paradigm = 'parameter-server'\n{more}"));
        assert!(server("parameter_server.shards = 2").contains("dedicated"));
        let none = "parameter_server = { placement = 'dedicated', shards = 0 }";
        assert!(server(none).contains("1 to 64"));
        assert!(server("parameter_server.tau = 'never'").contains("infinite"));
        assert!(server("parameter_server.placement = 'cloud'").contains("colocated"));
        assert!(server("schedule = '2bw'").contains("tau"));
        assert!(server("codec = 'auto'").contains("int8"));
        let int8 = refused("paradigm = 'all-reduce'\ncodec = 'int8'");
        assert!(int8.contains("round the sum again"));
        assert!(server("optimizer.clip_norm = 1.0").contains("no shard knows"));
    }

    #[test]
    fn a_room_hears_of_the_paradigm_and_one_that_heard_of_another_is_refused() {
        for toml in ["paradigm = 'all-reduce'", "paradigm = 'parameter-server'"] {
            let run = check(toml).expect("sound");
            let mut descriptor = run.descriptor();
            assert_ne!(descriptor.outline.topology, Topology::Ring);
            assert_eq!(Run::of(&descriptor).expect("its own"), run);
            descriptor.outline.topology = Topology::Ring;
            let other = Run::of(&descriptor);
            assert!(matches!(other, Err(RunFileError::Outline)), "{other:?}");
        }
    }
}
