//! Points of a figure against a size, as a script gathers them, and the table of them.
//!
//! One point a line: what it belongs to, the size, the figure, between tabs. Of points that belong to
//! the same size, as of several rounds, the median counts. What this file does not do: it draws
//! nothing ([`plot`](crate::plot) does).

use crate::summary::{figure, median};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Points in one figure, at most.
const MAX_POINTS: usize = 10_000;

/// Lines in one figure, at most: more colours cannot be told apart.
const MAX_SERIES: usize = 6;

/// The points that belong together, in the order of their sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// What they are.
    pub(crate) name: String,
    /// Size and figure.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PointsError {
    /// A line is no point.
    Line {
        /// Which, counted from one.
        number: usize,
    },
    /// There is no point at all.
    Empty,
    /// There are too many points, or lines.
    TooMany,
}

/// The points in this text, in series of the order in which they first come.
pub(crate) fn read(text: &str) -> Result<Vec<Series>, PointsError> {
    let mut found: Vec<Series> = Vec::new();
    let lines = (1..).zip(text.lines());
    let mut count = 0;
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let (name, point) = point(line).ok_or(PointsError::Line { number })?;
        count += 1;
        match found.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => found.push(Series {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
        if count > MAX_POINTS || found.len() > MAX_SERIES {
            return Err(PointsError::TooMany);
        }
    }
    for series in &mut found {
        series.points = medians(&series.points);
    }
    if found.is_empty() {
        return Err(PointsError::Empty);
    }
    Ok(found)
}

fn point(line: &str) -> Option<(&str, (f64, f64))> {
    let mut parts = line.split('\t');
    let (name, size, value) = (parts.next()?, parts.next()?, parts.next()?);
    let (size, value): (f64, f64) = (size.parse().ok()?, value.parse().ok()?);
    let may_be = size.is_finite() && size >= 0.0 && value.is_finite() && value > 0.0;
    (may_be && !name.is_empty() && parts.next().is_none()).then_some((name, (size, value)))
}

/// One point for each size, in their order.
fn medians(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    let of_each = sorted.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq());
    of_each
        .filter_map(|of_one| {
            let values: Vec<f64> = of_one.iter().map(|(_, value)| *value).collect();
            Some((of_one.first()?.0, median(&values)?))
        })
        .collect()
}

/// The points as a Markdown table, one row for each size.
pub(crate) fn table(series: &[Series], sizes: &str, figures: &str) -> String {
    let names: Vec<_> = series.iter().map(|series| cell(&series.name)).collect();
    let mut out = format!(
        "{}:\n\n| {} | {} |\n|{}\n",
        figures,
        cell(sizes),
        names.join(" | "),
        "---|".repeat(1 + names.len())
    );
    // Sizes are not negative, so their bits are in their order.
    let bits: BTreeSet<u64> = series
        .iter()
        .flat_map(|series| series.points.iter().map(|(size, _)| size.to_bits()))
        .collect();
    for size in bits.into_iter().map(f64::from_bits) {
        let at = |series: &Series| {
            let found = series
                .points
                .iter()
                .find(|point| point.0.total_cmp(&size).is_eq());
            figure(found.map(|(_, value)| *value))
        };
        let cells: Vec<_> = series.iter().map(at).collect();
        writeln!(out, "| {} | {} |", grouped(size), cells.join(" | "))
            .expect("a String takes whatever is written");
    }
    out
}

/// Nothing in it ends a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// With commas between thousands.
pub(crate) fn grouped(size: f64) -> String {
    let digits = format!("{size}");
    let whole = digits.split('.').next().unwrap_or_default().len();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl std::fmt::Display for PointsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line { number } => write!(
                f,
                "line {number} is no point: a name, a size that is not negative and a figure above \
                 zero, between tabs"
            ),
            Self::Empty => f.write_str("there is no point"),
            Self::TooMany => write!(
                f,
                "more than {MAX_SERIES} lines or {MAX_POINTS} points are not one figure"
            ),
        }
    }
}

impl std::error::Error for PointsError {}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "h1\t1000\t50\nh1\t1\t40\nh2\t1\t30\n\nh1\t1000\t70\nh1\t1000\t52\n";

    #[test]
    fn of_several_rounds_the_median_counts_and_sizes_are_in_order() {
        let series = read(TEXT).unwrap();
        let points: Vec<_> = series.iter().map(|series| &series.points[..]).collect();
        assert_eq!(points, [&[(1.0, 40.0), (1000.0, 52.0)][..], &[(1.0, 30.0)]]);
    }

    #[test]
    fn each_size_is_a_row_and_what_was_not_measured_is_a_dash() {
        let table = table(&read(TEXT).unwrap(), "routes", "CPU us a request");
        assert_eq!(
            table,
            "CPU us a request:\n\n| routes | h1 | h2 |\n|---|---|---|\n| 1 | 40.0 | 30.0 |\n\
             | 1,000 | 52.0 | - |\n"
        );
    }

    #[test]
    fn a_line_that_is_no_point_is_named() {
        for wrong in [
            "h1\t1",
            "h1\t1\t0",
            "h1\t-1\t1",
            "h1\tx\t1",
            "h1\t1\tinf",
            "\t1\t1",
            "h1\t1\t1\t1",
        ] {
            let error = read(&format!("h1\t1\t2\n{wrong}\n")).unwrap_err();
            assert_eq!(error, PointsError::Line { number: 2 }, "{wrong}");
        }
        assert_eq!(read("\n"), Err(PointsError::Empty));
        let many: Vec<_> = (0..7).map(|name| format!("{name}\t1\t1")).collect();
        assert_eq!(read(&many.join("\n")), Err(PointsError::TooMany));
    }

    #[test]
    fn thousands_are_told_apart() {
        for (size, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1e3, "1,000"),
            (1.5e6, "1,500,000"),
        ] {
            assert_eq!(grouped(size), text);
        }
    }
}
