//! PURE: encryption and check of older PKCS#12 archives, with the empty password: 3DES, RC2 of 40 bits, SHA-1. Source: RFC 7292,
//! appendices A to C. The algorithms are weak, but an archive without a password is not protected in any case.

use aws_lc_rs::{digest, hmac};
use des::TdesEde3;
use des::cipher::{Array, BlockCipherDecrypt, KeyInit as _, consts::U8};
use rc2::Rc2;

/// Bytes of a block of both ciphers.
const BLOCK: usize = 8;
/// Bytes of a block of SHA-1.
const CHUNK: usize = 64;
/// The most rounds that an archive may ask for.
pub(super) const MOST_ROUNDS: u32 = 5_000_000;
/// The empty password: two bytes that end it, or nothing at all. Programs differ.
const PASSWORDS: [&[u8]; 2] = [&[0, 0], &[]];

/// For what a key is derived.
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Salt and rounds of a derivation.
#[derive(Clone, Copy)]
pub struct Derivation<'a> {
    /// Salt.
    pub salt: &'a [u8],
    /// Number of rounds.
    pub rounds: u32,
}

impl Derivation<'_> {
    /// So many bytes for this purpose (appendix B.2).
    fn derive(self, password: &[u8], purpose: Purpose, length: usize) -> Vec<u8> {
        let filled = |bytes: &[u8]| -> Vec<u8> {
            let length = bytes.len().div_ceil(CHUNK) * CHUNK;
            bytes.iter().copied().cycle().take(length).collect()
        };
        let mut input = [filled(self.salt), filled(password)].concat();
        let mut derived = Vec::new();
        while derived.len() < length {
            let mut hash = sha1(&[&[purpose as u8; CHUNK], &input]);
            for _ in 1..self.rounds {
                hash = sha1(&[&hash]);
            }
            let added = filled(&hash);
            for chunk in input.chunks_mut(CHUNK) {
                // Both are numbers of 64 bytes, and one is added to the sum.
                let mut carry = 1_u16;
                for (byte, add) in chunk.iter_mut().zip(&added).rev() {
                    let [low, high] = (u16::from(*byte) + u16::from(*add) + carry).to_le_bytes();
                    (*byte, carry) = (low, u16::from(high));
                }
            }
            derived.extend_from_slice(&hash);
        }
        derived.truncate(length);
        derived
    }

    fn check(self) -> Result<Self, String> {
        if (1..=MOST_ROUNDS).contains(&self.rounds) {
            Ok(self)
        } else {
            Err(format!("it asks for {} rounds", self.rounds))
        }
    }
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// A cipher of such archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// `pbeWithSHAAnd3-KeyTripleDES-CBC`.
    TripleDes,
    /// `pbewithSHAAnd40BitRC2-CBC`.
    Rc2,
}

impl Cipher {
    /// Decrypts a text. `is_right`: whether these bytes can be what was encrypted.
    ///
    /// # Errors
    /// It has a password, or asks for too many rounds.
    pub fn decrypt(
        self,
        derivation: Derivation<'_>,
        text: &[u8],
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, String> {
        let derivation = derivation.check()?;
        let decrypted = PASSWORDS.into_iter().find_map(|password| {
            let iv = derivation.derive(password, Purpose::Iv, BLOCK);
            let plain = match self {
                Self::TripleDes => {
                    let key = derivation.derive(password, Purpose::Key, 24);
                    chained(&TdesEde3::new_from_slice(&key).ok()?, &iv, text)?
                }
                Self::Rc2 => {
                    let key = derivation.derive(password, Purpose::Key, 5);
                    chained(&Rc2::new_with_eff_key_len(&key, 40), &iv, text)?
                }
            };
            is_right(&plain).then_some(plain)
        });
        decrypted.ok_or_else(|| "it has a password".to_owned())
    }
}

/// Cipher block chaining, without the padding; `None` if the text or its padding has no legal length.
fn chained(cipher: &impl BlockCipherDecrypt<BlockSize = U8>, iv: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let mut before = iv.to_vec();
    let mut plain = Vec::with_capacity(text.len());
    for encrypted in text.chunks(BLOCK) {
        let mut block: Array<u8, U8> = Array::try_from(encrypted).ok()?;
        cipher.decrypt_block(&mut block);
        plain.extend(block.iter().zip(&before).map(|(byte, before)| byte ^ before));
        before = encrypted.to_vec();
    }
    let padding = usize::from(*plain.last()?);
    let length = plain
        .len()
        .checked_sub(padding)
        .filter(|_| (1..=BLOCK).contains(&padding))?;
    plain.truncate(length);
    Some(plain)
}

/// Checks the HMAC with SHA-1 of an archive.
///
/// # Errors
/// It has a password, or was changed.
pub fn check(derivation: Derivation<'_>, content: &[u8], expected: &[u8]) -> Result<(), String> {
    let derivation = derivation.check()?;
    let fits = |password: &&[u8]| {
        let key = derivation.derive(password, Purpose::Mac, 20);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        hmac::verify(&key, content, expected).is_ok()
    };
    if PASSWORDS.iter().any(fits) {
        Ok(())
    } else {
        Err("it has a password, or its checksum is wrong".to_owned())
    }
}
