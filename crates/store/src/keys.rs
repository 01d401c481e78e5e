//! What the database relies on in the keys of tasks. `Key` and `PartId` of the crate
//! `fetchline-queue` define them.

use std::fmt::Write;

/// The bits of a key that distinguish the tasks of a part.
const TASK_BITS: u32 = 52;
const TASK_MASK: u128 = (1 << TASK_BITS) - 1;

/// The first and the last key that a task of this part can have; `None` if the keys of the part do
/// not lie together, because another program or an earlier release began it.
pub(crate) fn keys_of_part(part: &str) -> Option<([u8; 16], [u8; 16])> {
    let is_hex = part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = u128::from_str_radix(part, 16).ok().filter(|_| is_hex)?;
    let is_part = first & TASK_MASK == 0 && is_version_7(first);
    is_part.then(|| (first.to_be_bytes(), (first | TASK_MASK).to_be_bytes()))
}

/// The part that a key names if its task is one of fetchline's own. The key of another task can
/// look alike, so the part may not exist.
pub(crate) fn part_of_key(key: [u8; 16]) -> Option<String> {
    let first = u128::from_be_bytes(key) & !TASK_MASK;
    is_version_7(first).then(|| {
        let mut part = String::with_capacity(32);
        // Writing to a string does not fail.
        _ = write!(part, "{first:032x}");
        part
    })
}

/// Whether the bits for version and variant are those of a `UUIDv7`.
fn is_version_7(key: u128) -> bool {
    key >> 76 & 0xf == 7 && key >> 62 & 0b11 == 0b10
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = "019ad0325a3c7f31a530000000000000";

    #[test]
    fn a_part_and_its_keys_name_each_other() {
        let (first, last) = keys_of_part(PART).unwrap();
        assert!(first < last);
        for key in [first, last] {
            assert_eq!(part_of_key(key).as_deref(), Some(PART));
        }
        for other in ["0123456789abcdef", "p1", "", "019ad0325a3c7f31a530000000000001"] {
            assert_eq!(keys_of_part(other), None, "{other}");
        }
        assert_eq!(part_of_key([7; 16]), None);
    }
}
