//! A report as text for a terminal, or as one page to print: HTML with its own style, no script, nothing
//! from elsewhere. What the log holds is escaped: names come from certificates that others made.

use std::fmt::{self, Write};

/// What a report says.
#[derive(Debug)]
pub struct Page {
    /// What it is.
    pub title: String,
    /// Of whom, when, from where.
    pub facts: Vec<(&'static str, String)>,
    /// The tables.
    pub sections: Vec<Section>,
}

/// A table.
#[derive(Debug)]
pub struct Section {
    /// What it holds.
    pub title: String,
    /// What to know of it.
    pub note: Option<&'static str>,
    /// What its columns hold.
    pub columns: Vec<&'static str>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// The page as text.
#[derive(Debug)]
pub struct Text<'a>(pub &'a Page);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Plain(&self.0.title))?;
        for (name, value) in &self.0.facts {
            writeln!(f, "{name}: {}", Plain(value))?;
        }
        for section in &self.0.sections {
            write!(f, "\n{}: {}\n", Plain(&section.title), section.rows.len())?;
            if let Some(note) = section.note {
                writeln!(f, "  ({note})")?;
            }
            if !section.rows.is_empty() {
                table(section, f)?;
            }
        }
        Ok(())
    }
}

/// No column but the last is padded to more than this.
const WIDEST: usize = 48;

fn table(section: &Section, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut widths: Vec<usize> = section.columns.iter().map(|name| name.len()).collect();
    let rows = section.rows.iter().map(|row| {
        let cells = row.iter().map(|cell| Plain(cell).to_string());
        cells.collect::<Vec<_>>()
    });
    let rows: Vec<_> = rows.collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(WIDEST);
        }
    }
    let heads = section.columns.iter().map(|name| (*name).to_owned());
    for row in std::iter::once(heads.collect()).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(&row) {
            write!(line, "  {cell:<width$}")?;
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Text that cannot drive a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// The page as HTML.
#[derive(Debug)]
pub struct Html<'a>(pub &'a Page);

const STYLE: &str = "body{font:10pt/1.4 sans-serif;margin:2em;color:#000;background:#fff}\
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.6em}dt{font-weight:bold}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}th,td{border:1px solid #999;padding:.2em .4em;text-align:left;\
vertical-align:top;overflow-wrap:anywhere}thead{display:table-header-group}tr{break-inside:avoid}\
@page{margin:15mm}";

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = Escaped(&self.0.title);
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>\n"
        )?;
        for (name, value) in &self.0.facts {
            writeln!(f, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(value))?;
        }
        writeln!(f, "</dl>")?;
        for section in &self.0.sections {
            writeln!(
                f,
                "<h2>{}: {}</h2>",
                Escaped(&section.title),
                section.rows.len()
            )?;
            if let Some(note) = section.note {
                writeln!(f, "<p>{}</p>", Escaped(note))?;
            }
            if section.rows.is_empty() {
                continue;
            }
            write!(f, "<table>\n<thead><tr>")?;
            for name in &section.columns {
                write!(f, "<th>{}</th>", Escaped(name))?;
            }
            write!(f, "</tr></thead>\n<tbody>\n")?;
            for row in &section.rows {
                write!(f, "<tr>")?;
                for cell in row {
                    write!(f, "<td>{}</td>", Escaped(cell))?;
                }
                writeln!(f, "</tr>")?;
            }
            write!(f, "</tbody>\n</table>\n")?;
        }
        writeln!(f, "</body>\n</html>")
    }
}

/// Text that is nothing but text in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let hostile = "<script>alert('x')</script>\u{1b}[2J\n\"&";
        Page {
            title: hostile.to_owned(),
            facts: vec![("of", hostile.to_owned())],
            sections: vec![Section {
                title: hostile.to_owned(),
                note: Some("all of them"),
                columns: vec!["who", "what"],
                rows: vec![vec![hostile.to_owned(), "a".repeat(100)]],
            }],
        }
    }

    #[test]
    fn a_page_is_text_whatever_the_log_holds() {
        let html = Html(&page()).to_string();
        assert!(
            !html.contains("<script") && !html.contains('\u{1b}'),
            "{html}"
        );
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        let text = Text(&page()).to_string();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        assert_eq!(text.lines().count(), 7, "{text}");
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let html = Html(&page()).to_string();
        for word in [
            "http://", "https://", "src=", "href=", "url(", "@import", "onload",
        ] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
