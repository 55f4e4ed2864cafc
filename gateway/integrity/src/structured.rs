//! Structured field values, read strictly and written canonically.
//!
//! Standard: RFC 9651. The grammar is the library's; this file adds what a signature needs: no key
//! stands twice (the RFC lets the last one win, and not every parser follows), there are limits,
//! and byte sequences whose spelling matters are canonical base64. What it does not do: it knows no
//! field and gives nothing a meaning.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ListVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, ItemSerializer, KeyRef, Parser};

use crate::error::Fault;
use crate::limits::{ITEMS, KEYS};

/// A value without parameters.
pub(crate) type Bare<'a> = BareItemFromInput<'a>;

/// Parameters in their order; no key stands twice.
pub(crate) type Parameters<'a> = Vec<(&'a KeyRef, Bare<'a>)>;

/// Members in their order; no key stands twice.
pub(crate) type Dictionary<'a> = Vec<(&'a KeyRef, Member<'a>)>;

/// A value with its parameters (RFC 9651 3.3).
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) value: Bare<'a>,
    pub(crate) parameters: Parameters<'a>,
}

/// An inner list with its parameters (RFC 9651 3.1.1).
#[derive(Debug, Default)]
pub(crate) struct InnerList<'a> {
    pub(crate) items: Vec<Item<'a>>,
    pub(crate) parameters: Parameters<'a>,
}

/// A member of a list or dictionary.
#[derive(Debug)]
pub(crate) enum Member<'a> {
    Item(Item<'a>),
    InnerList(InnerList<'a>),
}

/// The lines of a field as one text (RFC 9110 5.3), borrowed where there is one line, and `None`
/// where there is none. More than `limit` bytes are refused before anything is copied.
pub(crate) fn joined<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    limit: usize,
) -> Result<Option<Cow<'h, [u8]>>, TooLarge> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let mut length = first.len();
    let mut text = Cow::Borrowed(first.as_bytes());
    for line in lines {
        length += 2 + line.len();
        if length > limit {
            break;
        }
        let text = text.to_mut();
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    if length > limit {
        return Err(TooLarge);
    }
    Ok(Some(text))
}

/// A field is longer than the limit that its reader gave.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Reads a dictionary (RFC 9651 4.2.2).
pub(crate) fn dictionary(text: &[u8]) -> Result<Dictionary<'_>, Fault> {
    let mut state = State::default();
    let parsed = Parser::new(text).parse_dictionary_with_visitor(Members(&mut state));
    state.end(&parsed)?;
    Ok(state.keyed)
}

/// Reads a list (RFC 9651 4.2.1).
pub(crate) fn list(text: &[u8]) -> Result<Vec<Member<'_>>, Fault> {
    let mut state = State::default();
    let parsed = Parser::new(text).parse_list_with_visitor(Members(&mut state));
    state.end(&parsed)?;
    Ok(state.listed)
}

/// Reads an item (RFC 9651 4.2.3).
pub(crate) fn item(text: &[u8]) -> Result<Item<'_>, Fault> {
    let mut state = State::default();
    let mut place = None;
    let parsed = Parser::new(text).parse_item_with_visitor(Place {
        put: |item| place = Some(item),
        fault: &mut state.fault,
    });
    state.end(&parsed)?;
    place.ok_or(Fault::Syntax)
}

/// Reads a dictionary whose values are all byte sequences without parameters, in canonical base64
/// (RFC 4648 3.5): one value has one spelling, so that no bit of it can be turned unnoticed.
pub(crate) fn byte_members(text: &[u8]) -> Result<Vec<(&str, Vec<u8>)>, Fault> {
    let members = dictionary(text)?;
    let mut read = Vec::with_capacity(members.len());
    // Neither keys nor base64 hold a comma, so the parts are the members.
    for ((key, member), part) in members.into_iter().zip(text.split(|byte| *byte == b',')) {
        let Member::Item(Item {
            value: Bare::ByteSequence(bytes),
            parameters,
        }) = member
        else {
            return Err(Fault::Type);
        };
        if !parameters.is_empty() {
            return Err(Fault::Type);
        }
        let spelling = part
            .trim_ascii()
            .strip_prefix(key.as_str().as_bytes())
            .and_then(|part| part.strip_prefix(b"=:"))
            .and_then(|part| part.strip_suffix(b":"))
            .ok_or(Fault::Syntax)?;
        if STANDARD.decode(spelling).as_deref() != Ok(&bytes) {
            return Err(Fault::Base64);
        }
        read.push((key.as_str(), bytes));
    }
    Ok(read)
}

/// Writes a dictionary canonically (RFC 9651 4.1.2); one without members is the empty text.
pub(crate) fn write_dictionary(out: &mut String, members: &Dictionary<'_>) {
    for (index, (key, member)) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(key.as_str());
        match member {
            Member::Item(item) if item.value.as_boolean() == Some(true) => {
                write_parameters(out, &item.parameters);
            }
            member => {
                out.push('=');
                write_member(out, member);
            }
        }
    }
}

/// Writes a list canonically (RFC 9651 4.1.1).
pub(crate) fn write_list(out: &mut String, members: &[Member<'_>]) {
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_member(out, member);
    }
}

/// Writes one member of a dictionary without its key, or of a list (RFC 9651 4.1.1.1, 4.1.3).
pub(crate) fn write_member(out: &mut String, member: &Member<'_>) {
    match member {
        Member::Item(item) => write_item(out, item),
        Member::InnerList(inner) => {
            out.push('(');
            for (index, item) in inner.items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                write_item(out, item);
            }
            out.push(')');
            write_parameters(out, &inner.parameters);
        }
    }
}

/// Writes an item canonically (RFC 9651 4.1.3).
pub(crate) fn write_item(out: &mut String, item: &Item<'_>) {
    write_bare(out, &item.value);
    write_parameters(out, &item.parameters);
}

/// Writes a value canonically (RFC 9651 4.1.3.1).
pub(crate) fn write_bare(out: &mut String, value: &Bare<'_>) {
    let _ = ItemSerializer::with_buffer(out).bare_item(value);
}

/// Writes parameters canonically (RFC 9651 4.1.1.2).
pub(crate) fn write_parameters(out: &mut String, parameters: &Parameters<'_>) {
    for (key, value) in parameters {
        out.push(';');
        out.push_str(key.as_str());
        if value.as_boolean() != Some(true) {
            out.push('=');
            write_bare(out, value);
        }
    }
}

/// What has been read so far, and why reading stopped where it was not the grammar.
#[derive(Default)]
struct State<'a> {
    keyed: Dictionary<'a>,
    listed: Vec<Member<'a>>,
    fault: Option<Fault>,
}

impl State<'_> {
    fn end<T>(&mut self, parsed: &Result<T, sfv::Error>) -> Result<(), Fault> {
        match parsed {
            Ok(_) => Ok(()),
            Err(_) => Err(self.fault.take().unwrap_or(Fault::Syntax)),
        }
    }
}

/// Ends the library's reading; the reason stands in the state.
#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stop {}

fn stop(place: &mut Option<Fault>, fault: Fault) -> Stop {
    *place = Some(fault);
    Stop
}

struct Members<'s, 'a>(&'s mut State<'a>);

impl<'a> DictionaryVisitor<'a> for Members<'_, 'a> {
    type Out = ();
    type Error = Stop;

    fn entry(&mut self, key: &'a KeyRef) -> Result<impl EntryVisitor<'a>, Stop> {
        let State { keyed, fault, .. } = &mut *self.0;
        if keyed.len() == KEYS {
            return Err(stop(fault, Fault::TooMany { limit: KEYS }));
        }
        if keyed.iter().any(|(known, _)| *known == key) {
            return Err(stop(fault, Fault::Duplicate));
        }
        Ok(Entry {
            into: Into::Dictionary(keyed, key),
            fault,
        })
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

impl<'a> ListVisitor<'a> for Members<'_, 'a> {
    type Out = ();
    type Error = Stop;

    fn entry(&mut self) -> Result<impl EntryVisitor<'a>, Stop> {
        let State { listed, fault, .. } = &mut *self.0;
        if listed.len() == ITEMS {
            return Err(stop(fault, Fault::TooMany { limit: ITEMS }));
        }
        Ok(Entry {
            into: Into::List(listed),
            fault,
        })
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

/// Where a member goes once it has been read.
enum Into<'s, 'a> {
    Dictionary(&'s mut Dictionary<'a>, &'a KeyRef),
    List(&'s mut Vec<Member<'a>>),
}

impl<'a> Into<'_, 'a> {
    fn put(self, member: Member<'a>) {
        match self {
            Into::Dictionary(members, key) => members.push((key, member)),
            Into::List(members) => members.push(member),
        }
    }
}

struct Entry<'s, 'a> {
    into: Into<'s, 'a>,
    fault: &'s mut Option<Fault>,
}

impl<'a> EntryVisitor<'a> for Entry<'_, 'a> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'a>, Stop> {
        Ok(Place {
            put: |item| self.into.put(Member::Item(item)),
            fault: self.fault,
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'a>, Stop> {
        Ok(Inner {
            items: Vec::new(),
            into: self.into,
            fault: self.fault,
        })
    }
}

struct Inner<'s, 'a> {
    items: Vec<Item<'a>>,
    into: Into<'s, 'a>,
    fault: &'s mut Option<Fault>,
}

impl<'a> InnerListVisitor<'a> for Inner<'_, 'a> {
    type Error = Stop;

    fn item(&mut self) -> Result<impl ItemVisitor<'a>, Stop> {
        if self.items.len() == ITEMS {
            return Err(stop(self.fault, Fault::TooMany { limit: ITEMS }));
        }
        let items = &mut self.items;
        Ok(Place {
            put: |item| items.push(item),
            fault: self.fault,
        })
    }

    fn finish(self) -> Result<impl ParameterVisitor<'a>, Stop> {
        let Inner { items, into, fault } = self;
        Ok(Tail {
            parameters: Vec::new(),
            put: move |parameters| into.put(Member::InnerList(InnerList { items, parameters })),
            fault,
        })
    }
}

/// Where an item goes once it has been read.
struct Place<'s, P> {
    put: P,
    fault: &'s mut Option<Fault>,
}

impl<'a, P: FnOnce(Item<'a>)> ItemVisitor<'a> for Place<'_, P> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, value: Bare<'a>) -> Result<impl ParameterVisitor<'a, Out = ()>, Stop> {
        let put = self.put;
        Ok(Tail {
            parameters: Vec::new(),
            put: move |parameters| put(Item { value, parameters }),
            fault: self.fault,
        })
    }
}

/// The parameters behind an item or inner list, which end it.
struct Tail<'s, 'a, P> {
    parameters: Parameters<'a>,
    put: P,
    fault: &'s mut Option<Fault>,
}

impl<'a, P: FnOnce(Parameters<'a>)> ParameterVisitor<'a> for Tail<'_, 'a, P> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'a KeyRef, value: Bare<'a>) -> Result<(), Stop> {
        if self.parameters.len() == KEYS {
            return Err(stop(self.fault, Fault::TooMany { limit: KEYS }));
        }
        if self.parameters.iter().any(|(known, _)| *known == key) {
            return Err(stop(self.fault, Fault::Duplicate));
        }
        self.parameters.push((key, value));
        Ok(())
    }

    fn finish(self) -> Result<(), Stop> {
        (self.put)(self.parameters);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
