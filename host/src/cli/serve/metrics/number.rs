//! Values of metrics.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::{
    CounterValueEncoder, EncodeCounterValue, EncodeGaugeValue, GaugeValueEncoder,
};

pub(super) fn seconds_since_1970(time: SystemTime) -> Number {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Number::Float(time.as_millis() as f64 / 1e3)
}

/// A value: whole where it can be, since not every u64 is a float.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Float(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeGaugeValue::encode(number, encoder),
            Self::Float(number) => EncodeGaugeValue::encode(number, encoder),
        }
    }
}

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeCounterValue::encode(number, encoder),
            Self::Float(number) => EncodeCounterValue::encode(number, encoder),
        }
    }
}

/// Returns a value as it is.
pub(super) fn whole(value: Option<u64>) -> Option<Number> {
    value.map(Number::Whole)
}

/// Returns a value of nanoseconds as seconds.
pub(super) fn nanoseconds(value: Option<u64>) -> Option<Number> {
    value.map(|value| Number::Float(value as f64 / 1e9))
}
