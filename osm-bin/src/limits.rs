//! What the system lets a program have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets this process have as many open files as the system allows it: each
/// proxy's connection is one. Without effect, and with a warning, where the
/// system refuses.
pub fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(now, most)| {
        if now < most { setrlimit(Resource::RLIMIT_NOFILE, most, most) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        raise_open_files();
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(now, most);
    }
}
