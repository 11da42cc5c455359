//! The header block of a member: ustar, with GNU's blocks before it for names of more than 100 bytes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The unit of an archive, in bytes.
pub(super) const BLOCK: usize = 512;

/// Bytes of a name or link target that a header holds.
const NAME: usize = 100;

/// What a member is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Directory,
    /// With its size in bytes.
    File(u64),
    /// With its target.
    Link(&'a [u8]),
}

/// The blocks that introduce a member.
pub(super) fn encode(name: &[u8], kind: Kind<'_>, metadata: &Metadata) -> Vec<u8> {
    let mut blocks = Vec::new();
    let (letter, size, target) = match kind {
        Kind::Directory => (b'5', 0, &b""[..]),
        Kind::File(size) => (b'0', size, &b""[..]),
        Kind::Link(target) => (b'2', 0, target),
    };
    if target.len() > NAME {
        long(&mut blocks, b'K', target);
    }
    if name.len() > NAME {
        long(&mut blocks, b'L', name);
    }
    let fields = Fields {
        mode: metadata.mode() & 0o7777,
        owner: metadata.uid(),
        group: metadata.gid(),
        size,
        modified: u64::try_from(metadata.mtime()).unwrap_or(0),
    };
    blocks.extend(block(name, letter, target, &fields));
    blocks
}

#[derive(Default)]
struct Fields {
    mode: u32,
    owner: u32,
    group: u32,
    size: u64,
    modified: u64,
}

/// A member whose content is the name of the next one.
fn long(blocks: &mut Vec<u8>, letter: u8, name: &[u8]) {
    let fields = Fields { size: name.len() as u64 + 1, ..Fields::default() };
    blocks.extend(block(b"././@LongLink", letter, b"", &fields));
    blocks.extend(name);
    // At least one zero byte ends the name.
    blocks.resize((blocks.len() / BLOCK + 1) * BLOCK, 0);
}

fn block(name: &[u8], letter: u8, target: &[u8], fields: &Fields) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block[..NAME], name);
    octal(&mut block[100..108], u64::from(fields.mode));
    octal(&mut block[108..116], u64::from(fields.owner));
    octal(&mut block[116..124], u64::from(fields.group));
    octal(&mut block[124..136], fields.size);
    octal(&mut block[136..148], fields.modified);
    block[148..156].fill(b' ');
    block[156] = letter;
    put(&mut block[157..157 + NAME], target);
    put(&mut block[257..265], b"ustar  ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    // Six digits, a zero byte, and the blank that stands there for the sum.
    block[154] = 0;
    octal(&mut block[148..155], sum);
    block
}

/// Copies as much of `text` as the field holds.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Writes the number in octal digits with a zero byte at the end; what does not fit goes in as a binary number, as GNU
/// has it for sizes from 8 GiB and owners from 2,097,152 on.
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    if text.len() <= digits {
        put(field, text.as_bytes());
        return;
    }
    let bytes = number.to_be_bytes();
    let taken = bytes.len().min(digits);
    let start = field.len() - taken;
    field[start..].copy_from_slice(&bytes[bytes.len() - taken..]);
    field[0] = 0x80;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_carries_its_checksum() {
        let fields = Fields { mode: 0o644, size: 5, ..Fields::default() };
        let block = block(b"tmp/f", b'0', b"", &fields);
        assert_eq!(&block[100..108], b"0000644\0");
        assert_eq!(&block[124..136], b"00000000005\0");
        assert_eq!(&block[257..263], b"ustar ");
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(block[148..156], *format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn numbers_too_large_for_their_digits_are_binary() {
        let mut field = [0; 8];
        octal(&mut field, 1_000_820_000);
        assert_eq!(field, [0x80, 0, 0, 0, 0x3b, 0xa7, 0x4d, 0x20]);
    }
}
