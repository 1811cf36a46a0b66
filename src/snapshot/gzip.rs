//! Gzip, the same bytes for the same body within one build of tintype: no name and no time in the header.
//!
//! A body is there as a whole before it is compressed, which is what libdeflate is made for: it takes half as long as
//! zlib for as few bytes. What comes in a stream (lists, and whatever is read) goes through flate2.

use std::io::Read as _;

use flate2::Crc;
use flate2::read::GzDecoder;
use libdeflater::{CompressionLvl, Compressor};

/// Bodies up to this many bytes are compressed at [`SMALL`]'s level.
///
/// Measured with libdeflate 1.26 and zlib-rs 0.6.8 on map JSON. Bodies of 1.3 KB: level 1 takes half the time of zlib's
/// level 4 for as many bytes. Of 10 KB and more: level 6 takes 1.0 to 1.3 times as long as zlib's level 4 and saves 6 to
/// 17 percent of its bytes.
const SMALL_BYTES: usize = 4096;
/// The level of small bodies.
const SMALL: i32 = 1;
/// The level of all others.
const LARGE: i32 = 6;
/// Room up to this many bytes is kept for the next body.
const KEPT_BYTES: usize = 64 * 1024;

/// A compressor that is used again for body after body: setting one up costs more than compressing a small body.
pub struct Gzip {
    small: Compressor,
    large: Compressor,
    room: Vec<u8>,
}

impl Default for Gzip {
    fn default() -> Gzip {
        let compressor = |level| Compressor::new(CompressionLvl::new(level).unwrap_or_default());
        Gzip { small: compressor(SMALL), large: compressor(LARGE), room: Vec::new() }
    }
}

impl Gzip {
    /// Compresses a body.
    pub fn compress(&mut self, body: &[u8]) -> Vec<u8> {
        let compressor = if body.len() <= SMALL_BYTES { &mut self.small } else { &mut self.large };
        let most = compressor.gzip_compress_bound(body.len());
        if self.room.len() < most {
            // Zeros that are asked for as a whole cost nothing before they are written over.
            self.room = vec![0; most];
        }
        let bytes = match compressor.gzip_compress(body, &mut self.room) {
            Ok(length) => self.room[..length].to_vec(),
            // There is room for whatever may become of the body. If there weren't, a document is a document all the same.
            Err(_) => stored(body),
        };
        if self.room.len() > KEPT_BYTES {
            self.room = Vec::new();
        }
        bytes
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
    fn what_is_stored_unpacks() {
        for length in [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000] {
            let body: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            assert_eq!(gunzip(&stored(&body), 1 << 20).unwrap(), body, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn there_and_back_whatever_was_compressed_before(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..5)) {
            let mut gzip = Gzip::default();
            for body in bodies {
                let first = gzip.compress(&body);
                prop_assert_eq!(gunzip(&first, 20_000).unwrap(), body.clone());
                prop_assert_eq!(Gzip::default().compress(&body), first);
            }
        }
    }
}
