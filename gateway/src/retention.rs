//! Which records are kept how long: the classes of a configuration, as the audit log takes them.
//!
//! 45 CFR 164.316(b)(2)(i): six years, where the configuration does not say more. Not here: what comes of
//! it (`audit::keeping`, `audit::destroy`).

use audit::keeping::Classes;
use audit::seal::epoch::Class;
use config::{ClassName, Config};

/// The classes of a configuration, and the routes that name one.
#[must_use]
pub fn classes(config: &Config) -> Classes {
    const JUDGED: &str = "resolving refuses other names, periods and numbers of classes";
    let class = |name: &ClassName| -> Class { name.as_str().parse().expect(JUDGED) };
    let years = config.audit.classes.iter().map(|(name, table)| {
        let years = u16::try_from(table.keep_years.value.get()).expect(JUDGED);
        (class(name), years)
    });
    let routes = config.routes.iter().filter_map(|route| {
        let named = route.class.as_ref()?;
        Some((route.name.value.as_str().into(), class(&named.value)))
    });
    Classes::new(years, routes).expect(JUDGED)
}
