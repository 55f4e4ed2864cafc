//! Requests as a table: RFC 4180, a header line, one request a line.
//!
//! A cell that a spreadsheet would run as a formula is defused with an apostrophe in front. Numbers,
//! times and ids stand as they are: nothing of a peer is in them. A request that names more patients
//! than a cell holds has several lines, each but the last with the state `part`.

use std::fmt::Write as _;

use crate::exchange::{Exchange, Known};

/// The columns, each with what it holds.
const COLUMNS: &[(&str, Column)] = &[
    ("sequence", |it| it.first.to_string()),
    ("began", |it| it.began.to_string()),
    ("ended", |it| it.ended.to_string()),
    ("request_id", |it| it.request_id.to_string()),
    ("connection_id", |it| it.connection_id.to_string()),
    ("address", |it| shown(it.address)),
    ("client", |it| text(it.client.as_deref())),
    ("certificate", |it| {
        shown(it.connection.as_ref().and_then(|it| it.certificate))
    }),
    ("user", |it| text(it.user.as_deref())),
    ("method", |it| text(it.method.as_deref())),
    ("route", |it| text(it.route.as_deref())),
    ("rule", |it| text(it.rule.as_deref())),
    ("resource", |it| text(it.resource.as_deref())),
    ("interaction", |it| text(it.interaction.as_deref())),
    ("patients", patients),
    ("subjects", |it| subjects(it).0.to_owned()),
    ("reason", |it| subjects(it).1.to_owned()),
    ("status", |it| shown(it.status)),
    ("content_type", |it| text(it.content_type.as_deref())),
    ("bytes", |it| shown(it.bytes)),
    ("upstream", |it| text(it.upstream.as_deref())),
    ("attempts", |it| shown(it.attempts)),
    ("outcome", |it| it.outcome().name().to_owned()),
    ("code", |it| shown(it.code)),
    ("detail", |it| text(it.detail.as_deref())),
    ("state", |it| it.state.name().to_owned()),
];

type Column = fn(&Exchange) -> String;

/// The header line.
pub(super) fn head(out: &mut Vec<u8>) {
    line(COLUMNS.iter().map(|(name, _)| (*name).to_owned()), out);
}

/// The line of a request.
pub(super) fn write(exchange: &Exchange, out: &mut Vec<u8>) {
    line(COLUMNS.iter().map(|(_, column)| column(exchange)), out);
}

/// RFC 4180 2: CRLF behind each line, quotes around what holds a comma, a quote or a line's end, a
/// quote within doubled.
fn line(cells: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    for (number, cell) in cells.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        if cell.contains(['"', ',', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What a peer, an upstream or an operator may have chosen. Spreadsheets take a cell for a formula by
/// its first character, some of them behind white space.
fn text(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    let first = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
    let is_formula = first.starts_with([
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]);
    if is_formula || text.starts_with(['\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Patients with a space between, names of one with an equals sign.
fn patients(exchange: &Exchange) -> String {
    let mut cell = String::new();
    for person in exchange.persons() {
        for (number, name) in person.iter().enumerate() {
            let between = match number {
                0 if cell.is_empty() => "",
                0 => " ",
                _ => "=",
            };
            // Writing to a String cannot fail.
            let _ = write!(cell, "{between}{name}");
        }
    }
    cell
}

fn subjects(exchange: &Exchange) -> (&'static str, &'static str) {
    match exchange.subjects {
        None => ("", ""),
        Some(Known::All) => ("known", ""),
        Some(Known::Not(reason)) => ("unknown", reason.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::testing;

    /// Reads a table back (RFC 4180 2).
    fn read(table: &str) -> Vec<Vec<String>> {
        let (mut lines, mut line, mut cell) = (Vec::new(), Vec::new(), String::new());
        let mut quoted = false;
        let mut rest = table.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted && rest.peek() == Some(&'"') => {
                    rest.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => line.push(std::mem::take(&mut cell)),
                '\r' if !quoted => {
                    assert_eq!(rest.next(), Some('\n'));
                    line.push(std::mem::take(&mut cell));
                    lines.push(std::mem::take(&mut line));
                }
                c => cell.push(c),
            }
        }
        assert!(
            line.is_empty() && cell.is_empty(),
            "the last line has an end"
        );
        lines
    }

    fn table(exchange: &Exchange) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        head(&mut out);
        write(exchange, &mut out);
        read(std::str::from_utf8(&out).unwrap())
    }

    fn cell<'a>(table: &'a [Vec<String>], column: &str) -> &'a str {
        let place = table[0].iter().position(|name| name == column).unwrap();
        &table[1][place]
    }

    #[test]
    fn a_request_is_a_line_with_as_many_cells_as_the_header() {
        let table = table(&testing::exchange());
        assert_eq!(table.len(), 2);
        assert_eq!(table[0].len(), table[1].len());
        assert_eq!(cell(&table, "client"), "devices:urn:example:pump-1");
        assert_eq!(cell(&table, "outcome"), "success");
        let names = [2, 3, 1].map(|number| testing::patient(number).to_string());
        let expected = format!("{}={} {}", names[0], names[1], names[2]);
        assert_eq!(cell(&table, "patients"), expected);
    }

    #[test]
    fn whatever_stands_in_a_cell_it_stays_one_cell_and_no_formula() {
        for nasty in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            " =1",
            "\u{ff1d}1",
            "\n",
            "a,b",
            "a\"b",
            "a\r\nb",
            "\"=1\"",
        ] {
            let mut exchange = testing::exchange();
            exchange.detail = Some(nasty.to_owned());
            let table = table(&exchange);
            assert_eq!(table.len(), 2, "{nasty:?}");
            let read = cell(&table, "detail");
            assert_eq!(read.trim_start_matches('\''), nasty);
            let runs = read
                .trim_start()
                .starts_with(['=', '+', '-', '@', '\u{ff1d}']);
            assert!(!runs && !read.starts_with(['\t', '\r', '\n']), "{read:?}");
        }
    }

    #[test]
    fn the_most_patients_of_a_part_fit_a_cell() {
        let mut exchange = testing::exchange();
        exchange.patients = (0..Exchange::PATIENTS as u64)
            .map(testing::patient)
            .collect();
        assert!(cell(&table(&exchange), "patients").len() <= 32_767);
    }
}
