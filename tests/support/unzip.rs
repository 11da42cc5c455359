//! Takes a ZIP archive apart by its directory, as other programs do.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// The members by name; checks sizes and checksums on the way.
pub fn unzip(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let end = archive.len() - 22;
    assert_eq!(&archive[end..end + 4], b"PK\x05\x06", "the archive has an end");
    let members = number(archive, end + 10, 2);
    let mut entry = number(archive, end + 16, 4);
    let mut found = BTreeMap::new();
    for _ in 0..members {
        assert_eq!(&archive[entry..entry + 4], b"PK\x01\x02", "the directory has an entry");
        let [checksum, packed, size] =
            [16, 20, 24].map(|offset| number(archive, entry + offset, 4));
        let name_length = number(archive, entry + 28, 2);
        let header = number(archive, entry + 42, 4);
        let name = &archive[entry + 46..entry + 46 + name_length];
        assert_eq!(&archive[header..header + 4], b"PK\x03\x04", "the member has a header");
        let data = header + 30 + number(archive, header + 26, 2) + number(archive, header + 28, 2);
        let mut content = Vec::new();
        DeflateDecoder::new(&archive[data..data + packed])
            .read_to_end(&mut content)
            .expect("the member is deflated");
        let mut crc = Crc::new();
        crc.update(&content);
        assert_eq!((content.len(), crc.sum() as usize), (size, checksum));
        found.insert(String::from_utf8(name.to_vec()).expect("names are UTF-8"), content);
        entry += 46 + name_length + number(archive, entry + 30, 2) + number(archive, entry + 32, 2);
    }
    found
}

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
