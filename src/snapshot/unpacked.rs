//! A document read back: its body, if that is what it should be.

use super::{Digest, gunzip};

/// Largest body that is read back. None is ever published that is larger: sizes are kept in 32 bits, and `max_size` is
/// far below.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// The body of a gzipped document, which is the one with this digest where that is known. An error completes "the
/// document …".
pub fn unpacked(gzip: &[u8], digest: Option<&Digest>) -> Result<Vec<u8>, String> {
    let body = gunzip(gzip, MAX_BODY_BYTES).map_err(|error| format!("isn't valid gzip: {error}"))?;
    match digest {
        Some(digest) if Digest::of(&body) != *digest => Err(format!("has another body than the one of {digest}")),
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Gzip;

    #[test]
    fn a_body_is_what_its_digest_says() {
        let (body, gzip) = (b"{}".to_vec(), Gzip::default().compress(b"{}"));
        assert_eq!(unpacked(&gzip, None), Ok(body.clone()));
        assert_eq!(unpacked(&gzip, Some(&Digest::of(&body))), Ok(body));
        assert!(unpacked(&gzip, Some(&Digest::of(b"[]"))).unwrap_err().contains("another body"));
        assert!(unpacked(b"{}", None).unwrap_err().contains("gzip"));
    }
}
