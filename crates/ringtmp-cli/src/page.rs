//! The page that is part of this program, where it was built with one (`cargo xtask dist`), and the folder it comes from otherwise.

use signaling_server::{BUILD_COMMAND, DIST_COMMAND, PageFile, PageSource};
use std::path::Path;

/// The files of the page; none in a program that was built without it, as those are that are built for tests.
static BUILT_IN: &[PageFile] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Where the page is looked for by a program that has none, from the folder in which it is started: where the build leaves it.
const FOLDER: &str = "dist/www";

/// For `--version`.
pub(crate) fn version() -> &'static str {
    match BUILT_IN {
        [] => concat!(
            env!("CARGO_PKG_VERSION"),
            "\nThe page is not part of this program."
        ),
        _ => concat!(
            env!("CARGO_PKG_VERSION"),
            "\nThe page is part of this program."
        ),
    }
}

/// The page to serve: that of the folder that the user names, else the program's own, else that of the build.
pub(crate) fn source(www: Option<&Path>) -> PageSource {
    match (www, BUILT_IN) {
        (Some(folder), _) => PageSource::from(folder),
        (None, []) => PageSource::from(FOLDER),
        (None, files) => PageSource::BuiltIn(files),
    }
}

/// What is missing, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) found: String,
    pub(crate) advice: String,
}

/// Says that there is no page, where a server has none.
pub(crate) fn missing(www: Option<&Path>) -> Missing {
    match www {
        Some(folder) => Missing {
            found: format!("there is no page in {}", folder.display()),
            advice: format!("build it with `{BUILD_COMMAND}`, or name another folder with --www"),
        },
        None => Missing {
            found: format!(
                "this ringtmp was built without the page, and there is none in {FOLDER}"
            ),
            advice: format!(
                "name its folder with --www DIR, build it with `{BUILD_COMMAND}`, or build a program that has it with `{DIST_COMMAND}`"
            ),
        },
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.found, self.advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_named_goes_before_the_page_in_the_program() {
        let named = source(Some(Path::new("my/page")));
        assert_eq!(named, PageSource::Folder("my/page".into()));
        let own = source(None);
        match BUILT_IN {
            [] => assert_eq!(own, PageSource::Folder(FOLDER.into())),
            files => assert_eq!(own, PageSource::BuiltIn(files)),
        }
    }

    #[test]
    fn who_has_no_page_is_told_what_to_do() {
        let words = missing(None).to_string();
        for part in ["built without", "--www DIR", BUILD_COMMAND, DIST_COMMAND] {
            assert!(words.contains(part), "{words}");
        }
        let words = missing(Some(Path::new("my/page"))).to_string();
        assert!(
            words.contains("my/page") && words.contains("--www"),
            "{words}"
        );
    }
}
