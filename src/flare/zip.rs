//! Writes ZIP archives: deflated members in order, then the directory (spec cli §7.2).
//!
//! A member is compressed in memory before its header is written, so the output need not seek: a file, standard output
//! or memory will do. Limits: ZIP without its 64-bit extension, which is 65,535 members and 4 GiB; an archive of ours
//! is bounded far below by what is put in.

use std::io::{self, Write};
use std::time::SystemTime;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use crate::time_format::Utc;

/// Version 2.0 of the format: deflate and directories.
const VERSION: u16 = 20;

/// The same, made on Unix: the upper half of the attributes is a file mode.
const MADE_BY: u16 = 3 << 8 | VERSION;

/// Names are UTF-8.
const UTF8: u16 = 1 << 11;

const DEFLATE: u16 = 8;

/// A regular file that its owner alone reads.
const MODE: u32 = 0o100_600;

/// An archive that is being written.
pub struct Zip<W> {
    out: W,
    /// The date of all members.
    time: (u16, u16),
    written: u32,
    members: u16,
    directory: Vec<u8>,
}

impl<W: Write> Zip<W> {
    /// An empty archive whose members will all have this date.
    pub fn new(out: W, time: SystemTime) -> Self {
        Self { out, time: dos_time(time), written: 0, members: 0, directory: Vec::new() }
    }

    /// Adds a member.
    ///
    /// # Errors
    /// When the output takes no more, or the archive would need the 64-bit extension.
    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut checksum = Crc::new();
        checksum.update(content);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content)?;
        let data = encoder.finish()?;
        // The part that a member's own header and its entry in the directory have in common.
        let mut common = Vec::new();
        for number in [VERSION, UTF8, DEFLATE, self.time.0, self.time.1] {
            common.extend(number.to_le_bytes());
        }
        for number in [checksum.sum(), size(data.len())?, size(content.len())?] {
            common.extend(number.to_le_bytes());
        }
        common.extend(short(name.len())?.to_le_bytes());
        common.extend(0u16.to_le_bytes());

        self.members = self.members.checked_add(1).ok_or_else(too_large)?;
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(MADE_BY.to_le_bytes());
        self.directory.extend(&common);
        // No comment, first disk, binary.
        self.directory.extend([0; 6]);
        self.directory.extend((MODE << 16).to_le_bytes());
        self.directory.extend(self.written.to_le_bytes());
        self.directory.extend(name.as_bytes());
        for part in [&b"PK\x03\x04"[..], &common, name.as_bytes(), &data] {
            self.out.write_all(part)?;
            self.written = self.written.checked_add(size(part.len())?).ok_or_else(too_large)?;
        }
        Ok(())
    }

    /// Writes the directory and gives the output back.
    ///
    /// # Errors
    /// As [`Zip::add`].
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&self.directory)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend(self.members.to_le_bytes());
        end.extend(self.members.to_le_bytes());
        end.extend(size(self.directory.len())?.to_le_bytes());
        end.extend(self.written.to_le_bytes());
        end.extend([0; 2]);
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Time and date as the format has them: two-second steps from 1980 on.
fn dos_time(time: SystemTime) -> (u16, u16) {
    let Utc { year, month, day, hour, minute, second, .. } = time.into();
    let year = u16::try_from(year.saturating_sub(1980).min(127)).unwrap_or(127);
    let clock = u16::from(hour) << 11 | u16::from(minute) << 5 | u16::from(second / 2);
    (clock, year << 9 | u16::from(month) << 5 | u16::from(day))
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| too_large())
}

fn short(length: usize) -> io::Result<u16> {
    u16::try_from(length).map_err(|_| too_large())
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the archive is too large")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_archive_has_members_a_directory_and_an_end() {
        let time = UNIX_EPOCH + Duration::from_secs(1_764_000_000);
        let mut zip = Zip::new(Vec::new(), time);
        zip.add("host/a.log", b"aaaaaaaaaaaaaaaa").expect("memory takes it");
        zip.add("host/empty", b"").expect("memory takes it");
        let bytes = zip.finish().expect("memory takes it");
        assert_eq!(&bytes[..4], b"PK\x03\x04");
        // 2025-11-24 16:00:00.
        assert_eq!(bytes[10..14], [0x00, 0x80, 0x78, 0x5b]);
        let mut checksum = Crc::new();
        checksum.update(b"aaaaaaaaaaaaaaaa");
        assert_eq!(bytes[14..18], checksum.sum().to_le_bytes());
        assert_eq!(bytes[22..26], 16u32.to_le_bytes());
        assert_eq!(&bytes[30..40], b"host/a.log");
        let end = &bytes[bytes.len() - 22..];
        assert_eq!(&end[..4], b"PK\x05\x06");
        assert_eq!((end[8], end[10]), (2, 2));
        let start = u32::from_le_bytes([end[16], end[17], end[18], end[19]]) as usize;
        assert_eq!(&bytes[start..start + 4], b"PK\x01\x02");
    }

    #[test]
    fn times_before_the_format_are_its_first_year() {
        assert_eq!(dos_time(UNIX_EPOCH), (0, 1 << 5 | 1));
    }
}
