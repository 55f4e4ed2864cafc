//! Resources that somebody could have written, and JSON that says the same in another way.

use serde_json::{Map, Value, json};

/// A source of choices that a number determines (xorshift64*).
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Choices {
        Choices(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn once_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        let at = self.below(list.len() as u64);
        list[usize::try_from(at).expect("a place")]
    }
}

/// A document: mostly a Bundle of resources.
pub(crate) fn document(choices: &mut Choices) -> Value {
    if choices.once_in(4) {
        return resource(choices, true);
    }
    let entries: Vec<_> = (0..choices.below(6))
        .map(|_| {
            let mut entry = json!({ "resource": resource(choices, true) });
            if choices.once_in(2) {
                entry["fullUrl"] = uuid(choices).into();
            }
            if choices.once_in(3) {
                entry["search"] = json!({ "mode": "match" });
            }
            entry
        })
        .collect();
    json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries })
}

fn resource(choices: &mut Choices, may_contain: bool) -> Value {
    let mut resource = match choices.below(5) {
        0 | 1 => patient(choices),
        2 => json!({ "resourceType": "Practitioner", "identifier": [identifier(choices)] }),
        3 => json!({ "resourceType": "Task", "for": reference(choices) }),
        _ => {
            let mut observation = json!({
                "resourceType": "Observation",
                "code": { "coding": [{ "system": "http://loinc.org", "code": "1-2" }] },
                "valueQuantity": { "value": -1.5e-3, "system": "s" },
                "identifier": [identifier(choices)],
            });
            if !choices.once_in(4) {
                observation["subject"] = reference(choices);
            }
            if choices.once_in(2) {
                observation["performer"] = json!([reference(choices), reference(choices)]);
            }
            observation
        }
    };
    if choices.once_in(2) {
        resource["id"] = choices.pick(&["1", "2", "p1", "a-b.c"]).into();
    }
    if choices.once_in(5) {
        resource["extension"] = json!([
            { "url": "u", "valueReference": reference(choices) },
            { "url": "v", "extension": [{ "valueIdentifier": identifier(choices) }] },
        ]);
    }
    if may_contain && choices.once_in(4) {
        resource["contained"] = json!([self::resource(choices, false)]);
    }
    resource
}

fn patient(choices: &mut Choices) -> Value {
    let mut patient = json!({ "resourceType": "Patient", "active": true });
    if !choices.once_in(3) {
        let identifiers: Vec<_> = (0..choices.below(3)).map(|_| identifier(choices)).collect();
        patient["identifier"] = identifiers.into();
    }
    if choices.once_in(4) {
        patient["link"] = json!([{ "other": reference(choices), "type": "seealso" }]);
    }
    patient
}

fn identifier(choices: &mut Choices) -> Value {
    let mut identifier = json!({ "use": "usual" });
    if !choices.once_in(4) {
        identifier["system"] = choices.pick(&["s", "urn:oid:1.2", "\u{e4}"]).into();
    }
    if !choices.once_in(5) {
        identifier["value"] = choices.pick(&["1", "2", "x \"y\"", "\u{1f600}"]).into();
    }
    if choices.once_in(6) {
        identifier["assigner"] = json!({ "identifier": { "value": "assigner" } });
    }
    identifier
}

fn reference(choices: &mut Choices) -> Value {
    let mut reference = json!({ "display": "d" });
    if !choices.once_in(4) {
        let text = match choices.below(12) {
            0 => uuid(choices),
            1 => "#p1".into(),
            2 => "https://ehr.example/r4/Patient/3".into(),
            3 => "Patient/4/_history/2".into(),
            4 => "Practitioner/1".into(),
            5 => "Group/1".into(),
            6 => choices
                .pick(&["", "nonsense", "Patient/", "Patient/a b"])
                .into(),
            _ => format!("Patient/{}", choices.below(4)),
        };
        reference["reference"] = text.into();
    }
    if choices.once_in(4) {
        reference["identifier"] = identifier(choices);
    }
    if choices.once_in(3) {
        reference["type"] = choices.pick(&["Patient", "Practitioner", "Group"]).into();
    }
    reference
}

fn uuid(choices: &mut Choices) -> String {
    let number = choices.below(4);
    format!("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e30094500{number}")
}

/// Writes JSON with keys in any order, any character escaped, and blanks anywhere.
pub(crate) fn write(value: &Value, choices: &mut Choices) -> String {
    let mut out = String::new();
    write_to(&mut out, value, choices);
    out
}

fn write_to(out: &mut String, value: &Value, choices: &mut Choices) {
    blank(out, choices);
    match value {
        Value::Object(map) => object(out, map, choices),
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_to(out, value, choices);
            }
            blank(out, choices);
            out.push(']');
        }
        Value::String(text) => string(out, text, choices),
        value => out.push_str(&value.to_string()),
    }
    blank(out, choices);
}

fn object(out: &mut String, map: &Map<String, Value>, choices: &mut Choices) {
    let mut members: Vec<_> = map.iter().collect();
    for last in (1..members.len()).rev() {
        let other = usize::try_from(choices.below(last as u64 + 1)).expect("a place");
        members.swap(last, other);
    }
    out.push('{');
    for (at, (key, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        blank(out, choices);
        string(out, key, choices);
        blank(out, choices);
        out.push(':');
        write_to(out, value, choices);
    }
    blank(out, choices);
    out.push('}');
}

fn string(out: &mut String, text: &str, choices: &mut Choices) {
    out.push('"');
    for character in text.chars() {
        if choices.once_in(8) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let digits = format!("\\u{unit:04x}");
                out.push_str(&digits);
            }
        } else if matches!(character, '"' | '\\') || (character == '/' && choices.once_in(4)) {
            out.push('\\');
            out.push(character);
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

fn blank(out: &mut String, choices: &mut Choices) {
    if choices.once_in(6) {
        out.push_str(choices.pick(&[" ", "\n", "\r\n\t", "         "]));
    }
}
