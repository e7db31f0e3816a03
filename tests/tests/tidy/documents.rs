//! Rules about the documentation: its links lead somewhere, its pages are in the book, and what it quotes is what the program says.

use super::{collect, fail_if_any};
use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use ringtmp_tests::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders that are made by programs.
const MADE: [&str; 4] = ["target", "dist", "node_modules", ".git"];

/// The shortest piece of a quoted message that is looked for: shorter ones are found anywhere.
const PIECE_CHARS_MIN: usize = 4;

/// What one page has.
#[derive(Default)]
struct Page {
    /// What its links and pictures name.
    links: Vec<String>,
    /// The names by which links reach its headings.
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let name = slug(&heading.take().unwrap_or_default());
                    // Who comes second is numbered.
                    let names = (1..).map(|number| format!("{name}-{number}"));
                    let free = std::iter::once(name.clone())
                        .chain(names)
                        .find(|name| !page.anchors.contains(name));
                    page.anchors.extend(free);
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let named = html.split("src=\"").skip(1);
                    let named = named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
                    page.links.extend(named);
                }
                _ => {}
            }
        }
        page
    }
}

/// How a heading is named in links, by GitHub and mdBook alike.
fn slug(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let named = kept.map(|c| if c == ' ' { '-' } else { c });
    named.flat_map(char::to_lowercase).collect()
}

/// All Markdown of the repository, by its path in it.
fn pages() -> Result<BTreeMap<PathBuf, Page>> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![repository().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type()?.is_dir() {
                if !MADE.iter().any(|made| name == *made) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = Page::read(&fs::read_to_string(&path)?);
                pages.insert(path.strip_prefix(repository())?.to_path_buf(), page);
            }
        }
    }
    ensure!(pages.len() > 10, "there must be more than {}", pages.len());
    Ok(pages)
}

/// A path without `..`; none if it leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// What is wrong with a link, if anything is.
fn problem(from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        // What lies elsewhere is not asked for: tests need no network.
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = match path {
        "" => from.to_path_buf(),
        path => {
            let folder = from.parent().unwrap_or(Path::new(""));
            let Some(to) = plain(&folder.join(path)) else {
                return Some("leads out of the repository");
            };
            to
        }
    };
    if !repository().join(&to).is_file() {
        // A folder is no page: a site shows nothing there.
        return Some("is no file");
    }
    let named = |page: &Page| page.anchors.contains(anchor);
    match anchor.is_empty() || pages.get(&to).is_some_and(named) {
        true => None,
        false => Some("names no heading"),
    }
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() -> Result<()> {
    let pages = pages()?;
    let mut problems = Vec::new();
    let mut links = 0;
    for (path, page) in &pages {
        links += page.links.len();
        problems.extend(page.links.iter().filter_map(|link| {
            let problem = problem(path, link, &pages)?;
            Some(format!("{}: {link} {problem}", path.display()))
        }));
    }
    ensure!(links > 50, "only {links} links were found");
    fail_if_any(&problems, "mend these links")
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let page = Page::read("# A `[table]` here\n\n## Twice\n\n## Twice\n");
    let anchors = ["a-table-here", "twice", "twice-1"];
    assert!(anchors.iter().all(|anchor| page.anchors.contains(*anchor)));
    let pages = BTreeMap::from([(PathBuf::from("README.md"), page)]);
    let of = |link| problem(Path::new("docs/start.md"), link, &pages);
    for good in [
        "../README.md",
        "../README.md#twice-1",
        "../examples/mlp-digits.toml",
        "https://rustup.rs",
    ] {
        assert_eq!(of(good), None, "{good}");
    }
    for dead in [
        "README.md",
        "../README.md#thrice",
        "../docs",
        "../../README.md",
        "/README.md",
    ] {
        assert!(of(dead).is_some(), "{dead}");
    }
}

#[test]
fn every_page_of_the_documentation_is_in_the_book() -> Result<()> {
    let pages = pages()?;
    let summary = PathBuf::from("docs/SUMMARY.md");
    let contents = &pages
        .get(&summary)
        .context("there is no table of contents")?;
    let listed: BTreeSet<_> = contents
        .links
        .iter()
        .filter_map(|link| plain(&Path::new("docs").join(link)))
        .collect();
    let unlisted =
        |path: &&PathBuf| path.starts_with("docs") && **path != summary && !listed.contains(*path);
    let missing: Vec<_> = pages
        .keys()
        .filter(unlisted)
        .map(|path| path.display().to_string())
        .collect();
    fail_if_any(&missing, "list these in docs/SUMMARY.md")
}

#[test]
fn every_example_of_a_run_is_told_of() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/examples.md"))?;
    let mut missing = Vec::new();
    for entry in fs::read_dir(repository().join("examples"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !page.contains(&format!("(../examples/{name})")) {
            missing.push(name);
        }
    }
    fail_if_any(&missing, "tell in docs/examples.md what these are")
}

/// All strings of the program and of the page, as they are said: with lines that go on put together.
fn said() -> Result<String> {
    let mut paths = Vec::new();
    for folder in ["crates", "signaling-server", "www"] {
        collect(&repository().join(folder), &mut paths)?;
    }
    let mut said = String::new();
    for path in paths {
        let text = fs::read_to_string(path)?.replace("\\\"", "\"");
        let mut parts = text.split("\\\n");
        said.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| said.push_str(part.trim_start()));
    }
    Ok(said)
}

/// The messages that a page quotes: code in the first column of its tables.
fn quoted(text: &str) -> Vec<String> {
    let mut quoted = Vec::new();
    let mut cell = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableRow) => cell = Some(0),
            Event::End(TagEnd::TableCell) => cell = cell.map(|cell| cell + 1),
            Event::Code(code) if cell == Some(0) => quoted.push(code.into_string()),
            _ => {}
        }
    }
    quoted
}

#[test]
fn troubleshooting_quotes_what_is_said() -> Result<()> {
    let said = said()?;
    let page = fs::read_to_string(repository().join("docs/troubleshooting.md"))?;
    // Addresses are what people type, and flags are not messages.
    let typed = ["127.0.0.1", "localhost", "https://", "http://", "doctor"];
    let messages: Vec<_> = quoted(&page)
        .into_iter()
        .filter(|message| !typed.contains(&message.as_str()))
        .collect();
    ensure!(messages.len() > 20, "only {} are quoted", messages.len());
    let unsaid = messages.iter().filter(|message| {
        let mut pieces = message
            .split('…')
            .map(str::trim)
            .filter(|piece| piece.chars().count() >= PIECE_CHARS_MIN);
        !pieces.all(|piece| said.contains(piece))
    });
    let unsaid: Vec<_> = unsaid.cloned().collect();
    fail_if_any(&unsaid, "nothing says so any more: quote what is said now")
}

#[test]
fn the_exit_codes_of_the_documentation_are_those_of_the_program() -> Result<()> {
    let source = fs::read_to_string(repository().join("crates/ringtmp-cli/src/exit.rs"))?;
    let codes = source
        .split_once("Exit codes:\n")
        .and_then(|(_, rest)| rest.split_once("\";"))
        .context("exit.rs lists the codes")?;
    let page = fs::read_to_string(repository().join("docs/command-line.md"))?;
    let row = |line: &str| {
        let (code, meaning) = line.trim().split_once(' ').unwrap_or_default();
        format!("| {code} | {} |", meaning.trim())
    };
    let rows: Vec<_> = codes.0.lines().map(row).collect();
    ensure!(rows.len() == 7, "{rows:?}");
    let missing: Vec<_> = rows.into_iter().filter(|row| !page.contains(row)).collect();
    fail_if_any(&missing, "write these rows into docs/command-line.md")
}
