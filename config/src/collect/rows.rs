//! The macro that makes a table, its reader and its schema out of one row a key.

/// Makes tables out of one row a key:
///
/// ```text
/// /// What the key is for.
/// key: Type => required("how to write it");      Option<Placed<Type>>, None is already noted
/// key: Type => or_default(value);                Placed<Type>
/// key: Type => optional;                         Optional<Type>
/// key: Type => inner;                            Option<Type>, a table, empty when absent
/// key: Type => ..., within low, high;            the same, from low to high
/// ```
macro_rules! table {
    ($(
        $(#[doc = $about:literal])+
        $name:ident {$(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty => $absence:ident $(($argument:expr))?
                $(, within $low:expr, $high:expr)?;
        )+}
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Debug)]
        #[allow(clippy::struct_field_names, reason = "a key is named for who writes the file")]
        pub(crate) struct $name {
            /// Where the table stands.
            #[allow(dead_code, reason = "not every table is pointed at")]
            pub(crate) place: $crate::place::Place,
            $($(#[doc = $doc])+ pub(crate) $key: table!(@type $absence $type),)+
        }

        impl $crate::collect::Read for $name {
            fn read(
                value: $crate::collect::Value<'_>,
                report: &mut $crate::error::Report,
            ) -> Option<Self> {
                let table = value.into_table(&[$(stringify!($key)),+], report)?;
                Some(Self {
                    $($key: table!(
                        @read table, report, stringify!($key), $absence $(($argument))?,
                        table!(@within $($low, $high)?)
                    ),)+
                    place: table.place().clone(),
                })
            }

            fn schema() -> serde_json::Value {
                let about = $crate::schema::paragraph(&[$($about),+]);
                $crate::schema::object(&about, vec![$($crate::schema::Property {
                    key: stringify!($key),
                    about: $crate::schema::paragraph(&[$($doc),+]),
                    schema: <$type as $crate::collect::Read>::schema(),
                    absence: table!(@absence $absence $type $(, $argument)?),
                    bounds: table!(@bounds $($low, $high)?),
                }),+])
            }

            fn absence() -> $crate::schema::Absence {
                let absences = [$(table!(@absence $absence $type $(, $argument)?)),+];
                let missing = |absence| matches!(absence, $crate::schema::Absence::Missing);
                if absences.into_iter().any(missing) {
                    $crate::schema::Absence::Missing
                } else {
                    $crate::schema::Absence::Own
                }
            }
        }
    )+};

    (@type required $type:ty) => { Option<$crate::place::Placed<$type>> };
    (@type or_default $type:ty) => { $crate::place::Placed<$type> };
    (@type optional $type:ty) => { $crate::collect::Optional<$type> };
    (@type inner $type:ty) => { Option<$type> };

    (@read $table:ident, $report:ident, $key:expr, inner, $within:expr) => {
        $table.inner($key, $report)
    };
    (@read $table:ident, $report:ident, $key:expr, optional, $within:expr) => {
        $table.optional($key, $within, $report)
    };
    (@read $table:ident, $report:ident, $key:expr, $absence:ident($argument:expr), $within:expr) => {
        $table.$absence($key, $argument, $within, $report)
    };

    (@within) => { &$crate::collect::Anything };
    (@within $low:expr, $high:expr) => { &($low, $high) };

    (@bounds) => { None };
    (@bounds $low:expr, $high:expr) => {
        Some(($crate::word::Shown::shown(&$low), $crate::word::Shown::shown(&$high)))
    };

    (@absence required $type:ty, $eg:expr) => { $crate::schema::Absence::Missing };
    (@absence optional $type:ty) => { $crate::schema::Absence::Own };
    (@absence inner $type:ty) => { <$type as $crate::collect::Read>::absence() };
    (@absence or_default $type:ty, $default:expr) => {{
        let default: $type = $default;
        $crate::schema::Absence::Default($crate::word::Shown::shown(&default))
    }};
}
pub(crate) use table;
