//! How the program ends: the one place that turns errors into exit codes.

use ringtmp_peer::PeerError;
use signaling_server::ServerError;
use std::process::ExitCode;

/// For `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something else went wrong
  2    the command line cannot be understood
  3    the server cannot be reached, or said no
  4    the run ended before its last step
  5    something is missing here: a browser, the built page, the port
  130  interrupted before the end";

/// Failures that are this program's own to tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The run did not reach its end.
    #[error("the run did not finish: {0}")]
    Unfinished(String),
    /// Something has to be installed, built or chosen first.
    #[error("{0}")]
    Missing(String),
    /// Ctrl-C or a signal before the end.
    #[error("interrupted")]
    Interrupted,
}

/// Tells the error and gives the code to exit with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    let causes = || error.chain();
    let failure = causes().find_map(|cause| cause.downcast_ref::<Failure>());
    let peer = causes().find_map(|cause| cause.downcast_ref::<PeerError>());
    let server = causes().find_map(|cause| cause.downcast_ref::<ServerError>());
    match (failure, peer, server) {
        (Some(Failure::Interrupted), _, _) => 130,
        (Some(Failure::Unfinished(_)), _, _) => 4,
        (Some(Failure::Missing(_)), _, _) | (_, _, Some(_)) => 5,
        (
            _,
            Some(
                PeerError::Refused(_)
                | PeerError::Signalling(_)
                | PeerError::Unexpected(_)
                | PeerError::Door(_)
                | PeerError::Kicked(_),
            ),
            _,
        ) => 3,
        (
            _,
            Some(
                PeerError::RunFile(_)
                | PeerError::Compute(_)
                | PeerError::Store(_)
                | PeerError::OwnSamples,
            )
            | None,
            None,
        ) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use ringtmp_core::signal::Refusal;

    #[test]
    fn every_failure_has_its_documented_code() {
        let of = |error: anyhow::Error| code(&error);
        let unfinished = Failure::Unfinished("a tab crashed".to_owned());
        assert_eq!(of(unfinished.into()), 4);
        assert_eq!(of(Failure::Missing("no browser".to_owned()).into()), 5);
        assert_eq!(of(Failure::Interrupted.into()), 130);
        let refused = PeerError::Refused(Refusal::RoomFull { members_max: 2 });
        assert_eq!(of(refused.into()), 3);
        let in_use = ServerError::PortInUse {
            address: ([127, 0, 0, 1], 80).into(),
        };
        let wrapped = Err::<(), _>(in_use)
            .context("cannot start")
            .expect_err("an error");
        assert_eq!(of(wrapped), 5);
        assert_eq!(of(anyhow::anyhow!("else")), 1);
        for code in ["  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  130 "] {
            assert!(EXIT_CODES.contains(code), "{code} is documented");
        }
    }
}
