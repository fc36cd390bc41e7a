//! Writing PEM (RFC 7468), so that a key's text can be wiped from memory.
//!
//! Reading is left to `rustls-pki-types`.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bytes that make one line of 64 characters.
const LINE: usize = 48;

/// Appends one block.
pub(crate) fn append(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(LINE) {
        line.chunks(3).for_each(|three| append_three(text, three));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

/// One block that is wiped when it is dropped.
pub(crate) fn secret(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Growing would leave pieces of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(der.len() * 2 + 2 * label.len() + 64));
    append(&mut text, label, der);
    text
}

fn append_three(text: &mut String, bytes: &[u8]) {
    let byte = |index: usize| u32::from(bytes.get(index).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for index in 0..4 {
        if index <= bytes.len() {
            let six = bits >> (18 - 6 * index) & 63;
            text.push(char::from(ALPHABET[six as usize]));
        } else {
            text.push('=');
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37) ^ length).collect();
            let text = secret("CERTIFICATE", &der);
            assert!(text.len() <= text.capacity());
            let read = CertificateDer::from_pem_slice(text.as_bytes()).expect("one block");
            assert_eq!(read.as_ref(), der, "{}", *text);
        }
    }

    #[test]
    fn a_secret_is_written_without_growing() {
        for length in [0, 1, 47, 48, 49, 121, 138, 1200, 2400] {
            let text = secret("RSA PRIVATE KEY", &vec![255; length]);
            assert!(text.capacity() < length * 2 + 2 * 15 + 65, "it was grown at {length}");
        }
    }
}
