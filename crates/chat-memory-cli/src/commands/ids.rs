//! Session ids that not every store accepts.

use chat_memory::{Error, SessionId};
use uuid::Uuid;

/// The UUIDv5 namespace for the digits that distinguish derived ids.
const DERIVED: Uuid = Uuid::from_u128(0x2f8a_91d4_0b6c_4c37_a5e0_7d13_c9b2_4e86);

/// How many bytes of an id stay readable in the one derived from it.
const READABLE: usize = 200;

/// Derives an id that every store accepts from a refused one: invalid characters become `%XX`, and eight digits distinguish it from
/// all others. The same id always gives the same result.
///
/// # Errors
/// None that a caller could cause.
pub fn readable_id(refused: &str) -> Result<SessionId, Error> {
    let mut readable = String::new();
    for (place, c) in refused.chars().enumerate() {
        // A prefix reserved for our own partitions ends in this character.
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
    fn refused_ids_map_to_distinct_readable_ids() {
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
