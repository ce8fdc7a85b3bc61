//! Python's values as JSON and back, exactly. What JSON cannot hold is refused by its path, such as `messages[1].content[0].x`.

use std::fmt;

use chat_memory::json::MAX_DOCUMENT_DEPTH;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use serde_json::{Map, Number, Value};

/// Why a value is refused.
pub enum Refused {
    /// JSON cannot hold it; the message names its path.
    Value(String),
    /// Python raised an exception while the value was read.
    Raised(PyErr),
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// Where a value is.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Place::Root, name) => f.write_str(name),
            Self::Field(parent, name) => {
                let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if is_plain { write!(f, "{parent}.{name}") } else { write!(f, "{parent}[{name:?}]") }
            }
            Self::Item(parent, n) => write!(f, "{parent}[{n}]"),
        }
    }
}

/// Reads the fields of a request. Their names become those of the crate `chat-memory-bindings`: `sent_at` becomes `sentAt`.
pub fn request(fields: &Bound<'_, PyDict>) -> Result<Value, Refused> {
    let Value::Object(fields) = object(fields, &Place::Root)? else { return Ok(Value::Null) };
    Ok(fields.into_iter().map(|(name, value)| (camel_case(&name), value)).collect::<Map<_, _>>().into())
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |done, word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        done + &first.into_iter().chain(letters).collect::<String>()
    })
}

fn depth(place: &Place<'_>) -> usize {
    match place {
        Place::Root => 0,
        Place::Field(parent, _) | Place::Item(parent, _) => 1 + depth(parent),
    }
}

fn value(found: &Bound<'_, PyAny>, place: &Place<'_>) -> Result<Value, Refused> {
    let refuse = |why: String| Err(Refused::Value(format!("invalid value in {place}: {why}")));
    if found.is_none() {
        Ok(Value::Null)
    } else if let Ok(text) = found.cast::<PyString>() {
        string(text, place).map(Value::String)
    } else if let Ok(yes) = found.cast::<PyBool>() {
        Ok(Value::Bool(yes.is_true()))
    } else if found.is_instance_of::<PyInt>() {
        match (found.extract::<i64>(), found.extract::<u64>()) {
            (Ok(n), _) => Ok(n.into()),
            (_, Ok(n)) => Ok(n.into()),
            _ => refuse("an integer of more than 64 bits, which JSON readers do not keep; send a string".to_owned()),
        }
    } else if let Ok(number) = found.cast::<PyFloat>() {
        match Number::from_f64(number.value()) {
            Some(number) => Ok(Value::Number(number)),
            None => refuse(format!("{} is no number of JSON; send None or a string", number.value().to_string().to_lowercase())),
        }
    } else if let Ok(fields) = found.cast::<PyDict>() {
        object(fields, place)
    } else if let Ok(items) = found.cast::<PyList>() {
        list(items.iter(), place)
    } else if let Ok(items) = found.cast::<PyTuple>() {
        list(items.iter(), place)
    } else if found.cast::<PyMapping>().is_ok() {
        let fields = PyDict::new(found.py());
        fields.call_method1("update", (found,))?;
        object(&fields, place)
    } else {
        let of = found.get_type().qualname()?.to_string();
        let instead = match of.as_str() {
            "Decimal" => "send a float or a string",
            "bytes" | "bytearray" | "memoryview" => "send a base64 string",
            "set" | "frozenset" | "generator" | "map" | "filter" => "send a list",
            "datetime" | "date" | "time" => "send its isoformat()",
            "UUID" => "send its str()",
            _ if found.hasattr("model_dump")? => "send its model_dump(mode=\"json\")",
            _ if found.hasattr("__dataclass_fields__")? => "send its dataclasses.asdict()",
            _ => "send a dict, a list, a string, a number, a bool or None",
        };
        refuse(format!("JSON cannot hold a value of the type {of}; {instead}"))
    }
}

fn check_depth(place: &Place<'_>) -> Result<(), Refused> {
    if depth(place) > MAX_DOCUMENT_DEPTH {
        let Some(root) = root_of(place) else { return Ok(()) };
        return Err(Refused::Value(format!(
            "invalid value in {root}: it contains itself, or is nested deeper than {MAX_DOCUMENT_DEPTH} levels; flatten it, or send the inner part as a string"
        )));
    }
    Ok(())
}

fn root_of<'a>(place: &'a Place<'a>) -> Option<&'a str> {
    match place {
        Place::Root => None,
        Place::Field(Place::Root, name) => Some(name),
        Place::Field(parent, _) | Place::Item(parent, _) => root_of(parent),
    }
}

fn object(fields: &Bound<'_, PyDict>, place: &Place<'_>) -> Result<Value, Refused> {
    check_depth(place)?;
    let mut read = Map::with_capacity(fields.len());
    for (name, found) in fields.iter() {
        let Ok(name) = name.cast::<PyString>() else {
            let of = name.get_type().qualname()?;
            return Err(Refused::Value(format!("invalid key in {place}: it is of the type {of}; JSON's keys are strings")));
        };
        let name = string(name, place)?;
        let found = value(&found, &Place::Field(place, &name))?;
        read.insert(name, found);
    }
    Ok(Value::Object(read))
}

fn list<'py>(items: impl ExactSizeIterator<Item = Bound<'py, PyAny>>, place: &Place<'_>) -> Result<Value, Refused> {
    check_depth(place)?;
    items.enumerate().map(|(n, item)| value(&item, &Place::Item(place, n))).collect()
}

fn string(text: &Bound<'_, PyString>, place: &Place<'_>) -> Result<String, Refused> {
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Refused::Value(format!(
            "invalid value in {place}: a string with half of a character (a lone surrogate), which UTF-8 cannot hold; \
             send the whole character, and cut strings between characters only"
        ))),
    }
}

/// Makes Python's values of JSON.
pub fn python<'py>(py: Python<'py>, value: Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(yes) => PyBool::new(py, yes).to_owned().into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), _, _) => n.into_pyobject(py)?.into_any(),
            (_, Some(n), _) => n.into_pyobject(py)?.into_any(),
            (_, _, float) => PyFloat::new(py, float.unwrap_or(f64::NAN)).into_any(),
        },
        Value::String(text) => PyString::new(py, &text).into_any(),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Object(fields) => {
            let made = PyDict::new(py);
            for (name, value) in fields {
                made.set_item(name, python(py, value)?)?;
            }
            made.into_any()
        }
    })
}
