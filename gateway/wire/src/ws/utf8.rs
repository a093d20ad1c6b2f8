//! Text that arrives in pieces, checked as it comes: a piece may end inside a character.

/// The bytes so far cannot become UTF-8, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("text is not UTF-8")]
pub struct NotUtf8;

/// Text so far, and the beginning of a character whose rest has not come. Each byte is looked at once.
#[derive(Debug, Default)]
pub struct Utf8Text {
    text: String,
    /// The first bytes of a character, at most three.
    begun: [u8; 4],
    begun_bytes: usize,
}

impl Utf8Text {
    /// Takes the next piece. Fails at the first byte that no text could have there.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.begun_bytes > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            self.begun[self.begun_bytes] = byte;
            self.begun_bytes += 1;
            piece = rest;
            match std::str::from_utf8(&self.begun[..self.begun_bytes]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.begun_bytes = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        match std::str::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_none() => {
                let (whole, begun) = piece.split_at(error.valid_up_to());
                self.text.push_str(std::str::from_utf8(whole).map_err(|_| NotUtf8)?);
                self.begun[..begun.len()].copy_from_slice(begun);
                self.begun_bytes = begun.len();
            }
            Err(_) => return Err(NotUtf8),
        }
        Ok(())
    }

    /// All of it; `None` if the last character is not complete.
    pub fn whole(&self) -> Option<&str> {
        (self.begun_bytes == 0).then_some(&*self.text)
    }

    /// Length so far, bytes.
    pub fn len(&self) -> usize {
        self.text.len() + self.begun_bytes
    }

    /// Nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where the check fails when fed byte by byte; `None`: it is text.
    fn fails_at(bytes: &[u8]) -> Option<usize> {
        let mut text = Utf8Text::default();
        for (at, byte) in bytes.iter().enumerate() {
            if text.push(&[*byte]).is_err() {
                return Some(at);
            }
        }
        text.whole().is_none().then_some(bytes.len())
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        for (bytes, at) in [
            (&b"\xce\xba\xe1\xbd\xb9\xcf\x83"[..], None),
            (b"ab\xff", Some(2)),
            // A surrogate, an overlong form and a number above U+10FFFF: the second byte gives them away.
            (b"\xed\xa0\x80", Some(1)),
            (b"\xe0\x80\x80", Some(1)),
            (b"\xf4\x90\x80\x80", Some(1)),
            (b"\xc0\xaf", Some(0)),
            (b"\xf0\x9f\x98", Some(3)),
        ] {
            assert_eq!(fails_at(bytes), at, "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            bytes in prop_oneof![
                "\\PC{0,40}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..12),
            ],
            cuts in prop::collection::vec(0usize..5, 0..40),
        ) {
            let mut text = Utf8Text::default();
            let (mut rest, mut failed) = (&bytes[..], false);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                failed |= text.push(piece).is_err();
                rest = after;
                if failed { break }
            }
            failed = failed || text.push(rest).is_err() || text.whole().is_none();
            prop_assert_eq!(failed, std::str::from_utf8(&bytes).is_err());
            if !failed {
                prop_assert_eq!(text.whole().map(str::as_bytes), Some(&bytes[..]));
                prop_assert_eq!(text.len(), bytes.len());
            }
        }
    }
}
