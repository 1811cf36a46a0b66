//! Gzip, the same bytes for the same body within one build of tintype: no name and no time in the header.

use std::io::Read as _;

use flate2::read::GzDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Measured with zlib-rs 0.6.8 on map JSON: 6 saves one percent of the bytes of 4 and takes 1.1 to 1.6 times as long, 9
/// saves two to six percent and takes 1.4 to 3.3 times as long, 3 costs up to three percent and saves up to a quarter.
const LEVEL: u32 = 4;
/// Deflate's largest window, 2¹⁵ bytes.
const WINDOW_BITS: u8 = 15;

/// A compressor that is used again for body after body: setting one up costs more than compressing a small body.
pub struct Gzip(Compress);

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip(Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS))
    }
}

impl Gzip {
    /// Compresses a body.
    pub fn compress(&mut self, body: &[u8]) -> Vec<u8> {
        self.0.reset();
        // zlib refuses only a state that is broken, which no body can bring about. A document is still a document then.
        self.deflate(body).unwrap_or_else(|| {
            *self = Gzip::default();
            stored(body)
        })
    }

    /// `None` if zlib doesn't come to an end, which waiting or more room wouldn't change.
    fn deflate(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len() / 4 + 128);
        loop {
            let before = (self.0.total_in(), self.0.total_out());
            let rest = body.get(usize::try_from(before.0).ok()?..)?;
            match self.0.compress_vec(rest, &mut out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return Some(out),
                Ok(Status::Ok | Status::BufError) if before != (self.0.total_in(), self.0.total_out()) => {
                    out.reserve(out.capacity().max(1024));
                }
                Ok(Status::Ok | Status::BufError) | Err(_) => return None,
            }
        }
    }
}

/// Gzip without compression: blocks of up to 65,535 bytes, each behind its length and the length's complement.
fn stored(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut rest = body;
    loop {
        let (block, after) = rest.split_at(rest.len().min(usize::from(u16::MAX)));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(after.is_empty()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    let mut crc = Crc::new();
    crc.update(body);
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
    out
}

/// Uncompresses what [`Gzip::compress`] made, up to `limit` bytes.
pub fn gunzip(bytes: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let read = GzDecoder::new(bytes).take(limit + 1).read_to_end(&mut body)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(std::io::Error::other(format!("it unpacks to more than {limit} bytes")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_says_nothing_volatile() {
        let bytes = Gzip::default().compress(b"{}");
        assert_eq!(bytes[..3], [0x1f, 0x8b, 8]);
        assert_eq!(bytes[3..8], [0, 0, 0, 0, 0], "flags and modification time are zero");
    }

    #[test]
    fn a_compressor_that_refuses_ends() {
        let mut gzip = Gzip::default();
        gzip.deflate(b"{}").unwrap();
        // The stream has ended, so zlib takes nothing more.
        assert_eq!(gzip.deflate(b"{\"longer\":true}"), None);
        assert_eq!(gzip.compress(b"{}"), Gzip::default().compress(b"{}"));
    }

    #[test]
    fn what_is_stored_unpacks() {
        for length in [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000] {
            let body: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            assert_eq!(gunzip(&stored(&body), 1 << 20).unwrap(), body, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn there_and_back_whatever_was_compressed_before(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..5)) {
            let mut gzip = Gzip::default();
            for body in bodies {
                let first = gzip.compress(&body);
                prop_assert_eq!(gunzip(&first, 10_000).unwrap(), body.clone());
                prop_assert_eq!(Gzip::default().compress(&body), first);
            }
        }
    }
}
