//! `inet`, `cidr`, `macaddr` and `macaddr8` as the text of their output functions
//! (`src/backend/utils/adt/{network,mac,mac8}.c`). None prints a character that would have to be
//! escaped.

use super::ValueError;
use super::wire::Reader;
use std::io::Write as _;

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6` of `src/include/utils/inet.h`.
const IPV4: u8 = 2;
const IPV6: u8 = 3;

/// `inet` or `cidr`: the prefix length is shown by `cidr` always, by `inet` where it isn't the
/// address's full length.
pub(super) fn write_address(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "inet");
    let family = reader.u8()?;
    let prefix_bits = reader.u8()?;
    let is_cidr = reader.u8()? != 0;
    let length = reader.u8()?;
    out.push(b'"');
    let full_bits = match (family, length) {
        (IPV4, 4) => {
            write_ipv4(reader.array()?, out);
            32
        }
        (IPV6, 16) => {
            write_ipv6(reader.array()?, out);
            128
        }
        _ => return Err(reader.malformed()),
    };
    if is_cidr || prefix_bits != full_bits {
        out.push(b'/');
        out.extend_from_slice(itoa::Buffer::new().format(prefix_bits).as_bytes());
    }
    out.push(b'"');
    reader.end()
}

fn write_ipv4(octets: [u8; 4], out: &mut Vec<u8>) {
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

/// `inet_net_ntop_ipv6` of `src/backend/utils/adt/inet_net_ntop.c`: the first longest run of at
/// least two zero groups is `::`, and an address within `::/96` or `::ffff:0:0/96` ends as an IPv4
/// address. (`Ipv6Addr`'s `Display` does not do the former.)
fn write_ipv6(octets: [u8; 16], out: &mut Vec<u8>) {
    let mut groups = [0_u16; 8];
    for (group, pair) in groups.iter_mut().zip(octets.chunks_exact(2)) {
        *group = u16::from_be_bytes([pair[0], pair[1]]);
    }
    let (mut run_start, mut run_length) = (0, 0);
    let mut index = 0;
    while index < 8 {
        let length = groups[index..].iter().take_while(|&&group| group == 0).count();
        if length >= 2 && length > run_length {
            (run_start, run_length) = (index, length);
        }
        index += length.max(1);
    }
    let run = run_start..run_start + run_length;
    let ends_as_ipv4 = run_start == 0 && (run_length == 6 || (run_length == 5 && groups[5] == 0xffff));
    for (index, group) in groups.into_iter().enumerate() {
        if run.contains(&index) {
            if index == run_start {
                out.push(b':');
            }
            continue;
        }
        if index > 0 {
            out.push(b':');
        }
        if index == 6 && ends_as_ipv4 {
            let [.., a, b, c, d] = octets;
            write_ipv4([a, b, c, d], out);
            return;
        }
        write_formatted(format_args!("{group:x}"), out);
    }
    if run_length > 0 && run.end == 8 {
        out.push(b':');
    }
}

/// Writing to a `Vec` cannot fail.
fn write_formatted(text: std::fmt::Arguments, out: &mut Vec<u8>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}

/// `macaddr` of six bytes and `macaddr8` of eight: `08:00:2b:01:02:03`.
pub(super) fn write_mac<const N: usize>(octets: [u8; N], out: &mut Vec<u8>) {
    out.push(b'"');
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        write_formatted(format_args!("{octet:02x}"), out);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_encodings() {
        let ipv4 = |bits, cidr| vec![IPV4, bits, cidr, 4, 192, 168, 1, 5];
        let ipv6 = |text: &str| {
            let mut cell = vec![IPV6, 128, 0, 16];
            cell.extend(text.parse::<std::net::Ipv6Addr>().unwrap().octets());
            cell
        };
        for (cell, expected) in [
            (ipv4(32, 0), "192.168.1.5"),
            (ipv4(24, 0), "192.168.1.5/24"),
            (ipv4(32, 1), "192.168.1.5/32"),
            (ipv6("::"), "::"),
            (ipv6("::1"), "::1"),
            (ipv6("::1:2"), "::0.1.0.2"),
            (ipv6("::ffff:1.2.3.4"), "::ffff:1.2.3.4"),
            (ipv6("1:0:0:2:0:0:0:3"), "1:0:0:2::3"),
            (ipv6("1:0:0:2:3:0:0:4"), "1::2:3:0:0:4"),
            (ipv6("2001:db8::"), "2001:db8::"),
            (ipv6("1:0:2:3:4:5:6:7"), "1:0:2:3:4:5:6:7"),
        ] {
            let mut out = Vec::new();
            write_address(&cell, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
        assert_eq!(write_address(&[9, 32, 0, 4, 1, 2, 3, 4], &mut Vec::new()), Err(ValueError::Malformed("inet")));
    }
}
