//! Keys and certificates in a PKCS#12 file (PFX), with a password, an empty one, or none at all.
//!
//! Windows, .NET and Key Vault write files with a null password, from which the format's own derivation makes another key than from
//! an empty one. The file's MAC is not checked: what does not open with the password has no readable content, and a pair that fits
//! proves itself.
//!
//! <https://datatracker.ietf.org/doc/html/rfc7292>

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use pkcs5::pbes2;
use pkcs12::cms::cert::x509::der::asn1::{BmpString, ContextSpecific, ObjectIdentifier, OctetString};
use pkcs12::cms::cert::x509::der::{self, Any, Decode as _, Encode as _};
use pkcs12::cms::cert::x509::spki::AlgorithmIdentifierOwned;
use pkcs12::cms::encrypted_data::EncryptedData;
use pkcs12::kdf::{Pkcs12KeyType, derive_key};
use pkcs12::pbe_params::{EncryptedPrivateKeyInfo, Pkcs12PbeParams};
use pkcs12::pfx::Pfx;
use pkcs12::safe_bag::SafeContents;
use pkcs12::{
    AuthenticatedSafe, CertBag, PKCS_12_CERT_BAG_OID, PKCS_12_KEY_BAG_OID, PKCS_12_PBE_WITH_SHAAND3_KEY_TRIPLE_DES_CBC,
    PKCS_12_PBEWITH_SHAAND40_BIT_RC2_CBC, PKCS_12_PKCS8_KEY_BAG_OID,
};
use sha1::Sha1;

/// `id-encryptedData`
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");

/// `id-PBES2`
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");

/// More rounds than any tool makes; a file with more would keep the start waiting.
const MAX_ROUNDS: u32 = 10_000_000;

/// What a file holds, in DER.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Why there are no contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// It is not such a file.
    Malformed,
    /// It does not open with this password.
    Sealed,
    /// It is encrypted in a way that is not supported.
    Unsupported,
}

impl From<der::Error> for Error {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// Reads a file; without a password, the empty and the null password are tried.
pub(super) fn read(bytes: &[u8], password: Option<&str>) -> Result<Contents, Error> {
    let pfx = Pfx::from_der(bytes)?;
    let safes = OctetString::from_der(&pfx.auth_safe.content.to_der()?)?;
    let safes = AuthenticatedSafe::from_der(safes.as_bytes())?;
    match Password::new(password.unwrap_or_default())?.open(&safes) {
        Err(Error::Sealed) if password.is_none() => Password::NULL.open(&safes),
        contents => contents,
    }
}

/// A password in the two forms in which keys are derived from it.
struct Password<'a> {
    utf8: &'a [u8],
    /// UTF-16 in big endian with a terminator.
    utf16: Vec<u8>,
}

impl Password<'_> {
    const NULL: Self = Password { utf8: b"", utf16: Vec::new() };
}

impl<'a> Password<'a> {
    fn new(text: &'a str) -> Result<Self, Error> {
        let mut utf16 = Vec::from(BmpString::from_utf8(text).map_err(|_| Error::Sealed)?.into_bytes());
        utf16.extend([0, 0]);
        Ok(Self { utf8: text.as_bytes(), utf16 })
    }

    fn open(&self, safes: &AuthenticatedSafe<'_>) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        for safe in safes {
            let content = safe.content.to_der()?;
            let data = if safe.content_type == ENCRYPTED_DATA {
                let EncryptedData { enc_content_info: sealed, .. } = EncryptedData::from_der(&content)?;
                let data = sealed.encrypted_content.ok_or(Error::Malformed)?;
                self.decrypt(&sealed.content_enc_alg, data.as_bytes())?
            } else {
                OctetString::from_der(&content)?.into_bytes().to_vec()
            };
            // A wrong password passes the padding once in 256 times.
            let bags = SafeContents::from_der(&data).map_err(|_| Error::Sealed)?;
            for bag in bags {
                self.add(bag.bag_id, &bag.bag_value, &mut contents)?;
            }
        }
        Ok(contents)
    }

    fn add(&self, kind: ObjectIdentifier, bag: &[u8], contents: &mut Contents) -> Result<(), Error> {
        if kind == PKCS_12_KEY_BAG_OID {
            contents.keys.push(ContextSpecific::<Any>::from_der(bag)?.value.to_der()?);
        } else if kind == PKCS_12_PKCS8_KEY_BAG_OID {
            let sealed = ContextSpecific::<EncryptedPrivateKeyInfo>::from_der(bag)?.value;
            contents.keys.push(self.decrypt(&sealed.encryption_algorithm, sealed.encrypted_data.as_bytes())?);
        } else if kind == PKCS_12_CERT_BAG_OID {
            let certificate = ContextSpecific::<CertBag>::from_der(bag)?.value.cert_value;
            contents.certificates.push(certificate.into_bytes().to_vec());
        }
        Ok(())
    }

    fn decrypt(&self, algorithm: &AlgorithmIdentifierOwned, data: &[u8]) -> Result<Vec<u8>, Error> {
        let parameters = algorithm.parameters.as_ref().ok_or(Error::Malformed)?.to_der()?;
        match algorithm.oid {
            PBES2 => {
                let parameters = pbes2::Parameters::from_der(&parameters).map_err(|_| Error::Unsupported)?;
                let is_bounded = |kdf: &pbes2::Pbkdf2Params| kdf.iteration_count <= MAX_ROUNDS;
                if !parameters.kdf.pbkdf2().is_some_and(is_bounded) {
                    return Err(Error::Unsupported);
                }
                parameters.decrypt(self.utf8, data).map_err(|error| match error {
                    pkcs5::Error::DecryptFailed => Error::Sealed,
                    _ => Error::Unsupported,
                })
            }
            PKCS_12_PBE_WITH_SHAAND3_KEY_TRIPLE_DES_CBC => self.decrypt_with::<des::TdesEde3>(24, &parameters, data),
            PKCS_12_PBEWITH_SHAAND40_BIT_RC2_CBC => self.decrypt_with::<rc2::Rc2>(5, &parameters, data),
            _ => Err(Error::Unsupported),
        }
    }

    /// The older encryption, whose key of `length` bytes is derived as in appendix B.
    fn decrypt_with<C>(&self, length: usize, parameters: &[u8], data: &[u8]) -> Result<Vec<u8>, Error>
    where
        C: KeyInit + BlockCipherDecrypt,
    {
        let Pkcs12PbeParams { salt, iterations } = Pkcs12PbeParams::from_der(parameters)?;
        if !u32::try_from(iterations).is_ok_and(|rounds| rounds <= MAX_ROUNDS) {
            return Err(Error::Unsupported);
        }
        let derive = |kind, length| derive_key::<Sha1>(&self.utf16, salt.as_bytes(), kind, iterations, length);
        let (key, iv) = (derive(Pkcs12KeyType::EncryptionKey, length), derive(Pkcs12KeyType::Iv, 8));
        let cipher = cbc::Decryptor::<C>::new_from_slices(&key, &iv).map_err(|_| Error::Unsupported)?;
        cipher.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| Error::Sealed)
    }
}
