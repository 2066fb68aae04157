//! The index on the object store: golden buckets, faults, and our own files.

mod faults;
mod fixture;
mod found;
mod shipped;
