//! How many files and sockets this program may have open. Systems start programs with a low limit (256 to 1,024) that these may raise
//! themselves, because old programs counted on it.

/// What macOS takes where it says that there is no limit.
#[cfg(unix)]
const WITHOUT_LIMIT: u64 = 10_240;

/// Raises the limit as far as the system lets us, and tells where it is then; none where there is no such limit.
#[cfg(unix)]
pub(crate) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = limit.maximum.unwrap_or(WITHOUT_LIMIT);
    let current = limit.current?;
    if current >= highest {
        return Some(current);
    }
    let raised = Rlimit {
        current: Some(highest),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(highest),
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays where it is");
            Some(current)
        }
    }
}

/// Raises the limit as far as the system lets us, and tells where it is then; none where there is no such limit.
#[cfg(not(unix))]
pub(crate) fn raise() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let raised = super::raise();
        assert!(raised.is_none_or(|files| files >= 256));
        assert_eq!(super::raise(), raised);
    }
}
