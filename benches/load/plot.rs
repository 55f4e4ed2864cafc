//! A plot of points as SVG, both axes logarithmic, on white so that it can be read on any page.
//!
//! A size of zero has no logarithm: it stands left of the others, a decade from the smallest. What
//! this file does not do: it chooses no points and computes no figure.

use crate::points::{Series, grouped};
use std::fmt::{self, Write as _};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 44.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

/// Height of a row of the legend.
const ROW: f64 = 18.0;

/// Colours that stay apart for those who see fewer (Okabe and Ito), each with a dash of its own.
const LINES: [(&str, &str); 6] = [
    ("#0072b2", "none"),
    ("#d55e00", "8 3"),
    ("#009e73", "2 3"),
    ("#a2568a", "10 3 2 3"),
    ("#8a6d00", "5 5"),
    ("#555555", "1 4"),
];

/// What stands beside the points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    /// Above.
    pub(crate) title: &'a str,
    /// What the sizes are.
    pub(crate) sizes: &'a str,
    /// What the figures are, with their unit.
    pub(crate) figures: &'a str,
}

/// An axis: a stretch of logarithms and where it lies on the page.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// The logarithms at its ends.
    from: f64,
    to: f64,
    /// The places of its ends.
    at: (f64, f64),
    /// Where zero stands, as a logarithm.
    zero: Option<f64>,
}

impl Axis {
    /// Whole decades around these values, one at least.
    fn new(values: impl Iterator<Item = f64> + Clone, at: (f64, f64)) -> Axis {
        let logarithms = values.clone().filter(|value| *value > 0.0).map(f64::log10);
        let least = logarithms.clone().fold(f64::INFINITY, f64::min);
        let most = logarithms.fold(f64::NEG_INFINITY, f64::max);
        // Only zeros: a decade around one.
        let (least, most) = if least > most {
            (0.0, 0.0)
        } else {
            (least, most)
        };
        let has_zero = values.into_iter().any(|value| value == 0.0);
        let first = least.floor();
        let zero = has_zero.then_some(first - 1.0);
        Axis {
            from: zero.unwrap_or(first),
            to: most.ceil().max(first + 1.0),
            at,
            zero,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let logarithm = match self.zero {
            Some(zero) if value == 0.0 => zero,
            _ => value.log10(),
        };
        let share = (logarithm - self.from) / (self.to - self.from);
        self.at.0 + share * (self.at.1 - self.at.0)
    }

    /// Powers of ten, and zero.
    fn decades(&self) -> impl Iterator<Item = f64> {
        let (from, to, zero) = (self.from, self.to, self.zero);
        let steps = std::iter::successors(Some(from), |at| Some(at + 1.0));
        steps.take_while(move |at| *at <= to + 0.5).map(move |at| {
            let is_zero = zero.is_some_and(|zero| (zero - at).abs() < 0.5);
            if is_zero { 0.0 } else { 10_f64.powf(at) }
        })
    }

    /// What lies between: twice and five times a power of ten.
    fn between(&self) -> impl Iterator<Item = f64> {
        let last = 10_f64.powf(self.to);
        let whole: Vec<f64> = self.decades().filter(|value| *value > 0.0).collect();
        let parts = whole
            .into_iter()
            .flat_map(|value| [2.0 * value, 5.0 * value]);
        parts.filter(move |value| *value < last)
    }
}

/// The plot.
pub(crate) fn svg(series: &[Series], words: Words<'_>) -> String {
    let mut out = String::new();
    draw(&mut out, series, words).expect("a String takes whatever is written");
    out
}

fn draw(out: &mut String, series: &[Series], words: Words<'_>) -> fmt::Result {
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let top = TOP + ROW * rows(names.len());
    let points = || series.iter().flat_map(|series| series.points.iter());
    let sizes = points().map(|point| point.0);
    let figures = points().map(|point| point.1);
    let across = Axis::new(sizes, (LEFT, WIDTH - RIGHT));
    let up = Axis::new(figures, (HEIGHT - BOTTOM, top));
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#1a1a1a" role="img">"##
    )?;
    writeln!(out, "<title>{}</title>", escaped(words.title))?;
    writeln!(
        out,
        r##"<rect width="100%" height="100%" fill="#ffffff"/>"##
    )?;
    writeln!(
        out,
        r#"<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{}</text>"#,
        escaped(words.title)
    )?;
    legend(out, &names)?;
    axes(out, &across, &up, words)?;
    for (one, (colour, dash)) in series.iter().zip(LINES.into_iter().cycle()) {
        line(out, one, &across, &up, colour, dash)?;
    }
    writeln!(out, "</svg>")
}

/// How many rows the legend has, two names in each.
fn rows(names: usize) -> f64 {
    names.div_ceil(2).to_string().parse().unwrap_or(1.0)
}

fn legend(out: &mut String, names: &[&str]) -> fmt::Result {
    let half = (WIDTH - LEFT - RIGHT) / 2.0;
    let mut y = TOP;
    for (pair, lines) in names.chunks(2).zip(LINES.chunks(2)) {
        let mut x = LEFT;
        for (name, (colour, dash)) in pair.iter().zip(lines) {
            writeln!(
                out,
                r#"<line x1="{x}" y1="{y}" x2="{:.1}" y2="{y}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>"#,
                x + 28.0
            )?;
            writeln!(
                out,
                r#"<text x="{:.1}" y="{:.1}">{}</text>"#,
                x + 36.0,
                y + 4.5,
                escaped(name)
            )?;
            x += half;
        }
        y += ROW;
    }
    Ok(())
}

fn axes(out: &mut String, across: &Axis, up: &Axis, words: Words<'_>) -> fmt::Result {
    let (bottom, top) = up.at;
    let (left, right) = across.at;
    writeln!(out, r#"<g fill="none" stroke-width="1">"#)?;
    for (axis, is_across) in [(across, true), (up, false)] {
        let fine = axis.between().map(|value| (value, "#ececec"));
        let coarse = axis.decades().map(|value| (value, "#c8c8c8"));
        for (value, colour) in fine.chain(coarse) {
            let at = axis.place(value);
            let path = if is_across {
                format!("M{at:.1} {bottom:.1}V{top:.1}")
            } else {
                format!("M{left:.1} {at:.1}H{right:.1}")
            };
            writeln!(out, r#"<path d="{path}" stroke="{colour}"/>"#)?;
        }
    }
    writeln!(
        out,
        r##"<path d="M{left:.1} {top:.1}V{bottom:.1}H{right:.1}" stroke="#1a1a1a"/></g>"##
    )?;
    for value in across.decades() {
        let x = across.place(value);
        let y = bottom + 18.0;
        let text = label(value);
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{text}</text>"#
        )?;
    }
    for value in up.decades() {
        let y = up.place(value) + 4.5;
        let x = left - 8.0;
        let text = label(value);
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="end">{text}</text>"#
        )?;
    }
    writeln!(
        out,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        f64::midpoint(left, right),
        HEIGHT - 12.0,
        escaped(words.sizes)
    )?;
    writeln!(
        out,
        r#"<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        f64::midpoint(top, bottom),
        escaped(words.figures)
    )
}

fn line(
    out: &mut String,
    series: &Series,
    across: &Axis,
    up: &Axis,
    colour: &str,
    dash: &str,
) -> fmt::Result {
    let places: Vec<_> = series
        .points
        .iter()
        .map(|(size, value)| (across.place(*size), up.place(*value)))
        .collect();
    let path: Vec<_> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    writeln!(
        out,
        r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>"#,
        path.join(" ")
    )?;
    for (x, y) in places {
        writeln!(
            out,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
        )?;
    }
    Ok(())
}

/// A power of ten in words: 1, 1,000, 1 M; 0.01.
fn label(value: f64) -> String {
    if value >= 999_999.5 {
        return format!("{} M", grouped((value / 1e6).round()));
    }
    if value >= 1.0 || value == 0.0 {
        return grouped(value.round());
    }
    let digits = usize::from(value < 0.05) + usize::from(value < 0.005) + 1;
    format!("{value:.digits$}")
}

/// As text of XML (XML 1.0 2.4).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'_> = Words {
        title: "a < b & \"c\"",
        sizes: "routes",
        figures: "CPU us a request",
    };

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    /// Every element ends, in order, and every attribute is quoted and stands once.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        let mut rest = svg.trim();
        let mut is_first = true;
        while let Some(start) = rest.find('<') {
            let text = &rest[..start];
            let bare = text.split('&').skip(1).any(|after| {
                let name = after.split(';').next().unwrap_or_default();
                !["amp", "lt", "gt", "quot"].contains(&name)
            });
            let Some(end) = rest.find('>') else {
                return false;
            };
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if bare || text.contains('>') || (open.is_empty() && !is_first) {
                return false;
            }
            is_first = false;
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
                continue;
            }
            let (tag, is_empty) = match tag.strip_suffix('/') {
                Some(tag) => (tag, true),
                None => (tag, false),
            };
            if !tag.matches('"').count().is_multiple_of(2) {
                return false;
            }
            if !is_empty {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        open.is_empty() && rest.trim().is_empty()
    }

    /// The places of a line's points.
    fn places(svg: &str) -> Vec<Vec<(f64, f64)>> {
        let lines = svg
            .lines()
            .filter_map(|line| line.strip_prefix("<polyline points=\""));
        lines
            .map(|line| {
                let points = line.split('"').next().unwrap().split(' ');
                let read = |point: &str| {
                    let (x, y) = point.split_once(',').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                };
                points.map(read).collect()
            })
            .collect()
    }

    #[test]
    fn a_plot_is_well_formed_whatever_its_words_are() {
        let name = "<rect> & 'more' \u{7}";
        let plot = svg(&[series(name, &[(1.0, 2.0), (10.0, 3.0)])], WORDS);
        assert!(is_well_formed(&plot), "{plot}");
        assert!(plot.contains("a &lt; b &amp; &quot;c&quot;"), "{plot}");
        assert!(!is_well_formed(&plot.replace("</svg>", "")));
        assert!(!is_well_formed(&plot.replace("&lt;", "<")));
        assert!(!is_well_formed(&plot.replace("&amp;", "&")));
    }

    #[test]
    fn points_stand_in_the_order_of_their_sizes_and_more_is_higher() {
        let one = series("one", &[(0.0, 5.0), (1.0, 6.0), (1e3, 60.0), (1e6, 600.0)]);
        let other = series("other", &[(1.0, 0.02), (1e6, 0.03)]);
        let plot = svg(&[one, other], WORDS);
        let lines = places(&plot);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        for line in &lines {
            for pair in line.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{plot}");
                assert!(pair[0].1 > pair[1].1, "{plot}");
            }
            for (x, y) in line {
                assert!((LEFT..=WIDTH - RIGHT).contains(x), "{plot}");
                assert!((TOP..=HEIGHT - BOTTOM).contains(y), "{plot}");
            }
        }
    }

    #[test]
    fn equal_ratios_are_equal_distances() {
        let plot = svg(
            &[series("one", &[(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)])],
            WORDS,
        );
        let line = &places(&plot)[0];
        let (first, second) = (line[1].0 - line[0].0, line[2].0 - line[1].0);
        assert!((first - second).abs() < 0.3, "{plot}");
        let (first, second) = (line[0].1 - line[1].1, line[1].1 - line[2].1);
        assert!((first - second).abs() < 0.3, "{plot}");
    }

    #[test]
    fn one_point_alone_and_a_lone_zero_have_their_place() {
        for points in [[(7.0, 7.0)], [(0.0, 3.0)]] {
            let plot = svg(&[series("one", &points)], WORDS);
            let (x, y) = places(&plot)[0][0];
            assert!(x.is_finite() && y.is_finite(), "{plot}");
            assert!(is_well_formed(&plot), "{plot}");
        }
    }

    #[test]
    fn decades_are_written_as_people_read_them() {
        for (value, text) in [
            (0.0, "0"),
            (0.01, "0.01"),
            (0.1, "0.1"),
            (1.0, "1"),
            (1e4, "10,000"),
            (1e6, "1 M"),
            (1e8, "100 M"),
        ] {
            assert_eq!(label(value), text);
        }
    }

    #[test]
    fn a_background_of_its_own_keeps_it_readable_on_a_dark_page() {
        let plot = svg(&[series("one", &[(1.0, 1.0)])], WORDS);
        let rect = r##"<rect width="100%" height="100%" fill="#ffffff"/>"##;
        let (before, _) = plot.split_once(rect).unwrap();
        assert!(
            !before.contains("<path") && !before.contains("<text"),
            "{plot}"
        );
    }
}
