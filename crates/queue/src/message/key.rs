//! The identity of a task.
//!
//! A key has 16 bytes and is the primary key of the task's row. Keys sort by time, so the rows of a
//! part lie together, new rows are appended, and old rows can be deleted as one range. There are
//! three kinds:
//!
//! - **Own tasks**: a `UUIDv7` (RFC 9562). Its time is the beginning of the part, followed by 22
//!   random bits of the part, 32 bits for the task's place in the input, and 20 bits of the task's
//!   [`Fingerprint`]. The fingerprint keeps the keys of different tasks apart if the input changes
//!   while a part is interrupted.
//! - **Messages of other programs**: the time of the message id, if that is a `UUIDv7`, otherwise
//!   zeros, followed by 80 bits of a hash of the run and the id.
//! - **Messages without an id**: a `UUIDv7` of the present time, since each one is fetched.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid, Variant};

use super::fetch_request::FetchRequest;

/// The bits of an own key behind those of its part.
const TASK_BITS: u32 = ORDINAL_BITS + FINGERPRINT_BITS;
const ORDINAL_BITS: u32 = 32;
const FINGERPRINT_BITS: u32 = 20;
/// Selects the bits behind those of the part.
const TASK_MASK: u128 = (1 << TASK_BITS) - 1;
/// The hexadecimal digits of a part before the zeros.
const PART_DIGITS: usize = (u128::BITS - TASK_BITS) as usize / 4;
/// The zeros at the end of a part, in hexadecimal.
const TASK_ZEROS: &str = "0000000000000";
const _: () = assert!(PART_DIGITS + TASK_ZEROS.len() == 32, "a part has 16 bytes");

/// The number of bytes of a key that hold its time, in milliseconds since 1970.
const TIME_BYTES: usize = 6;
/// The times that a key may hold, in milliseconds since 1970. The database keeps the keys before
/// the first one apart, as those without a time. An id with a time after 2099 is no serious one.
const TIMES_MS: std::ops::Range<u64> = 0xff_0000..4_102_444_800_000;

/// The identity of a task, the same over retries, redeliveries and replays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of a message with an id.
    ///
    /// A message is a task of our own only if part and id prove it. Any other id identifies a task
    /// within its run only, whatever it looks like.
    pub(super) fn of_message(run: &str, part: Option<&str>, id: &str, is_own_app: bool) -> Self {
        part.filter(|_| is_own_app)
            .and_then(|part| Self::of_part(part, id).or_else(|| Self::of_former_part(part, id)))
            .unwrap_or_else(|| Self::of_other_program(run, id))
    }

    /// The key of a message that another program published with this id.
    pub fn of_other_program(run: &str, id: &str) -> Self {
        let hash = hash(&[run.as_bytes(), id.as_bytes()]);
        let time_ms = Uuid::try_parse(id).ok().filter(is_version_7).map(unix_ms);
        match time_ms.filter(|ms| TIMES_MS.contains(ms)) {
            Some(ms) => Self::at(ms, &hash),
            None => Self::at(0, &hash),
        }
    }

    /// The key of a message without an id.
    pub(super) fn fresh() -> Self {
        Self(new_uuid().into_bytes())
    }

    /// The key of a task of an earlier release, whose message id was its whole fingerprint.
    fn former(fingerprint: &[u8; 32]) -> Self {
        Self::at(0, fingerprint)
    }

    fn of_part(part: &str, id: &str) -> Option<Self> {
        let (shared, zeros) = part.split_at_checked(PART_DIGITS)?;
        if zeros != TASK_ZEROS || !id.starts_with(shared) {
            return None;
        }
        parse_uuid(id).map(|id| Self(id.into_bytes()))
    }

    fn of_former_part(part: &str, id: &str) -> Option<Self> {
        parse_hex::<8>(part)?;
        parse_hex(id).map(|id| Self::former(&id))
    }

    fn at(time_ms: u64, hash: &[u8; 32]) -> Self {
        let mut key = [0; 16];
        key[..TIME_BYTES].copy_from_slice(&time_ms.to_be_bytes()[2..]);
        key[TIME_BYTES..].copy_from_slice(&hash[..16 - TIME_BYTES]);
        Self(key)
    }

    /// The 16 bytes that the database stores.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Writes the key in hexadecimal, as in `message_id`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity of a part: the first bits of the keys of its tasks, followed by zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartId(u128);

impl PartId {
    /// A part that begins now.
    #[expect(clippy::new_without_default, reason = "each one is different")]
    pub fn new() -> Self {
        Self(new_uuid().as_u128() & !TASK_MASK)
    }

    /// Reads what [`fmt::Display`] has written. `None` for any other text, such as the name of a
    /// part of an earlier release.
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(|id| id.as_u128()).filter(|id| id & TASK_MASK == 0).map(Self)
    }

    /// The key of the task at this place among the tasks of the part. Tasks count from 1, so no
    /// task has the id of the part.
    pub fn task(self, ordinal: u32, fingerprint: &Fingerprint) -> Key {
        let fingerprint = fingerprint.half() >> (u128::BITS - FINGERPRINT_BITS);
        let id = self.0 | u128::from(ordinal) << FINGERPRINT_BITS | fingerprint;
        Key(id.to_be_bytes())
    }
}

/// Writes the part in hexadecimal, as in the header `x-part`.
impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What distinguishes a task from the others of its part: a hash of what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// `copy` distinguishes tasks that are equal on purpose.
    pub fn of(run: &str, part: &str, request: &FetchRequest, copy: u64) -> Self {
        let body = request.body.as_deref().unwrap_or_default();
        Self(hash(&[
            run.as_bytes(),
            part.as_bytes(),
            request.method.as_str().as_bytes(),
            request.address.as_str().as_bytes(),
            body,
            &copy.to_be_bytes(),
        ]))
    }

    /// What distinguishes a page from all others: the hash of a method and a normalised URL.
    pub fn of_page(method: &str, url: &str) -> Self {
        Self(hash(&[method.as_bytes(), url.as_bytes()]))
    }

    /// Half of the fingerprint: enough to find duplicates among the URLs of one run.
    pub fn half(&self) -> u128 {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(half)
    }

    /// The key and the message id of a task whose part was begun by an earlier release. Some tasks
    /// of the part may already be queued with these ids.
    pub fn former_identity(&self) -> (Key, String) {
        (Key::former(&self.0), hex::encode(self.0))
    }

    /// A key that is the same whenever the message is delivered, for messages that have no other.
    pub(super) fn key(&self) -> Key {
        Key::former(&self.0)
    }
}

/// Each field is preceded by its length, so that different lists of fields never hash alike.
fn hash(fields: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// Reads a `UUIDv7` as [`Key`] and [`PartId`] write it: without hyphens.
fn parse_uuid(text: &str) -> Option<Uuid> {
    let is_simple = text.len() == 32 && is_lower_case(text);
    is_simple.then(|| Uuid::try_parse(text).ok()).flatten().filter(is_version_7)
}

/// Reads bytes that [`hex::encode`] has written.
fn parse_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    (is_lower_case(text) && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn is_lower_case(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A `UUIDv7` of the present time.
fn new_uuid() -> Uuid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(now_ms, &rand::random()).into_uuid()
}

fn is_version_7(id: &Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}

fn unix_ms(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = "019ad0325a3c7f31a530000000000000";
    const TASK: &str = "019ad0325a3c7f31a53000000119b2c7";
    const FORMER_PART: &str = "0123456789abcdef";
    const FORMER_TASK: &str = "a3f0c1d2e3f405162738495a6b7c8d9eaf00112233445566778899aabbccddee";

    fn fingerprint(path: &str) -> Fingerprint {
        let request = FetchRequest::get_url(&format!("http://a.example/{path}")).unwrap();
        Fingerprint::of("run", "part", &request, 0)
    }

    fn key(part: Option<&str>, id: &str) -> String {
        Key::of_message("run", part, id, true).to_string()
    }

    #[test]
    fn the_keys_of_a_part_share_its_bits_and_sort_by_ordinal() {
        let part = PartId::new();
        let keys =
            [1, 2, 300, 1 << 20, u32::MAX].map(|ordinal| part.task(ordinal, &fingerprint("")));
        assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
        for key in keys {
            assert_eq!(key.to_string()[..19], part.to_string()[..19]);
            let uuid = Uuid::from_bytes(*key.as_bytes());
            assert!(is_version_7(&uuid), "{uuid}");
            let read = Key::of_message("any", Some(&part.to_string()), &key.to_string(), true);
            assert_eq!(read, key);
        }
        assert_eq!(PartId::parse(&part.to_string()), Some(part));
        let (one, other) = (part.task(1, &fingerprint("a")), part.task(1, &fingerprint("b")));
        assert_ne!(one, other, "two tasks at the same place");
    }

    #[test]
    fn a_message_is_our_own_only_with_its_part() {
        assert_eq!(key(Some(PART), TASK), TASK);
        // Another part by its time, and by its random bits; not a part; no part.
        for part in [
            "019ad0325a3d7f31a530000000000000",
            "019ad0325a3c7f31a540000000000000",
            TASK,
            "night",
            FORMER_PART,
            "",
        ] {
            assert_ne!(key(Some(part), TASK), TASK, "{part}");
        }
        assert_ne!(key(None, TASK), TASK);
        assert_ne!(Key::of_message("run", Some(PART), TASK, false).to_string(), TASK);
        // Other spellings of the same id are other ids.
        assert_ne!(key(Some(PART), &TASK.to_uppercase()), TASK);
    }

    #[test]
    fn a_message_of_an_earlier_release_keeps_the_leading_bytes_of_its_key() {
        let expected = format!("000000000000{}", &FORMER_TASK[..20]);
        assert_eq!(key(Some(FORMER_PART), FORMER_TASK), expected);
        for part in [None, Some("night"), Some(PART), Some("0123456789ABCDEF")] {
            assert_ne!(key(part, FORMER_TASK), expected, "{part:?}");
        }
        let (key, id) = fingerprint("a").former_identity();
        assert_eq!(Key::of_message("run", Some(FORMER_PART), &id, true), key);
    }

    #[test]
    fn an_id_of_another_program_counts_within_its_run_only() {
        let uuids = [
            "019ad032-5a3c-7f31-a530-00000119b2c7",
            "019AD032-5A3C-7F31-A530-00000119B2C7",
            "{019ad032-5a3c-7f31-a530-00000119b2c7}",
            TASK,
        ];
        for id in uuids {
            let [monday, tuesday] = ["mo", "tu"].map(|run| Key::of_other_program(run, id));
            assert_ne!(monday, tuesday, "{id}");
            // In the order of their time.
            assert_eq!(monday.to_string()[..12], TASK[..12], "{id}");
        }
        // Version 4, another variant, and times that are out of range; not a UUID.
        for id in [
            "019ad032-5a3c-4f31-a530-00000119b2c7",
            "019ad032-5a3c-7f31-c530-00000119b2c7",
            "ffffffff-ffff-7f31-a530-00000119b2c7",
            "00000000-00ff-7f31-a530-00000119b2c7",
            FORMER_TASK,
            "order-17",
            "017",
            "\u{e9}",
        ] {
            let [monday, tuesday] = ["mo", "tu"].map(|run| Key::of_other_program(run, id));
            assert_ne!(monday, tuesday, "{id}");
            assert_eq!(monday.as_bytes()[..TIME_BYTES], [0; TIME_BYTES], "{id}");
        }
        assert_ne!(Key::of_other_program("a", "bc"), Key::of_other_program("ab", "c"));
    }

    #[test]
    fn a_fingerprint_depends_on_each_field() {
        let request = FetchRequest::get_url("https://a.example/").unwrap();
        let of = |run, part, copy| Fingerprint::of(run, part, &request, copy).half();
        assert_eq!(of("run", "part", 0), of("run", "part", 0));
        assert_ne!(of("run", "part", 1), of("run", "part", 0));
        assert_ne!(of("runp", "art", 0), of("run", "part", 0));
    }
}
