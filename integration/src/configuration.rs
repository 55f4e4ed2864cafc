//! The operator's file, made of pieces of TOML: tables are merged, routes by their name.

use toml::{Table, Value};

use crate::wait::OrFail;

/// A certificate may be left out, and one route is for everybody.
pub const OPEN: &str = r#"
[listeners.devices.clients]
certificates = "optional"
rationale = "some people have no certificate"
[[routes]]
name = "open"
listeners = ["devices"]
hosts = ["api.test"]
path = "/open"
methods = ["GET"]
allow = ["anyone"]
upstream = "origin"
rationale = "what everybody may know"
"#;

/// A configuration that grows.
#[derive(Debug, Clone)]
pub struct Configuration {
    table: Table,
}

impl Configuration {
    /// This text.
    #[must_use]
    #[track_caller]
    pub fn new(text: &str) -> Configuration {
        Configuration {
            table: text.parse().or_fail("read the TOML of a test"),
        }
    }

    /// With another text laid over it: what is a table in both is merged, a route of the same name is
    /// merged, another route is added, anything else is replaced.
    #[must_use]
    #[track_caller]
    pub fn with(mut self, text: &str) -> Configuration {
        let over: Table = text.parse().or_fail("read the TOML of a test");
        merge(&mut self.table, over);
        self
    }

    /// Without the value at this place, `table.key`.
    #[must_use]
    pub fn without(mut self, place: &str) -> Configuration {
        let (tables, key) = place.rsplit_once('.').unwrap_or(("", place));
        let mut table = &mut self.table;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            table = table
                .get_mut(name)
                .and_then(Value::as_table_mut)
                .or_fail(&format!("find {place}"));
        }
        table.remove(key).or_fail(&format!("find {place}"));
        self
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        self.table.to_string()
    }
}

fn merge(into: &mut Table, over: Table) {
    for (key, value) in over {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(over)) => merge(into, over),
            (Some(Value::Array(into)), Value::Array(over)) if key == "routes" => {
                for route in over {
                    add_route(into, route);
                }
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn add_route(routes: &mut Vec<Value>, route: Value) {
    let known = routes
        .iter_mut()
        .find(|known| known.get("name") == route.get("name"));
    match (known, route) {
        (Some(Value::Table(known)), Value::Table(route)) => merge(known, route),
        (_, route) => routes.push(route),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_of_the_same_name_is_merged_and_another_is_added() {
        let text = Configuration::new("[[routes]]\nname = \"a\"\npath = \"/\"")
            .with("[[routes]]\nname = \"a\"\nfhir = true\n[[routes]]\nname = \"b\"")
            .with("[audit]\ndirectory = \"x\"")
            .with("[audit]\nmin_free = \"1MiB\"")
            .without("audit.directory")
            .text();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["routes"].as_array().unwrap().len(), 2);
        assert_eq!(table["routes"][0]["path"].as_str(), Some("/"));
        assert_eq!(table["routes"][0]["fhir"].as_bool(), Some(true));
        assert_eq!(table["audit"]["min_free"].as_str(), Some("1MiB"));
        assert!(table["audit"].get("directory").is_none());
    }
}
