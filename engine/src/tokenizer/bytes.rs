//! The byte alphabet of GPT-2: every byte has a printable character that spells it.

/// Bytes that spell themselves: printable ASCII and printable Latin-1.
fn spells_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that spells each byte: itself, or one from U+0100 on in the order of the bytes
/// that do not.
pub(crate) fn alphabet() -> [char; 256] {
    let mut next = 0x100_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if spells_itself(byte) {
            return char::from(byte);
        }
        let spelled = char::from_u32(next).expect("U+0100 to U+0143 are characters");
        next += 1;
        spelled
    })
}

/// The byte that a character spells.
pub(super) fn byte_of(alphabet: &[char; 256], spelled: char) -> Option<u8> {
    // 68 bytes do not spell themselves, so the alphabet ends at U+0143.
    let in_place = u8::try_from(u32::from(spelled))
        .ok()
        .filter(|byte| spells_itself(*byte));
    in_place.or_else(|| {
        alphabet
            .iter()
            .position(|it| *it == spelled)
            .map(|byte| byte as u8)
    })
}
