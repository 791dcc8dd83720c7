//! Ids: of a job, of one write of its record, of one attempt at storing its result.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

/// The id of a job: a UUIDv7, so that ids order by time, whose 74 random bits are drawn afresh, so that knowing one id
/// tells nothing about another. Jobs of pygeoapi-k8s-manager keep theirs, which are UUIDv1 and order by their time, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

/// Bits of an id after its time: version, variant and what is random.
const RANDOM_BITS: u32 = 80;
/// The last millisecond that an id can say.
const LAST_MILLI: u64 = (1 << 48) - 1;

impl JobId {
    /// A new id for a job created at `unix_millis`.
    pub fn generate(unix_millis: u64) -> Self {
        Self(Builder::from_unix_timestamp_millis(unix_millis, &rand::random()).into_uuid())
    }

    /// When the job was created, as its id says: milliseconds since 1970.
    pub fn unix_millis(&self) -> u64 {
        let of_v1 = || {
            let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
            Some(seconds.checked_mul(1000)?.saturating_add(u64::from(nanos) / 1_000_000).min(LAST_MILLI))
        };
        match self.0.get_version_num() {
            1 => of_v1().unwrap_or(LAST_MILLI),
            _ => u64::try_from(self.0.as_u128() >> RANDOM_BITS).unwrap_or(u64::MAX),
        }
    }

    /// What orders ids: the time first, whichever kind of UUID tells it.
    fn order(&self) -> (u64, u128, Uuid) {
        (self.unix_millis(), self.0.as_u128() & ((1 << RANDOM_BITS) - 1), self.0)
    }

    /// No id of that millisecond, and none of a later one, is before this one.
    pub fn lowest_at(unix_millis: u64) -> Self {
        Self(Uuid::from_u128(u128::from(unix_millis.min(LAST_MILLI)) << RANDOM_BITS))
    }

    /// No id of that millisecond, and none of an earlier one, is after this one.
    pub fn highest_at(unix_millis: u64) -> Self {
        Self(Uuid::from_u128(Self::lowest_at(unix_millis).0.as_u128() | ((1 << RANDOM_BITS) - 1)))
    }

    /// The two last hexadecimal digits: they spread object keys, which would otherwise all share a prefix in time.
    pub fn spread(&self) -> String {
        let text = self.to_string();
        text[text.len() - 2..].to_owned()
    }
}

impl Ord for JobId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for JobId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A text that is no job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: expected a UUID in its lower-case form with hyphens")]
pub struct InvalidJobId;

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let uuid = Uuid::try_parse(text).map_err(|_| InvalidJobId)?;
        // Other spellings of the same UUID would be other subjects and other keys.
        if uuid.hyphenated().to_string() == text { Ok(Self(uuid)) } else { Err(InvalidJobId) }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(out)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A random token of 128 bits in hexadecimal, drawn for each write of a record: who finds its own token in the stream
/// knows that its write was the one that won, whatever the answer to it was.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriteId(String);

impl WriteId {
    /// A new token.
    pub fn generate() -> Self {
        Self(random_hex())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A random id drawn at each delivery of a piece of work that stores something: two owners never write the same object.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    /// A new epoch.
    pub fn generate() -> Self {
        Self(random_hex())
    }

    /// The epoch of this text, as a name has it; `None` for a text that is none.
    pub fn named(text: &str) -> Option<Self> {
        let is_one = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// Its text: 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn random_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_in_the_same_millisecond_share_no_random_bits() {
        let (a, b) = (JobId::generate(1_700_000_000_000).to_string(), JobId::generate(1_700_000_000_000).to_string());
        assert_eq!(a[..13], b[..13], "the time is the same");
        assert_ne!(a[15..], b[15..]);
        assert_eq!(&a[14..15], "7");
    }

    #[test]
    fn ids_order_by_time() {
        assert!(JobId::generate(1_000) < JobId::generate(1_001));
    }

    #[test]
    fn an_id_tells_its_time_and_lies_between_the_bounds_of_its_millisecond() {
        let id = JobId::generate(1_700_000_000_123);
        assert_eq!(id.unix_millis(), 1_700_000_000_123);
        assert!(JobId::lowest_at(1_700_000_000_123) < id && id < JobId::highest_at(1_700_000_000_123));
        assert!(JobId::highest_at(1_700_000_000_122) < JobId::lowest_at(1_700_000_000_123));
        assert!(JobId::highest_at(u64::MAX) >= JobId::lowest_at(u64::MAX));
    }

    #[test]
    fn an_id_of_the_original_tells_its_time_and_orders_by_it() {
        // The README of pygeoapi-k8s-manager has it: 15 May 2025.
        let id: JobId = "99755242-31af-11f0-80bd-0255ac10006c".parse().unwrap();
        let millis = id.unix_millis();
        assert_eq!(
            jiff::Timestamp::from_millisecond(millis.cast_signed()).unwrap().strftime("%F").to_string(),
            "2025-05-15"
        );
        assert!(JobId::generate(millis - 1) < id && id < JobId::generate(millis + 1));
        assert!(JobId::lowest_at(millis) < id && id < JobId::highest_at(millis));
        let later: JobId = "00000000-31b0-11f0-80bd-0255ac10006c".parse().unwrap();
        assert!(id < later, "the bytes order otherwise");
    }

    #[test]
    fn an_id_of_any_version_has_a_time_and_a_place() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "ffffffff-ffff-1fff-bfff-ffffffffffff",
            "00000000-0000-1000-8000-000000000000",
            "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        ] {
            let id: JobId = text.parse().unwrap();
            assert!(id.unix_millis() <= LAST_MILLI);
            assert_eq!(id.cmp(&id), std::cmp::Ordering::Equal);
            assert!(JobId::lowest_at(id.unix_millis()) <= id && id <= JobId::highest_at(id.unix_millis()), "{text}");
        }
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let id = JobId::generate(1_700_000_000_000).to_string();
        assert_eq!(id.parse::<JobId>().map(|id| id.to_string()), Ok(id.clone()));
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("{id} "), "../x".into()] {
            assert_eq!(other.parse::<JobId>(), Err(InvalidJobId), "{other}");
        }
    }
}
