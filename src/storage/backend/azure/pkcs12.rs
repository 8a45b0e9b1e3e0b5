//! PURE: key and certificates of a PKCS#12 archive without a password. Sources: RFC 7292 (PKCS#12), RFC 8018 (PBES2), X.690
//! (DER).
//!
//! Archives are not encrypted at all, or under the empty password: with PBES2 (AES-256-CBC), as current tools write them, or with
//! 3DES or RC2 of 40 bits, as older ones did. Others are refused by name.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;

use super::pbe::{self, Cipher, Derivation, MOST_ROUNDS};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const INTEGER: u8 = 0x02;
/// `[0] EXPLICIT`, and `[0] IMPLICIT` of a text.
const TAGGED: u8 = 0xa0;
const TAGGED_TEXT: u8 = 0x80;

/// pkcs7-data.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// pkcs7-encryptedData.
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// PBES2.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
/// hmacWithSHA256.
const SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
/// aes256-CBC-PAD.
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
/// pkcs-12PbeIds; the last digit tells the cipher.
const PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
/// SHA-1.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// bagtypes of PKCS#12: keyBag, pkcs8ShroudedKeyBag, certBag have these last digits.
const BAGS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];

/// A key (PKCS#8) and certificates, in DER.
pub type Content = (Vec<u8>, Vec<Vec<u8>>);

/// One element: its tag and content.
type Element<'a> = (u8, &'a [u8]);

/// The elements of a content.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Element<'a>, String> {
        let cut = || "it ends early".to_owned();
        let (&tag, rest) = self.0.split_first().ok_or_else(cut)?;
        let (&first, mut rest) = rest.split_first().ok_or_else(cut)?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return Err("a length is not definite".to_owned());
            }
            let (digits, after) = rest.split_at_checked(count).ok_or_else(cut)?;
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        };
        let (content, after) = rest.split_at_checked(length).ok_or_else(cut)?;
        self.0 = after;
        Ok((tag, content))
    }

    fn expect(&mut self, wanted: u8) -> Result<&'a [u8], String> {
        match self.next()? {
            (tag, content) if tag == wanted => Ok(content),
            (tag, _) => Err(format!("an element has tag {tag:#04x}, not {wanted:#04x}")),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether these bytes are one sequence.
fn is_sequence(bytes: &[u8]) -> bool {
    let mut reader = Reader(bytes);
    reader.expect(SEQUENCE).is_ok() && reader.is_empty()
}

fn number(digits: &[u8]) -> u32 {
    let digits = digits.iter();
    digits.fold(0_u32, |number, digit| {
        number.saturating_mul(256).saturating_add(u32::from(*digit))
    })
}

/// Checks the checksum of an archive, if it is one of SHA-1. Later ones are left out: whoever could change the archive could also
/// replace it.
fn check(archive: &mut Reader<'_>, content: &[u8]) -> Result<(), String> {
    if archive.is_empty() {
        return Ok(());
    }
    let mut mac = Reader(archive.expect(SEQUENCE)?);
    let mut digest = Reader(mac.expect(SEQUENCE)?);
    if inside(SEQUENCE, digest.0)?.expect(OBJECT)? != SHA1 {
        return Ok(());
    }
    digest.expect(SEQUENCE)?;
    let expected = digest.expect(OCTETS)?;
    let salt = mac.expect(OCTETS)?;
    let rounds = if mac.is_empty() {
        1
    } else {
        number(mac.expect(INTEGER)?)
    };
    pbe::check(Derivation { salt, rounds }, content, expected)
}

fn inside(tag: u8, bytes: &[u8]) -> Result<Reader<'_>, String> {
    Ok(Reader(Reader(bytes).expect(tag)?))
}

/// Key and certificates of an archive. The certificate of the key comes first.
///
/// # Errors
/// Why the archive cannot be used.
pub fn parse(bytes: &[u8]) -> Result<Content, String> {
    let mut archive = inside(SEQUENCE, bytes)?;
    archive.expect(INTEGER)?;
    let mut content = Reader(archive.expect(SEQUENCE)?);
    if content.expect(OBJECT)? != DATA {
        return Err("it is signed with a certificate, not with a password".to_owned());
    }
    let safe = inside(OCTETS, content.expect(TAGGED)?)?;
    check(&mut archive, safe.0)?;
    let mut parts = inside(SEQUENCE, safe.0)?;
    let mut found = Bags::default();
    while !parts.is_empty() {
        let mut part = Reader(parts.expect(SEQUENCE)?);
        let kind = part.expect(OBJECT)?;
        let tagged = part.expect(TAGGED)?;
        if kind == DATA {
            found.read(Reader(tagged).expect(OCTETS)?)?;
        } else if kind == ENCRYPTED_DATA {
            found.read(&encrypted_data(tagged)?)?;
        } else {
            return Err("a part is encrypted for a recipient".to_owned());
        }
    }
    found.content()
}

/// The certificates and the key, each with its `localKeyID`.
#[derive(Default)]
struct Bags {
    key: Option<(Vec<u8>, Vec<u8>)>,
    certificates: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Bags {
    fn read(&mut self, safe: &[u8]) -> Result<(), String> {
        let mut bags = inside(SEQUENCE, safe)?;
        while !bags.is_empty() {
            let mut bag = Reader(bags.expect(SEQUENCE)?);
            let kind = bag.expect(OBJECT)?;
            let value = bag.expect(TAGGED)?;
            let id = if bag.is_empty() {
                Vec::new()
            } else {
                bag.expect(SET)?.to_vec()
            };
            let last = kind.strip_prefix(BAGS).and_then(|rest| rest.first());
            match last {
                Some(1) => self.key = Some((value.to_vec(), local_id(&id))),
                Some(2) => {
                    let mut info = inside(SEQUENCE, value)?;
                    let algorithm = info.expect(SEQUENCE)?;
                    let key = decrypted(algorithm, info.expect(OCTETS)?)?;
                    self.key = Some((key, local_id(&id)));
                }
                Some(3) => {
                    let mut certificate = inside(SEQUENCE, value)?;
                    certificate.expect(OBJECT)?;
                    let der = Reader(certificate.expect(TAGGED)?).expect(OCTETS)?;
                    self.certificates.push((der.to_vec(), local_id(&id)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn content(self) -> Result<Content, String> {
        let (key, id) = self.key.ok_or("it holds no private key")?;
        let mut certificates = self.certificates;
        // A stable sort: the issuers keep their order.
        certificates.sort_by_key(|(_, of)| id.is_empty() || *of != id);
        Ok((key, certificates.into_iter().map(|(der, _)| der).collect()))
    }
}

/// The attribute `localKeyID`, which is the same for a key and its certificate; empty without one.
fn local_id(attributes: &[u8]) -> Vec<u8> {
    const LOCAL_KEY_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
    let mut attributes = Reader(attributes);
    while let Ok(attribute) = attributes.expect(SEQUENCE) {
        let mut attribute = Reader(attribute);
        if attribute.expect(OBJECT) == Ok(LOCAL_KEY_ID) {
            return attribute.expect(SET).unwrap_or_default().to_vec();
        }
    }
    Vec::new()
}

fn encrypted_data(tagged: &[u8]) -> Result<Vec<u8>, String> {
    let mut data = inside(SEQUENCE, tagged)?;
    data.expect(INTEGER)?;
    let mut info = Reader(data.expect(SEQUENCE)?);
    info.expect(OBJECT)?;
    let algorithm = info.expect(SEQUENCE)?;
    decrypted(algorithm, info.expect(TAGGED_TEXT)?)
}

/// Decrypts a text with the empty password.
fn decrypted(algorithm: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    let legacy = || "it is encrypted with an old algorithm: export it with AES-256 and SHA-256, or as PEM".to_owned();
    let mut algorithm = Reader(algorithm);
    let kind = algorithm.expect(OBJECT)?;
    let cipher = match kind.strip_prefix(PBE) {
        Some([3]) => Some(Cipher::TripleDes),
        Some([6]) => Some(Cipher::Rc2),
        _ => None,
    };
    if let Some(cipher) = cipher {
        let mut parameters = Reader(algorithm.expect(SEQUENCE)?);
        let salt = parameters.expect(OCTETS)?;
        let rounds = number(parameters.expect(INTEGER)?);
        return cipher.decrypt(Derivation { salt, rounds }, text, is_sequence);
    }
    if kind != PBES2 {
        return Err(legacy());
    }
    let mut parameters = Reader(algorithm.expect(SEQUENCE)?);
    let mut derivation = Reader(parameters.expect(SEQUENCE)?);
    derivation.expect(OBJECT)?;
    let mut derivation = Reader(derivation.expect(SEQUENCE)?);
    let salt = derivation.expect(OCTETS)?;
    let iterations = number(derivation.expect(INTEGER)?);
    let mut function = Vec::new();
    while !derivation.is_empty() {
        let (tag, content) = derivation.next()?;
        if tag == SEQUENCE {
            function = Reader(content).expect(OBJECT)?.to_vec();
        }
    }
    let mut cipher = Reader(parameters.expect(SEQUENCE)?);
    if cipher.expect(OBJECT)? != AES_256_CBC || function != SHA256 {
        return Err(legacy());
    }
    let iv: [u8; 16] = cipher
        .expect(OCTETS)?
        .try_into()
        .map_err(|_| "its IV is not 16 bytes".to_owned())?;
    if !(1..=MOST_ROUNDS).contains(&iterations) {
        return Err(format!("it asks for {iterations} rounds"));
    }
    let iterations = NonZeroU32::new(iterations).ok_or("it has no iterations")?;
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, b"", &mut key);
    let wrong = || "it has a password".to_owned();
    let key = UnboundCipherKey::new(&AES_256, &key).map_err(|_| wrong())?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| wrong())?;
    let mut text = text.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plain = key.decrypt(&mut text, context).map_err(|_| wrong())?;
    Ok(plain.to_vec())
}
