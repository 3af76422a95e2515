//! Durations, sizes and shares as people write them: `"150ms"`, `"64KiB"`, `0.01`.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rng::Rng;

/// A stretch of virtual time, in microseconds. Written as `"250us"`, `"20ms"`, `"30s"`, `"5m"`, `"2h"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// A distance between two clocks, in milliseconds, with a sign. Written as `"-3s"`, `"+250ms"`, `"1h"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(pub i64);

/// A number of bytes. Written as `"512"`, `"64KiB"`, `"10MiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A share, in millionths. Written as a number from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

const TIME_UNITS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// In whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// For people and plots.
    #[must_use]
    pub fn as_secs(self) -> f64 {
        self.0 as f64 / 1e6
    }

    fn parse(text: &str) -> Option<Self> {
        parse(text, &TIME_UNITS).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_unit(f, self.0, &TIME_UNITS)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 < 0 { "-" } else { "+" })?;
        write!(f, "{}", Span(self.0.unsigned_abs().saturating_mul(1_000)))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_unit(f, self.0, &SIZE_UNITS)
    }
}

fn write_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = units.iter().rev().find(|(_, size)| value.is_multiple_of(*size) && value >= *size);
    let (name, size) = fits.unwrap_or(&units[0]);
    write!(f, "{}{name}", value / size)
}

/// A whole or decimal number and a unit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let size = units.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    let size = size.or_else(|| (unit.is_empty() && units[0].0 == "B").then_some(1))?;
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let value = whole.parse::<u64>().ok()?.checked_mul(size)?;
    if rest.is_empty() {
        return Some(value);
    }
    let scale = 10u64.checked_pow(u32::try_from(rest.len()).ok()?)?;
    value.checked_add(rest.parse::<u64>().ok()?.checked_mul(size)? / scale)
}

struct Text<T> {
    wants: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wants)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wants = "a duration such as \"250us\", \"20ms\", \"30s\", \"5m\" or \"2h\"";
        deserializer.deserialize_str(Text { wants, read: Self::parse })
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wants = "a clock's offset such as \"-3s\", \"+250ms\" or \"1h\", in whole milliseconds";
        let read = |text: &str| {
            let (sign, plain) = match text.strip_prefix('-') {
                Some(plain) => (-1, plain),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let millis = i64::try_from(Span::parse(plain)?.as_millis()).ok()?;
            Some(Self(sign * millis))
        };
        deserializer.deserialize_str(Text { wants, read })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wants = "a size such as \"512B\", \"64KiB\" or \"10MiB\"";
        deserializer.deserialize_str(Text { wants, read: |text| parse(text, &SIZE_UNITS).map(Self) })
    }
}

struct ShareVisitor;

impl Visitor<'_> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share: a number from 0 to 1")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Share, E> {
        if !(0.0..=1.0).contains(&value) {
            return Err(E::invalid_value(de::Unexpected::Float(value), &self));
        }
        Ok(Share((value * 1e6).round() as u32))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Share, E> {
        match value {
            0 => Ok(Share(0)),
            1 => Ok(Share(1_000_000)),
            other => Err(E::invalid_value(de::Unexpected::Signed(other), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1e6)
    }
}

/// How long something takes: its quantiles, as a monitoring page shows them. Between them it is drawn evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The shortest.
    #[serde(default)]
    pub min: Span,
    /// Half take longer.
    pub p50: Span,
    /// One in a hundred takes longer.
    pub p99: Span,
    /// The longest.
    pub max: Span,
}

impl Spread {
    /// Always the same.
    #[must_use]
    pub const fn fixed(span: Span) -> Self {
        Self { min: span, p50: span, p99: span, max: span }
    }

    /// A drawn one, in microseconds.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let (low, high) = match rng.below(100) {
            0 => (self.p99, self.max),
            1..=49 => (self.p50, self.p99),
            _ => (self.min, self.p50),
        };
        rng.between(low.0, high.0)
    }

    /// Whether the quantiles come in order.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.min <= self.p50 && self.p50 <= self.p99 && self.p99 <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0us", "250us", "20ms", "1500ms", "30s", "5m", "2h"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Span::parse("1.5s"), Some(Span::millis(1_500)));
        assert_eq!(parse("1.5MiB", &SIZE_UNITS), Some(3 << 19));
        assert_eq!(Offset(-3_000).to_string(), "-3s");
        for text in ["", "5", "s", "-1s", "1 week", "1.x5s"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_spread_keeps_its_quantiles() {
        let spread =
            Spread { min: Span(0), p50: Span::millis(1), p99: Span::millis(10), max: Span::millis(100) };
        let mut rng = Rng::new(7);
        let mut drawn: Vec<u64> = (0..10_000).map(|_| spread.draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!((900..=1_300).contains(&drawn[5_000]), "{}", drawn[5_000]);
        assert!((9_000..=40_000).contains(&drawn[9_900]), "{}", drawn[9_900]);
        assert!(drawn[9_999] <= 100_000);
    }
}
