//! Values in the database: a checksum, then what was encoded, compressed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;

const SUM_BYTES: usize = 8;

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let plain = postcard::to_stdvec(value).map_err(|error| StoreError::Io(error.to_string()))?;
    Ok(seal(&lz4_flex::block::compress_prepend_size(&plain)))
}

/// Puts the checksum before what it is of.
pub(super) fn seal(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SUM_BYTES + packed.len());
    bytes.extend_from_slice(&xxh3_64(packed).to_le_bytes());
    bytes.extend_from_slice(packed);
    bytes
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(&unpack(bytes)?) {
        Ok((value, [])) => Ok(value),
        _ => Err(damaged("a record does not parse")),
    }
}

/// What was encoded, once its checksum is found to be right.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (sum, packed) =
        bytes.split_first_chunk::<SUM_BYTES>().ok_or_else(|| damaged("a record is cut short"))?;
    if *sum != xxh3_64(packed).to_le_bytes() {
        return Err(damaged("a record's checksum is wrong"));
    }
    let unpacked = || {
        let (size, rest) = lz4_flex::block::uncompressed_size(packed).ok()?;
        // lz4 shrinks to no less than 1 part in 255: a size beyond that is made up, and no room is made for it.
        let plain = (size / 255 <= rest.len()).then(|| lz4_flex::block::decompress(rest, size).ok())??;
        (plain.len() == size).then_some(plain)
    };
    unpacked().ok_or_else(|| damaged("a record does not decompress"))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}
