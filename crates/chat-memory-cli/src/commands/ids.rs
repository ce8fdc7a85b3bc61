//! Ids of sessions that not every store takes.

use chat_memory::{Error, SessionId};
use uuid::Uuid;

/// The namespace (in UUIDv5's sense) of what tells derived ids apart.
const DERIVED: Uuid = Uuid::from_u128(0x2f8a_91d4_0b6c_4c37_a5e0_7d13_c9b2_4e86);

/// How much of an id stays readable in the one that is made of it, in bytes.
const READABLE: usize = 200;

/// An id that every store takes, made of one that is refused: what is wrong in it is written out as `%XX`, and eight digits keep it apart
/// from all others. The same id always gives the same.
///
/// # Errors
/// None that a caller could cause.
pub fn readable_id(refused: &str) -> Result<SessionId, Error> {
    let mut readable = String::new();
    for (place, c) in refused.chars().enumerate() {
        // A prefix that is kept for partitions of our own ends in this character.
        let is_reserved = c == '#' && place <= 3;
        if c.is_control() || is_reserved {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| readable.push_str(&format!("%{byte:02X}")));
        } else {
            readable.push(c);
        }
        if readable.len() >= READABLE {
            readable.push('…');
            break;
        }
    }
    let digits = Uuid::new_v5(&DERIVED, refused.as_bytes()).simple().to_string();
    SessionId::new(format!("{readable}~{}", &digits[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_id_becomes_a_readable_one_and_each_its_own() {
        let long = "ä".repeat(600);
        let refused = ["a\nb", "a\tb", "", "ns#a", "dir#a", "a\u{9b}", &long];
        let made: Vec<String> = refused.iter().map(|id| readable_id(id).expect("an id").to_string()).collect();
        assert!(made[0].starts_with("a%0Ab~") && made[2].starts_with('~') && made[3].starts_with("ns%23a~"), "{made:?}");
        assert!(made[4].starts_with("dir%23a~") && made[5].starts_with("a%C2%9B~") && made[6].len() < 250, "{made:?}");
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), refused.len());
        assert_eq!(readable_id("a\nb").expect("an id").as_str(), made[0], "the same again");
    }
}
