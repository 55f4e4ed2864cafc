//! The options of curl that are understood, one row each: what they change of a request, or nothing.
//!
//! Standard: curl(1) 7.88. What this file does not do: an option that is not in the table could change
//! what is sent, so it is refused, never passed over.

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing to the request: where to connect to, what to show.
    Nothing,
    /// Nothing to the request, and the next word is its value.
    NothingWithValue,
    /// The method.
    Method,
    /// A field.
    Field,
    /// Content; a file without its line ends.
    Data,
    /// Content; never a file.
    RawData,
    /// Content; a file as it is.
    BinaryData,
    /// Content in JSON, with its fields.
    Json,
    /// HEAD.
    Head,
    /// Content goes into the query.
    Get,
    /// The URL.
    Url,
    /// Brackets and braces in the URL are themselves.
    LiteralUrl,
    /// Dots in the path stay.
    LiteralPath,
    /// HTTP/1.1, so that there is a request line.
    Http1,
    /// The client's certificate.
    Certificate,
    /// The client's key.
    Key,
}

impl Effect {
    /// Whether the next word belongs to it.
    pub(super) const fn takes_value(self) -> bool {
        match self {
            Effect::Nothing
            | Effect::Head
            | Effect::Get
            | Effect::LiteralUrl
            | Effect::LiteralPath
            | Effect::Http1 => false,
            Effect::NothingWithValue
            | Effect::Method
            | Effect::Field
            | Effect::Data
            | Effect::RawData
            | Effect::BinaryData
            | Effect::Json
            | Effect::Url
            | Effect::Certificate
            | Effect::Key => true,
        }
    }
}

/// An option.
#[derive(Debug)]
pub(super) struct CurlOption {
    /// Its name behind two dashes.
    pub(super) long: &'static str,
    /// Its letter behind one dash.
    pub(super) short: Option<char>,
    /// What it does.
    pub(super) effect: Effect,
}

const fn row(long: &'static str, short: Option<char>, effect: Effect) -> CurlOption {
    CurlOption {
        long,
        short,
        effect,
    }
}

/// All that are understood.
#[rustfmt::skip]
pub(super) const OPTIONS: &[CurlOption] = &[
    row("request",             Some('X'), Effect::Method),
    row("header",              Some('H'), Effect::Field),
    row("data",                Some('d'), Effect::Data),
    row("data-ascii",          None,      Effect::Data),
    row("data-raw",            None,      Effect::RawData),
    row("data-binary",         None,      Effect::BinaryData),
    row("json",                None,      Effect::Json),
    row("head",                Some('I'), Effect::Head),
    row("get",                 Some('G'), Effect::Get),
    row("url",                 None,      Effect::Url),
    row("globoff",             Some('g'), Effect::LiteralUrl),
    row("path-as-is",          None,      Effect::LiteralPath),
    row("http1.1",             None,      Effect::Http1),
    row("http2",               None,      Effect::Nothing),
    row("tlsv1.2",             None,      Effect::Nothing),
    row("tlsv1.3",             None,      Effect::Nothing),
    row("cert",                Some('E'), Effect::Certificate),
    row("key",                 None,      Effect::Key),
    row("cacert",              None,      Effect::NothingWithValue),
    row("capath",              None,      Effect::NothingWithValue),
    row("insecure",            Some('k'), Effect::Nothing),
    row("connect-to",          None,      Effect::NothingWithValue),
    row("resolve",             None,      Effect::NothingWithValue),
    row("noproxy",             None,      Effect::NothingWithValue),
    row("ipv4",                Some('4'), Effect::Nothing),
    row("ipv6",                Some('6'), Effect::Nothing),
    row("max-time",            Some('m'), Effect::NothingWithValue),
    row("connect-timeout",     None,      Effect::NothingWithValue),
    row("disable",             Some('q'), Effect::Nothing),
    row("silent",              Some('s'), Effect::Nothing),
    row("show-error",          Some('S'), Effect::Nothing),
    row("no-progress-meter",   None,      Effect::Nothing),
    row("verbose",             Some('v'), Effect::Nothing),
    row("include",             Some('i'), Effect::Nothing),
    row("fail",                Some('f'), Effect::Nothing),
    row("fail-with-body",      None,      Effect::Nothing),
    row("output",              Some('o'), Effect::NothingWithValue),
    row("dump-header",         Some('D'), Effect::NothingWithValue),
    row("write-out",           Some('w'), Effect::NothingWithValue),
];

/// The row of a long name.
pub(super) fn long(name: &str) -> Option<&'static CurlOption> {
    OPTIONS.iter().find(|option| option.long == name)
}

/// The row of a letter.
pub(super) fn short(letter: char) -> Option<&'static CurlOption> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_and_letter_stands_there_once() {
        let mut names: Vec<_> = OPTIONS.iter().map(|option| option.long).collect();
        let mut letters: Vec<_> = OPTIONS.iter().filter_map(|option| option.short).collect();
        let counts = (names.len(), letters.len());
        names.sort_unstable();
        names.dedup();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!((names.len(), letters.len()), counts);
    }
}
