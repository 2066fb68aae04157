//! Memory maps of index files, the one place of the crate where the compiler has to be told to trust us.

use memmap2::Mmap;
use std::fs::File;
use std::io;

/// Maps a file of the index cache for reading.
#[allow(unsafe_code, reason = "a map's bytes change under the reader if the file is written: these never are")]
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: files of the cache are written under another name, renamed when complete, never opened for writing again
    // and replaced only by another rename; an unlinked file lives on until its last map goes.
    unsafe { Mmap::map(file) }
}
