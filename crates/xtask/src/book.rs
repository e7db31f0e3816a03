//! The documentation as a site, in `dist/book`. Its pages are the Markdown files of the repository, and lie in the book as they lie
//! there, so that a link that works in the one works in the other. mdBook is a tool and no dependency: it is built on demand.

use crate::page::{copy_below, files_below, remove};
use crate::process::{cargo, root, run};
use crate::setup::tools_folder;
use anyhow::{Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MDBOOK_VERSION: &str = "0.5.4";

/// What the book is made of: its pages, and what they show or link to.
const PARTS: [&str; 9] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "examples",
    "crates/ringtmp-energy/coefficients.toml",
    "crates/ringtmp-experiment/profiles.toml",
];

/// Builds `dist/book` and looks whether its links lead anywhere.
pub(crate) fn build() -> Result<()> {
    let mdbook = mdbook()?;
    let source = root().join("target/book");
    remove(&source)?;
    for part in PARTS {
        let path = root().join(part);
        let files = if path.is_dir() {
            files_below(&path)?
        } else {
            vec![path]
        };
        copy_below(&root(), &files, &source)?;
    }
    // Both lie where people look for them in the repository, and where mdBook does in the book.
    fs::rename(source.join("docs/book.toml"), source.join("book.toml"))?;
    let summary = fs::read_to_string(source.join("docs/SUMMARY.md"))?;
    fs::remove_file(source.join("docs/SUMMARY.md"))?;
    fs::write(source.join("SUMMARY.md"), from_root(&summary))?;
    let book = root().join("dist/book");
    let mut command = Command::new(mdbook);
    run(command
        .arg("build")
        .arg(&source)
        .arg("--dest-dir")
        .arg(&book))?;
    let dead = dead_links(&book)?;
    ensure!(
        dead.is_empty(),
        "links of the book lead nowhere:\n  {}",
        dead.join("\n  ")
    );
    println!("dist/book/index.html");
    Ok(())
}

/// mdBook, built when it is not there in this version. Without its server and what watches files.
fn mdbook() -> Result<PathBuf> {
    let folder = tools_folder().join(format!("mdbook-{MDBOOK_VERSION}"));
    let program = folder.join(format!("bin/mdbook{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        eprintln!("building mdBook, once, some minutes");
        let mut command = cargo();
        command.args(["install", "--locked", "mdbook", "--version", MDBOOK_VERSION]);
        command.args(["--no-default-features", "--features", "search", "--root"]);
        run(command.arg(&folder))?;
    }
    Ok(program)
}

/// The table of contents with links from the repository's root instead of from `docs`.
fn from_root(summary: &str) -> String {
    let below = summary.replace("](", "](docs/");
    below.replace("](docs/../", "](")
}

/// Links and pictures of the book's pages that are not in it: the page and what it names.
fn dead_links(book: &Path) -> Result<Vec<String>> {
    let mut dead = Vec::new();
    for page in files_below(book)? {
        // Shown at any address, so its links begin at the site's root.
        if page.extension().is_none_or(|extension| extension != "html")
            || page.ends_with("404.html")
        {
            continue;
        }
        let folder = page.parent().unwrap_or(book);
        let text = fs::read_to_string(&page)?;
        for link in links(&text) {
            let to = folder.join(link);
            if !(to.is_file() || to.join("index.html").is_file()) {
                dead.push(format!("{}: {link}", page.strip_prefix(book)?.display()));
            }
        }
    }
    Ok(dead)
}

/// The files that a page of HTML names, without what leads elsewhere.
fn links(html: &str) -> impl Iterator<Item = &str> {
    let named = html.split([' ', '\n']).filter_map(|part| {
        let value = part
            .strip_prefix("href=\"")
            .or_else(|| part.strip_prefix("src=\""));
        Some(value?.split_once('"')?.0)
    });
    named
        .filter(|link| !link.contains(':') && !link.starts_with("//"))
        .map(|link| link.split(['#', '?']).next().unwrap_or_default())
        .filter(|link| !link.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contents_begins_at_the_root() {
        let summary = "- [Start](start.md)\n- [How](../ARCHITECTURE.md)\n";
        assert_eq!(
            from_root(summary),
            "- [Start](docs/start.md)\n- [How](ARCHITECTURE.md)\n"
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let html = "<a href=\"a.html#b\">a</a> <a href=\"https://ring.example\">b</a> <img src=\"c/d.png\"> <a href=\"#e\">e</a>";
        assert_eq!(links(html).collect::<Vec<_>>(), ["a.html", "c/d.png"]);
        let book = std::env::temp_dir().join(format!("ringtmp-book-{}", std::process::id()));
        fs::create_dir_all(book.join("c")).expect("made");
        fs::write(book.join("a.html"), html).expect("written");
        assert_eq!(dead_links(&book).expect("read"), ["a.html: c/d.png"]);
        fs::write(book.join("c/d.png"), "").expect("written");
        assert!(dead_links(&book).expect("read").is_empty());
        fs::remove_dir_all(book).expect("removed");
    }
}
