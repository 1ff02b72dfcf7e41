//! Values as Terraform sees them: typed trees in which any part may be null or unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of a value, as a schema implies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// An arbitrary-precision decimal.
    Number,
    /// Unicode text.
    String,
    /// Ordered elements of one type.
    List(Box<Type>),
    /// Unordered, distinct elements of one type.
    Set(Box<Type>),
    /// Elements of one type by name.
    Map(Box<Type>),
    /// A fixed set of named members.
    Object(BTreeMap<String, Type>),
}

/// A number, in the narrowest of the forms in which cores send one.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// Every whole number of 64 bits.
    Int(i64),
    /// A fraction that a double holds exactly as it was sent. Never NaN or infinite.
    Float(f64),
    /// What fits neither, as decimal text.
    Text(Arc<str>),
}

impl Number {
    /// Reads decimal text such as `5`, `5.00`, `5e0` or `12345678901234567890.5`. `None` if it is no number.
    pub fn parse(text: &str) -> Option<Number> {
        if let Ok(int) = text.parse::<i64>() {
            return Some(Number::Int(int));
        }
        let mut digits = text.strip_prefix(['-', '+']).unwrap_or(text).chars();
        if !digits
            .next()
            .is_some_and(|c| c.is_ascii_digit() || c == '.')
        {
            return None; // `inf` and `NaN` are no numbers to Terraform.
        }
        let float = text.parse::<f64>().ok()?;
        match Number::from_float(float) {
            // More digits than a double keeps: the text is the only exact form.
            Some(number) if significant_digits(text) <= 15 => Some(number),
            _ => Some(Number::Text(text.into())),
        }
    }

    /// A double as a number; `None` for NaN and the infinities, which crash or confuse cores.
    pub fn from_float(float: f64) -> Option<Number> {
        if !float.is_finite() {
            return None;
        }
        let int = float as i64;
        if int as f64 == float && float.abs() < 9.0e15 {
            return Some(Number::Int(int));
        }
        Some(Number::Float(float))
    }

    /// The number as an integer, if it is one of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Number::Int(int) => Some(*int),
            Number::Float(_) | Number::Text(_) => None,
        }
    }
}

fn significant_digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa
        .chars()
        .filter(char::is_ascii_digit)
        .skip_while(|c| *c == '0')
        .count()
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(int) => int.fmt(f),
            Number::Float(float) => float.fmt(f),
            Number::Text(text) => f.write_str(text),
        }
    }
}

/// A value of any type. Lists, sets and tuples are `List`; maps and objects are `Map`.
///
/// Text is shared, so that planning and applying a large script does not copy it.
#[derive(Clone, PartialEq, Default)]
pub enum Value {
    /// Not known before apply.
    Unknown,
    /// Absent.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(Arc<str>),
    /// Elements by position.
    List(Vec<Value>),
    /// Elements or members by name.
    Map(BTreeMap<String, Value>),
}

/// Prints the shape of a value; text, which may be a script or a secret, only in this crate's own tests.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unknown => f.write_str("unknown"),
            Value::Null => f.write_str("null"),
            Value::Bool(bool) => bool.fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::String(text) if cfg!(test) => fmt::Debug::fmt(text, f),
            Value::String(text) => write!(f, "text of {} bytes", text.len()),
            Value::List(list) => f.debug_list().entries(list).finish(),
            Value::Map(map) => f.debug_map().entries(map).finish(),
        }
    }
}

static NULL: Value = Value::Null;

impl Value {
    /// An object or map from its members.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// The member `name`; null where there is none, unknown where the whole is unknown.
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Value::Map(map) => map.get(name).unwrap_or(&NULL),
            Value::Unknown => self,
            _ => &NULL,
        }
    }

    /// Replaces the member `name`. Does nothing to a value that has no members.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if let Value::Map(map) = self {
            map.insert(name.to_owned(), value.into());
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether this itself, rather than something in it, is unknown.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Value::Unknown)
    }

    /// Whether neither this nor anything in it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Value::Unknown => false,
            Value::List(list) => list.iter().all(Value::is_wholly_known),
            Value::Map(map) => map.values().all(Value::is_wholly_known),
            _ => true,
        }
    }

    /// The text, if this is known text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if this is a known one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The elements or members by name, if this is a known map or object.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The elements, if this is a known list or set.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// This as optional text.
    pub fn text(&self) -> Attr<Arc<str>> {
        match self {
            Value::Unknown => Attr::Unknown,
            Value::String(text) => Attr::Known(text.clone()),
            _ => Attr::Null,
        }
    }

    /// This as an optional boolean.
    pub fn bool(&self) -> Attr<bool> {
        match self {
            Value::Unknown => Attr::Unknown,
            Value::Bool(bool) => Attr::Known(*bool),
            _ => Attr::Null,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Value {
        Value::String(text)
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Value {
        Value::Bool(bool)
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Value {
        Value::Number(Number::Int(int))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Value {
        option.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Value {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Attr<T>> for Value {
    fn from(attr: Attr<T>) -> Value {
        match attr {
            Attr::Unknown => Value::Unknown,
            Attr::Null => Value::Null,
            Attr::Known(value) => value.into(),
        }
    }
}

/// One attribute of a model: unknown, null, or a value of its own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Attr<T> {
    /// Not known before apply.
    Unknown,
    /// Not set.
    #[default]
    Null,
    /// Set.
    Known(T),
}

impl<T> Attr<T> {
    /// The value, if it is known and not null.
    pub fn known(&self) -> Option<&T> {
        match self {
            Attr::Known(value) => Some(value),
            Attr::Unknown | Attr::Null => None,
        }
    }

    /// Whether it is unknown.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Attr::Unknown)
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Attr::Null)
    }

    /// The same with another value in it.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Attr<U> {
        match self {
            Attr::Unknown => Attr::Unknown,
            Attr::Null => Attr::Null,
            Attr::Known(value) => Attr::Known(f(value)),
        }
    }

    /// This, or what `other` gives if this is null.
    pub fn or(self, other: impl FnOnce() -> Attr<T>) -> Attr<T> {
        match self {
            Attr::Null => other(),
            _ => self,
        }
    }
}

impl<T> From<Option<T>> for Attr<T> {
    fn from(option: Option<T>) -> Attr<T> {
        option.map_or(Attr::Null, Attr::Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn number(text: &str, expect: Option<Number>) {
        assert_eq!(Number::parse(text), expect, "{text}");
    }

    #[test]
    fn numbers_take_the_narrowest_exact_form() {
        number("5", Some(Number::Int(5)));
        number("5.00", Some(Number::Int(5)));
        number("5e0", Some(Number::Int(5)));
        number("-9223372036854775808", Some(Number::Int(i64::MIN)));
        number("0.25", Some(Number::Float(0.25)));
        number(
            "12345678901234567890.5",
            Some(Number::Text("12345678901234567890.5".into())),
        );
        number(
            "18446744073709551616",
            Some(Number::Text("18446744073709551616".into())),
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "NaN", "inf", "-inf", "infinity", "five", "1_000"] {
            number(text, None);
        }
        assert_eq!(Number::from_float(f64::NAN), None);
        assert_eq!(Number::from_float(f64::INFINITY), None);
    }

    #[test]
    fn members_of_an_unknown_object_are_unknown() {
        assert!(Value::Unknown.get("name").is_unknown());
        assert!(Value::Null.get("name").is_null());
        assert!(!Value::object([("a", Value::from(vec![Value::Unknown]))]).is_wholly_known());
    }
}
