//! Values as MessagePack, guided by their type as cores do it.
//!
//! What arrives is not trusted: recursion follows the type, lengths are checked before anything is allocated.

use std::collections::BTreeMap;

use rmp::Marker;

use crate::tf::{Number, Type, Value};

/// How many values one message may hold. Far above any configuration; keeps hostile bytes from filling memory.
const MAX_VALUES: usize = 1 << 20;

/// The extension that says "unknown", in the form in which cores write it.
const UNKNOWN: [u8; 3] = [0xd4, 0, 0];

/// Why bytes are no value of the expected type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the value ends early")]
    Truncated,
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    #[error("the value has more than {MAX_VALUES} parts")]
    TooLarge,
    #[error("expected {expected}, found MessagePack marker {found:#04x}")]
    Unexpected { expected: &'static str, found: u8 },
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("not a number")]
    NotANumber,
    #[error("unexpected attribute `{0}`")]
    UnexpectedAttribute(String),
    #[error("missing attribute `{0}`")]
    MissingAttribute(String),
    #[error("`{0}` occurs twice")]
    Duplicate(String),
}

/// Why a value cannot be sent. Always a mistake of this provider.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("expected {expected} at `{path}`")]
    Mismatch {
        expected: &'static str,
        path: String,
    },
    #[error("`{path}` is not an attribute of the schema")]
    UnexpectedAttribute { path: String },
}

/// Reads one value of a type.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, DecodeError> {
    let mut decoder = Decoder {
        rest: bytes,
        budget: MAX_VALUES,
    };
    let value = decoder.value(ty)?;
    match decoder.rest.len() {
        0 => Ok(value),
        trailing => Err(DecodeError::Trailing(trailing)),
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
    budget: usize,
}

impl<'a> Decoder<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes
            .try_into()
            .expect("take returns as many bytes as asked"))
    }

    /// A big-endian length of `N` bytes.
    fn length<const N: usize>(&mut self) -> Result<usize, DecodeError> {
        Ok(self
            .array::<N>()?
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn marker(&mut self) -> Result<Marker, DecodeError> {
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    fn value(&mut self, ty: &Type) -> Result<Value, DecodeError> {
        self.budget = self.budget.checked_sub(1).ok_or(DecodeError::TooLarge)?;
        let marker = self.marker()?;
        if marker == Marker::Null {
            return Ok(Value::Null);
        }
        if let Some(length) = self.extension(marker)? {
            // Any extension means unknown; cores may add what they know of the value, which is only advice.
            self.take(length)?;
            return Ok(Value::Unknown);
        }
        match ty {
            Type::Bool => match marker {
                Marker::True => Ok(Value::Bool(true)),
                Marker::False => Ok(Value::Bool(false)),
                _ => Err(unexpected("a boolean", marker)),
            },
            Type::Number => self.number(marker).map(Value::Number),
            Type::String => Ok(Value::String(self.text(marker, "text")?.into())),
            Type::List(element) | Type::Set(element) => self.list(marker, element),
            Type::Map(element) => self.map(marker, element),
            Type::Object(members) => self.object(marker, members),
        }
    }

    /// The length of what follows the type byte of an extension; `None` if this is none.
    fn extension(&mut self, marker: Marker) -> Result<Option<usize>, DecodeError> {
        let length = match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.length::<1>()?,
            Marker::Ext16 => self.length::<2>()?,
            Marker::Ext32 => self.length::<4>()?,
            _ => return Ok(None),
        };
        self.take(1)?;
        Ok(Some(length))
    }

    fn number(&mut self, marker: Marker) -> Result<Number, DecodeError> {
        let int = match marker {
            Marker::FixPos(int) => int.into(),
            Marker::FixNeg(int) => int.into(),
            Marker::U8 => self.array::<1>()?[0].into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            Marker::U64 => {
                let int = u64::from_be_bytes(self.array()?);
                return match i64::try_from(int) {
                    Ok(int) => Ok(Number::Int(int)),
                    Err(_) => Ok(Number::Text(int.to_string().into())),
                };
            }
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            Marker::I64 => i64::from_be_bytes(self.array()?),
            Marker::F32 => {
                let float = f32::from_be_bytes(self.array()?);
                return Number::from_float(float.into()).ok_or(DecodeError::NotANumber);
            }
            Marker::F64 => {
                let float = f64::from_be_bytes(self.array()?);
                return Number::from_float(float).ok_or(DecodeError::NotANumber);
            }
            _ => {
                let text = self.text(marker, "a number")?;
                return Number::parse(text).ok_or(DecodeError::NotANumber);
            }
        };
        Ok(Number::Int(int))
    }

    fn text(&mut self, marker: Marker, expected: &'static str) -> Result<&'a str, DecodeError> {
        let length = match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 | Marker::Bin8 => self.length::<1>()?,
            Marker::Str16 | Marker::Bin16 => self.length::<2>()?,
            Marker::Str32 | Marker::Bin32 => self.length::<4>()?,
            _ => return Err(unexpected(expected, marker)),
        };
        str::from_utf8(self.take(length)?).map_err(|_| DecodeError::NotUtf8)
    }

    fn list(&mut self, marker: Marker, element: &Type) -> Result<Value, DecodeError> {
        let length = match marker {
            Marker::FixArray(length) => length.into(),
            Marker::Array16 => self.length::<2>()?,
            Marker::Array32 => self.length::<4>()?,
            _ => return Err(unexpected("a list", marker)),
        };
        self.fits(length)?;
        let elements: Result<Vec<Value>, _> = (0..length).map(|_| self.value(element)).collect();
        Ok(Value::List(elements?))
    }

    /// Every element takes at least a byte, so that a length beyond the rest is a lie.
    fn fits(&self, length: usize) -> Result<(), DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        if length > self.budget {
            return Err(DecodeError::TooLarge);
        }
        Ok(())
    }

    fn map_length(&mut self, marker: Marker, expected: &'static str) -> Result<usize, DecodeError> {
        let length = match marker {
            Marker::FixMap(length) => length.into(),
            Marker::Map16 => self.length::<2>()?,
            Marker::Map32 => self.length::<4>()?,
            _ => return Err(unexpected(expected, marker)),
        };
        self.fits(length)?;
        Ok(length)
    }

    fn key(&mut self) -> Result<&'a str, DecodeError> {
        let marker = self.marker()?;
        self.text(marker, "a key")
    }

    fn map(&mut self, marker: Marker, element: &Type) -> Result<Value, DecodeError> {
        let mut map = BTreeMap::new();
        for _ in 0..self.map_length(marker, "a map")? {
            let key = self.key()?.to_owned();
            let value = self.value(element)?;
            if let Some(_twice) = map.insert(key.clone(), value) {
                return Err(DecodeError::Duplicate(key));
            }
        }
        Ok(Value::Map(map))
    }

    fn object(
        &mut self,
        marker: Marker,
        members: &BTreeMap<String, Type>,
    ) -> Result<Value, DecodeError> {
        let mut object = BTreeMap::new();
        for _ in 0..self.map_length(marker, "an object")? {
            let key = self.key()?;
            let Some((name, ty)) = members.get_key_value(key) else {
                return Err(DecodeError::UnexpectedAttribute(key.to_owned()));
            };
            let value = self.value(ty)?;
            if let Some(_twice) = object.insert(name.clone(), value) {
                return Err(DecodeError::Duplicate(name.clone()));
            }
        }
        match members.keys().find(|name| !object.contains_key(*name)) {
            Some(missing) => Err(DecodeError::MissingAttribute(missing.clone())),
            None => Ok(Value::Map(object)),
        }
    }
}

fn unexpected(expected: &'static str, found: Marker) -> DecodeError {
    DecodeError::Unexpected {
        expected,
        found: found.to_u8(),
    }
}

/// Writes one value of a type. Members that an object lacks are null.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(text_size(value) + 64);
    write(&mut bytes, value, ty).map_err(|mistake| match mistake.problem {
        Problem::Expected(expected) => EncodeError::Mismatch {
            expected,
            path: mistake.path(),
        },
        Problem::UnexpectedAttribute => EncodeError::UnexpectedAttribute {
            path: mistake.path(),
        },
    })?;
    Ok(bytes)
}

/// How much text a value holds: what decides its size, and what must not be copied again and again.
fn text_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 5,
        Value::List(list) => list.iter().map(text_size).sum::<usize>() + 5,
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| key.len() + 5 + text_size(value))
            .sum(),
        _ => 9,
    }
}

/// A value that does not fit its type, with its path from the inside out.
struct Mistake {
    problem: Problem,
    steps: Vec<String>,
}

enum Problem {
    Expected(&'static str),
    UnexpectedAttribute,
}

impl Mistake {
    fn expected(expected: &'static str) -> Mistake {
        Mistake {
            problem: Problem::Expected(expected),
            steps: Vec::new(),
        }
    }

    fn within(mut self, step: impl ToString) -> Mistake {
        self.steps.push(step.to_string());
        self
    }

    fn path(&self) -> String {
        let mut steps = self.steps.clone();
        steps.reverse();
        steps.join(".")
    }
}

fn write(bytes: &mut Vec<u8>, value: &Value, ty: &Type) -> Result<(), Mistake> {
    const MEMORY: &str = "memory takes every write";
    match (ty, value) {
        (_, Value::Unknown) => bytes.extend(UNKNOWN),
        (_, Value::Null) => bytes.push(Marker::Null.to_u8()),
        (Type::Bool, Value::Bool(bool)) => rmp::encode::write_bool(bytes, *bool).expect(MEMORY),
        (Type::Number, Value::Number(number)) => match number {
            Number::Int(int) => {
                rmp::encode::write_sint(bytes, *int).expect(MEMORY);
            }
            Number::Float(float) if float.is_finite() => {
                rmp::encode::write_f64(bytes, *float).expect(MEMORY);
            }
            Number::Float(_) => return Err(Mistake::expected("a finite number")),
            Number::Text(text) => rmp::encode::write_str(bytes, text).expect(MEMORY),
        },
        (Type::String, Value::String(text)) => {
            if u32::try_from(text.len()).is_err() {
                return Err(Mistake::expected("text of less than 4 GiB"));
            }
            rmp::encode::write_str(bytes, text).expect(MEMORY);
        }
        (Type::List(element) | Type::Set(element), Value::List(list)) => {
            rmp::encode::write_array_len(bytes, length(list.len())?).expect(MEMORY);
            for (index, value) in list.iter().enumerate() {
                write(bytes, value, element).map_err(|mistake| mistake.within(index))?;
            }
        }
        (Type::Map(element), Value::Map(map)) => {
            rmp::encode::write_map_len(bytes, length(map.len())?).expect(MEMORY);
            for (key, value) in map {
                rmp::encode::write_str(bytes, key).expect(MEMORY);
                write(bytes, value, element).map_err(|mistake| mistake.within(key))?;
            }
        }
        (Type::Object(members), Value::Map(object)) => {
            if let Some(extra) = object.keys().find(|name| !members.contains_key(*name)) {
                return Err(Mistake {
                    problem: Problem::UnexpectedAttribute,
                    steps: vec![extra.clone()],
                });
            }
            rmp::encode::write_map_len(bytes, length(members.len())?).expect(MEMORY);
            for (name, ty) in members {
                rmp::encode::write_str(bytes, name).expect(MEMORY);
                write(bytes, value.get(name), ty).map_err(|mistake| mistake.within(name))?;
            }
        }
        (ty, _) => return Err(Mistake::expected(expectation(ty))),
    }
    Ok(())
}

fn length(length: usize) -> Result<u32, Mistake> {
    u32::try_from(length).map_err(|_| Mistake::expected("fewer elements"))
}

fn expectation(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "a boolean",
        Type::Number => "a number",
        Type::String => "text",
        Type::List(_) => "a list",
        Type::Set(_) => "a set",
        Type::Map(_) => "a map",
        Type::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(members: &[(&str, Type)]) -> Type {
        let members = members.iter();
        Type::Object(
            members
                .map(|(k, ty)| ((*k).to_owned(), ty.clone()))
                .collect(),
        )
    }

    fn list(element: Type) -> Type {
        Type::List(Box::new(element))
    }

    fn map(element: Type) -> Type {
        Type::Map(Box::new(element))
    }

    fn worker() -> Type {
        object(&[
            ("flags", list(Type::String)),
            ("on", Type::Bool),
            ("limits", map(Type::Number)),
            ("binding", map(object(&[("text", Type::String)]))),
        ])
    }

    fn text(text: &str) -> Number {
        Number::Text(text.into())
    }

    /// Decodes, and writes the same value so that it decodes again.
    #[track_caller]
    fn decodes(bytes: &[u8], ty: &Type, expect: Value) {
        assert_eq!(decode(bytes, ty).as_ref(), Ok(&expect));
        let again = encode(&expect, ty).expect("is of the type");
        assert_eq!(decode(&again, ty), Ok(expect));
    }

    #[track_caller]
    fn refuses(bytes: &[u8], ty: &Type, expect: DecodeError) {
        assert_eq!(decode(bytes, ty), Err(expect));
    }

    #[test]
    fn every_extension_is_unknown() {
        decodes(&[0xd4, 0, 0], &Type::String, Value::Unknown);
        decodes(&[0xd5, 3, 0, 0], &worker(), Value::Unknown);
        // Terraform 1.11 on `"pre-${…}"`: not null, and starting with `pre-`.
        let refined = b"\xc7\x09\x0c\x82\x01\xc2\x02\xa4pre-";
        decodes(refined, &Type::String, Value::Unknown);
        decodes(&[0xc8, 0, 2, 12, 0x81, 1], &Type::Number, Value::Unknown);
        let inside = [0x93, 0xc0, 0xd4, 0, 0, 0xa1, b'x'];
        let expect = vec![Value::Null, Value::Unknown, "x".into()];
        decodes(&inside, &list(Type::String), expect.into());
    }

    #[test]
    fn numbers_arrive_in_every_form_that_cores_send() {
        let number = |bytes: &[u8], expect| decodes(bytes, &Type::Number, Value::Number(expect));
        number(&[5], Number::Int(5));
        number(&[0xff], Number::Int(-1));
        number(&[0xcc, 200], Number::Int(200));
        number(&[0xcd, 1, 0], Number::Int(256));
        number(&[0xd0, 0x80], Number::Int(-128));
        number(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Number::Int(i64::MIN));
        number(
            &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
            text("18446744073709551615"),
        );
        number(&[0xcb, 0x3f, 0xd0, 0, 0, 0, 0, 0, 0], Number::Float(0.25));
        number(
            b"\xb612345678901234567890.5",
            text("12345678901234567890.5"),
        );
        number(b"\xa45.00", Number::Int(5));
        number(b"\xa35e0", Number::Int(5));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bytes in [
            &b"\xcb\x7f\xf8\0\0\0\0\0\0"[..],
            &b"\xcb\x7f\xf0\0\0\0\0\0\0"[..],
            &b"\xca\x7f\xc0\0\0"[..],
            &b"\xa3NaN"[..],
            &b"\xa0"[..],
        ] {
            refuses(bytes, &Type::Number, DecodeError::NotANumber);
        }
    }

    #[test]
    fn text_may_come_as_bytes_but_must_be_unicode() {
        decodes(b"\xc4\x02hi", &Type::String, "hi".into());
        decodes(b"\xa2\xc3\xa4", &Type::String, "ä".into());
        refuses(&[0xa1, 0xff], &Type::String, DecodeError::NotUtf8);
    }

    #[test]
    fn objects_have_exactly_the_members_of_their_type() {
        let ty = object(&[("a", Type::Bool), ("b", Type::Bool)]);
        decodes(
            b"\x82\xa1b\xc3\xa1a\xc0",
            &ty,
            Value::object([("a", Value::Null), ("b", true.into())]),
        );
        refuses(
            b"\x81\xa1a\xc3",
            &ty,
            DecodeError::MissingAttribute("b".into()),
        );
        refuses(
            b"\x81\xa1z\xc3",
            &ty,
            DecodeError::UnexpectedAttribute("z".into()),
        );
        refuses(
            b"\x82\xa1a\xc3\xa1a\xc3",
            &ty,
            DecodeError::Duplicate("a".into()),
        );
    }

    #[test]
    fn lengths_that_lie_allocate_nothing() {
        let everything = u32::MAX.to_be_bytes();
        for marker in [0xdb, 0xc6, 0xdd, 0xdf, 0xc9] {
            let bytes = [&[marker][..], &everything].concat();
            for ty in [Type::String, list(Type::Bool), map(Type::Bool)] {
                assert!(decode(&bytes, &ty).is_err(), "{marker:#x}");
            }
        }
        let mut many = vec![0xdd];
        many.extend(u32::try_from(MAX_VALUES + 1).expect("fits").to_be_bytes());
        many.resize(many.len() + MAX_VALUES + 1, 0xc0);
        refuses(&many, &list(Type::Bool), DecodeError::TooLarge);
        refuses(&[0xc3, 0xc3], &Type::Bool, DecodeError::Trailing(1));
        refuses(&[], &Type::Bool, DecodeError::Truncated);
    }

    #[test]
    fn a_missing_member_is_written_as_null_and_a_foreign_one_is_a_mistake() {
        let ty = object(&[("a", Type::Bool), ("b", Type::Bool)]);
        let half = Value::object([("b", Value::from(true))]);
        assert_eq!(encode(&half, &ty), Ok(b"\x82\xa1a\xc0\xa1b\xc3".to_vec()));
        let path = "binding.ROOMS.class".to_owned();
        let rooms = Value::object([("class", Value::Null)]);
        let value = Value::object([("binding", Value::object([("ROOMS", rooms)]))]);
        assert_eq!(
            encode(&value, &worker()),
            Err(EncodeError::UnexpectedAttribute { path })
        );
        let (expected, path) = ("a finite number", String::new());
        assert_eq!(
            encode(&Value::Number(Number::Float(f64::NAN)), &Type::Number),
            Err(EncodeError::Mismatch { expected, path })
        );
    }

    #[test]
    fn fifty_mebibytes_of_text_come_back() {
        let script = Value::String("x".repeat(50 << 20).into());
        let bytes = encode(&script, &Type::String).expect("is text");
        assert!(decode(&bytes, &Type::String) == Ok(script));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_value_but_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for ty in [worker(), list(worker()), map(Type::Number), Type::String, Type::Number] {
                if let Ok(value) = decode(&bytes, &ty) {
                    let again = encode(&value, &ty).expect("what is read can be written");
                    prop_assert_eq!(decode(&again, &ty), Ok(value));
                }
            }
        }

        #[test]
        fn cut_and_changed_values_do_not_panic(
            cut in 0_usize..80, position in 0_usize..80, byte in any::<u8>(),
        ) {
            let binding = Value::object([("text", Value::from("hello"))]);
            let mut bytes = encode(
                &Value::object([
                    ("flags", vec!["nodejs_compat"].into()),
                    ("limits", Value::object([("cpu", Value::from(70_000_i64))])),
                    ("binding", Value::object([("A", binding)])),
                ]),
                &worker(),
            ).expect("is of the type");
            let position = position % bytes.len();
            bytes[position] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _no_panic = decode(&bytes, &worker());
        }
    }
}
