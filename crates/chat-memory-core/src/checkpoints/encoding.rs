//! The fields of a row's content (docs/formats.md, "Checkpoints"): numbers, texts and lists, one after another.

use super::{Typed, Write};
use crate::timestamp::Timestamp;

/// The version of every row's content.
pub(super) const VERSION: u8 = 1;

/// How many bytes [`Writer`] makes of a number.
pub(super) fn number_len(number: u64) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// A signed number as an unsigned one that is small if it is near zero.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// How many bytes [`Writer`] makes of a write.
pub(super) fn write_len(write: &Write) -> usize {
    let Write { task_id, task_path, index, channel, value } = write;
    let fields = [task_id.as_bytes(), task_path.as_bytes(), channel.as_bytes(), value.kind.as_bytes(), &value.bytes];
    fields.map(|bytes| number_len(bytes.len() as u64) + bytes.len()).iter().sum::<usize>() + number_len(zigzag(*index))
}

/// Writes fields one after another: numbers as LEB128, texts and bytes after their length.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number(zigzag(number));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn time(&mut self, at: Timestamp) {
        self.signed(at.as_millis());
    }

    pub(super) fn typed(&mut self, value: &Typed) {
        self.text(&value.kind);
        self.bytes(&value.bytes);
    }

    pub(super) fn write(&mut self, write: &Write) {
        self.text(&write.task_id);
        self.text(&write.task_path);
        self.signed(write.index);
        self.text(&write.channel);
        self.typed(&write.value);
    }

    pub(super) fn optional<T: ?Sized>(&mut self, value: Option<&T>, put: impl FnOnce(&mut Self, &T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.number(values.len() as u64);
        for value in values {
            put(self, value);
        }
    }
}

/// Reads fields one after another.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn versioned(body: &'a [u8]) -> Result<Self, String> {
        match body.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((version, _)) => Err(format!("it has the version {version}, and this program reads {VERSION}; update it")),
            None => Err("it is empty".to_owned()),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("it has a number that is too long".to_owned())
    }

    pub(super) fn signed(&mut self) -> Result<i64, String> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|e| e.to_string())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let count = self.size()?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "it has text that is not UTF-8".to_owned())
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, String> {
        self.signed().map(Timestamp::from_millis)
    }

    pub(super) fn typed(&mut self) -> Result<Typed, String> {
        Ok(Typed { kind: self.text()?, bytes: self.bytes()?.to_vec() })
    }

    pub(super) fn write(&mut self) -> Result<Write, String> {
        Ok(Write {
            task_id: self.text()?,
            task_path: self.text()?,
            index: self.signed()?,
            channel: self.text()?,
            value: self.typed()?,
        })
    }

    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<Option<T>, String> {
        if self.take(1)?[0] == 0 { Ok(None) } else { read(self).map(Some) }
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        // Grows as it is read: the count is not trusted.
        (0..self.number()?).map(|_| read(self)).collect()
    }

    pub(super) fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", self.0.len())) }
    }
}
