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
