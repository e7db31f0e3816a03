//! Draws what a program has written to a terminal, as a page.

use std::fmt::Write;
use std::num::NonZeroU16;
use vt100::{Cell, Color, Parser};

/// The sixteen colours that programs name by number.
const PALETTE: [&str; 16] = [
    "#1d1f21", "#cc6666", "#b5bd68", "#f0c674", "#81a2be", "#b294bb", "#8abeb7", "#c5c8c6",
    "#666666", "#d54e53", "#b9ca4a", "#e7c547", "#7aa6da", "#c397d8", "#70c0b1", "#eaeaea",
];

/// A page that shows a terminal's last screen after these bytes, under a title.
pub fn page(title: &str, bytes: &[u8], rows: NonZeroU16, columns: NonZeroU16) -> String {
    let mut parser = Parser::new(rows, columns, 0);
    parser.process(bytes);
    let screen = parser.screen();
    let mut lines: Vec<String> = (0..rows.get())
        .map(|row| line((0..columns.get()).filter_map(|column| screen.cell(row, column))))
        .collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    format!(
        "<!doctype html><meta charset=utf-8><style>\
         body{{margin:0;background:#101214;display:flex;justify-content:center}}\
         figure{{margin:16px;border-radius:8px;overflow:hidden;background:#1d1f21;align-self:flex-start}}\
         figcaption{{background:#2d2f31;color:#c5c8c6;font:13px sans-serif;padding:8px 12px;text-align:center}}\
         pre{{margin:0;padding:12px;color:#c5c8c6;font:14px/1.3 'DejaVu Sans Mono',monospace}}\
         </style><figure><figcaption>{}</figcaption><pre>{}</pre></figure>",
        escape(title),
        lines.join("\n")
    )
}

fn line<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let mut html = String::new();
    let mut current = String::new();
    for cell in cells.filter(|cell| !cell.is_wide_continuation()) {
        let style = style(cell);
        if style != current {
            if !current.is_empty() {
                html.push_str("</span>");
            }
            if !style.is_empty() {
                let _ = write!(html, "<span style=\"{style}\">");
            }
            current = style;
        }
        html.push_str(&if cell.has_contents() {
            escape(cell.contents())
        } else {
            " ".to_owned()
        });
    }
    if !current.is_empty() {
        html.push_str("</span>");
    }
    html.trim_end().to_owned()
}

fn style(cell: &Cell) -> String {
    let mut style = String::new();
    let (front, back) = if cell.inverse() {
        (cell.bgcolor(), cell.fgcolor())
    } else {
        (cell.fgcolor(), cell.bgcolor())
    };
    if let Some(color) = color(front) {
        let _ = write!(style, "color:{color};");
    }
    if let Some(color) = color(back) {
        let _ = write!(style, "background:{color};");
    }
    if cell.bold() {
        style.push_str("font-weight:bold;");
    }
    if cell.dim() {
        style.push_str("opacity:.6;");
    }
    style
}

/// The default is the page's own. Numbers from 16 are a cube of 6x6x6 colours and 24 greys, as in xterm.
fn color(color: Color) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Rgb(red, green, blue) => Some(format!("rgb({red},{green},{blue})")),
        Color::Idx(index @ 0..=15) => Some(PALETTE[usize::from(index)].to_owned()),
        Color::Idx(index @ 16..=231) => {
            let level =
                |place: u8| [0, 95, 135, 175, 215, 255][usize::from((index - 16) / place % 6)];
            Some(format!("rgb({},{},{})", level(36), level(6), level(1)))
        }
        Color::Idx(index @ 232..=255) => {
            let grey = 8 + 10 * (index - 232);
            Some(format!("rgb({grey},{grey},{grey})"))
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::page;
    use std::num::NonZeroU16;

    #[test]
    fn a_screen_is_drawn_as_it_was_last_seen() {
        let size = |n| NonZeroU16::new(n).expect("not zero");
        let page = page(
            "a <b>",
            b"first\r\x1b[1;31mlast\x1b[0m < 2\x1b[K\n",
            size(4),
            size(20),
        );
        assert!(
            page.contains("<figcaption>a &lt;b&gt;</figcaption>"),
            "{page}"
        );
        assert!(
            page.contains("<span style=\"color:#cc6666;font-weight:bold;\">last</span> &lt; 2"),
            "{page}"
        );
        assert!(!page.contains("first"), "{page}");
    }
}
