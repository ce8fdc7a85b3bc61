//! Costs of operations.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What an operation cost, from its first request to its last, including retries.
///
/// DynamoDB's units are as reported by DynamoDB (`ReturnConsumedCapacity`); a request whose response was lost may have consumed
/// units that were never reported. The embedded stores have no units and count a transaction as a request.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Requests sent.
    pub requests: u64,
    /// Read capacity units.
    pub read_units: f64,
    /// Write capacity units.
    pub write_units: f64,
    /// Bytes of records written and read, as stored (compressed if they are).
    pub bytes: u64,
}

impl Cost {
    /// Creates a cost of these requests and bytes, without units.
    pub fn new(requests: u64, bytes: u64) -> Self {
        Self { requests, bytes, ..Self::default() }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.read_units += other.read_units;
        self.write_units += other.write_units;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, read_units, write_units, bytes } = self;
        write!(f, "requests={requests} read_units={read_units} write_units={write_units} bytes={bytes}")
    }
}
