//! Gzipped lists, line by line.
//!
//! Of a long list one thread inflates a block while the other one reads the lines of the block before; the blocks are
//! few and small, so that a list takes no more memory than its gzipped bytes.

use std::io::{self, Cursor, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use flate2::bufread::GzDecoder;

/// Bytes from which on a gzipped list is long: below, a thread costs more than it saves.
const LONG: usize = 256 * 1024;
/// Bytes of a block, as long as no line is longer.
const BLOCK: usize = 256 * 1024;
/// How many blocks lie ready.
const AHEAD: usize = 2;

/// Whether it takes so long to read that nobody else should have to wait for it.
pub fn is_long(gzipped: &[u8]) -> bool {
    gzipped.len() >= LONG
}

/// The lines of a gzipped list.
pub struct Lines {
    blocks: Blocks,
    block: String,
    at: usize,
}

/// Where the blocks come from.
enum Blocks {
    Here(Box<Inflater>),
    Beside(Receiver<io::Result<String>>),
}

impl Lines {
    /// Begins to read.
    pub fn of(gzipped: Vec<u8>) -> Lines {
        let long = is_long(&gzipped);
        let inflater = Inflater { reader: GzDecoder::new(Cursor::new(gzipped)), rest: Vec::new() };
        let blocks = if long { beside(inflater) } else { Blocks::Here(Box::new(inflater)) };
        Lines { blocks, block: String::new(), at: 0 }
    }

    /// The next line without its end.
    pub fn next(&mut self) -> io::Result<Option<&str>> {
        if self.at == self.block.len() {
            let block = match &mut self.blocks {
                Blocks::Here(inflater) => inflater.next(),
                Blocks::Beside(blocks) => blocks.recv().ok(),
            };
            let Some(block) = block else { return Ok(None) };
            self.block = block?;
            self.at = 0;
        }
        let rest = &self.block[self.at..];
        let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
        self.at = (self.at + line.len() + 1).min(self.block.len());
        Ok(Some(line))
    }
}

fn beside(inflater: Inflater) -> Blocks {
    let (sender, blocks) = sync_channel(AHEAD);
    thread::spawn(move || {
        for block in inflater {
            let ended = block.is_err();
            // Nobody receives any more once a line couldn't be read.
            if sender.send(block).is_err() || ended {
                break;
            }
        }
    });
    Blocks::Beside(blocks)
}

/// Blocks of whole lines.
struct Inflater {
    reader: GzDecoder<Cursor<Vec<u8>>>,
    /// How the line begins that didn't end in the block before.
    rest: Vec<u8>,
}

impl Iterator for Inflater {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        let mut block = Vec::with_capacity(BLOCK + self.rest.len());
        block.append(&mut self.rest);
        loop {
            let known = block.len();
            match self.reader.by_ref().take(BLOCK as u64).read_to_end(&mut block) {
                Err(error) => return Some(Err(error)),
                Ok(0) => return (!block.is_empty()).then(|| text(block)),
                Ok(_) => {}
            }
            if let Some(end) = block[known..].iter().rposition(|byte| *byte == b'\n') {
                self.rest = block.split_off(known + end + 1);
                return Some(text(block));
            }
        }
    }
}

fn text(block: Vec<u8>) -> io::Result<String> {
    String::from_utf8(block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzipped(text: &str) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    }

    fn read(gzipped: Vec<u8>) -> io::Result<Vec<String>> {
        let mut lines = Lines::of(gzipped);
        let mut read = Vec::new();
        while let Some(line) = lines.next()? {
            read.push(line.to_owned());
        }
        Ok(read)
    }

    /// Lines of which some are empty, some have characters of several bytes, and some are longer than a block.
    fn lines() -> impl Strategy<Value = Vec<String>> {
        let line =
            (prop_oneof![Just("é"), Just("x"), Just("")], prop_oneof![9 => 0..2_000_usize, 1 => 0..600_000_usize]);
        proptest::collection::vec(line.prop_map(|(character, times)| character.repeat(times)), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_line_is_read_as_it_was_written(lines in lines(), ended: bool) {
            let mut text = lines.join("\n");
            if ended {
                text.push('\n');
            }
            let expected: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(read(gzipped(&text)).unwrap(), expected);
        }
    }

    #[test]
    fn what_was_cut_off_is_an_error_and_not_the_end() {
        for text in ["short\n".repeat(10), "long\n".repeat(LONG)] {
            let mut bytes = gzipped(&text);
            bytes.truncate(bytes.len() / 2);
            assert_eq!(read(bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
