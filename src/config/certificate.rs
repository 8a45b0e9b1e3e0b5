//! Reads validity and use of an X.509 certificate from its DER encoding. Source: RFC 5280, section 4.1.
//!
//! The TLS library checks a certificate only together with the one that signed it.

use jiff::civil;
use jiff::tz::TimeZone;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The optional version, the first field.
const VERSION: u8 = 0xa0;
/// The extensions.
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 2.5.29.37.0
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// Fields of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Start of the validity, in seconds since 1970.
    pub not_before: i64,
    /// End of the validity, included, in seconds since 1970.
    pub not_after: i64,
    /// Whether the extended key usage permits TLS servers. Without that extension every use is permitted.
    pub serves: bool,
    /// Whether the certificate has the CA flag.
    pub is_ca: bool,
}

impl Certificate {
    /// Reads the first certificate of PEM text; `None` if there is none or it is malformed.
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
        Self::read(&der)
    }

    /// Reads a certificate; `None` if it is malformed.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
        let mut fields = Reader(certificate.expect(SEQUENCE)?);
        let (mut tag, _) = fields.next()?;
        if tag == VERSION {
            (tag, _) = fields.next()?;
        }
        // Now at the serial number; signature and issuer follow.
        (tag != SEQUENCE).then_some(())?;
        fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let mut read = Self {
            not_before: validity.time()?,
            not_after: validity.time()?,
            serves: true,
            is_ca: false,
        };
        for (tag, content) in fields {
            if tag == EXTENSIONS {
                read.read_extensions(Reader(Reader(content).expect(SEQUENCE)?))?;
            }
        }
        Some(read)
    }

    fn read_extensions(&mut self, mut extensions: Reader<'_>) -> Option<()> {
        while let Some((SEQUENCE, extension)) = extensions.next() {
            let mut extension = Reader(extension);
            let id = extension.expect(OBJECT_ID)?;
            let (mut tag, mut value) = extension.next()?;
            if tag == BOOLEAN {
                (tag, value) = extension.next()?; // It was the flag "critical".
            }
            (tag == OCTET_STRING).then_some(())?;
            let inside = || Reader(value).expect(SEQUENCE).map(Reader);
            match id {
                BASIC_CONSTRAINTS => self.is_ca = matches!(inside()?.next(), Some((BOOLEAN, [flag])) if *flag != 0),
                EXTENDED_KEY_USAGE => self.serves = inside()?.any(|(_, id)| id == SERVER_AUTH || id == ANY_USAGE),
                _ => {}
            }
        }
        Some(())
    }
}

/// Reads values of DER one after another.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next value, which must have this tag.
    fn expect(&mut self, expected: u8) -> Option<&'a [u8]> {
        self.next()
            .and_then(|(tag, content)| (tag == expected).then_some(content))
    }

    /// The next value as a time, in seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let (tag, content) = self.next()?;
        let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let text = match tag {
            // Years from 1950 to 2049.
            UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let time = civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u8, &'a [u8]);

    /// Tag and content of the next value; `None` at the end, and if the value is malformed.
    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short if short < 0x80 => (short, rest),
            // At most 3 bytes: no certificate is larger than 16 MiB.
            long @ 0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                (
                    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}
