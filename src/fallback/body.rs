//! The body of a response: bytes as they are, or a large document that is unpacked while it is sent.
//!
//! A client that can't unpack gets the plain body. Whoever asks for a large one and then reads nothing would hold all of
//! it in memory, once for each connection, so it is unpacked by pieces, as fast as the client takes them.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use flate2::read::GzDecoder;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// Bytes.
    Whole(Full<Bytes>),
    /// A document that is unpacked on the way.
    Unpacked(Box<Unpacked>),
}

/// A gzipped document, as much of it as wasn't sent yet.
#[derive(Debug)]
pub struct Unpacked {
    decoder: GzDecoder<Reader<Bytes>>,
    /// Bytes that are still to come, as the end of the gzipped document says.
    left: u64,
}

impl Default for Body {
    fn default() -> Body {
        Body::Whole(Full::default())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::Whole(Full::new(bytes))
    }
}

impl Body {
    /// The plain body of a gzipped document. A small one is unpacked here, so that damage is noticed before the head of
    /// the response is sent; damage of a large one breaks the connection off.
    pub fn unpacked(gzip: &Bytes) -> io::Result<Body> {
        // The last four bytes are the length, which is below 4 GiB for every document.
        let length = gzip.last_chunk::<4>().map(|end| u64::from(u32::from_le_bytes(*end)));
        let left = length.ok_or_else(|| io::Error::other("it ends before its beginning"))?;
        let mut unpacked = Unpacked { decoder: GzDecoder::new(gzip.clone().reader()), left };
        if left > PIECE as u64 {
            return Ok(Body::Unpacked(Box::new(unpacked)));
        }
        Ok(Body::from(unpacked.piece()?))
    }
}

impl Unpacked {
    /// The next piece; the last one only if the document's checksum is right.
    fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        self.decoder.read_exact(&mut piece)?;
        self.left -= piece.len() as u64;
        if self.left == 0 && self.decoder.read(&mut [0])? > 0 {
            return Err(io::Error::other("it is longer than it says"));
        }
        Ok(piece.into())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Body::Unpacked(unpacked) if unpacked.left == 0 => Poll::Ready(None),
            Body::Unpacked(unpacked) => Poll::Ready(Some(unpacked.piece().map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(whole) => whole.is_end_stream(),
            Body::Unpacked(unpacked) => unpacked.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Unpacked(unpacked) => SizeHint::with_exact(unpacked.left),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    use super::*;
    use crate::snapshot::Gzip;

    fn packed(length: usize) -> (Vec<u8>, Bytes) {
        let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let gzip = Gzip::default().compress(&plain).into();
        (plain, gzip)
    }

    #[tokio::test]
    async fn what_was_packed_comes_out_by_pieces() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7] {
            let (plain, gzip) = packed(length);
            let body = Body::unpacked(&gzip).unwrap();
            assert_eq!(matches!(body, Body::Unpacked(_)), length > PIECE);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            assert_eq!(body.collect().await.unwrap().to_bytes(), plain, "{length}");
        }
    }

    #[tokio::test]
    async fn damage_is_noticed_before_the_last_piece() {
        for length in [100, 3 * PIECE] {
            let (_, gzip) = packed(length);
            for at in [gzip.len() - 8, gzip.len() - 4, gzip.len() / 2] {
                let mut damaged = gzip.to_vec();
                damaged[at] ^= 1;
                let Ok(mut body) = Body::unpacked(&damaged.into()) else { continue };
                let (announced, mut came) = (body.size_hint().exact().unwrap(), 0);
                let failed = loop {
                    match body.frame().await {
                        Some(Ok(frame)) => came += frame.into_data().unwrap().len() as u64,
                        Some(Err(_)) => break true,
                        None => break false,
                    }
                };
                assert!(failed && came < announced, "{length}: {came} bytes came, byte {at} is another");
            }
            assert!(Body::unpacked(&gzip.slice(..3)).is_err());
        }
    }
}
