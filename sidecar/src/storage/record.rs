//! Values in the database: a checksum, then what was encoded, compressed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;

const SUM_BYTES: usize = 8;

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let plain = postcard::to_stdvec(value).map_err(|error| StoreError::Io(error.to_string()))?;
    let packed = lz4_flex::block::compress_prepend_size(&plain);
    let mut bytes = Vec::with_capacity(SUM_BYTES + packed.len());
    bytes.extend_from_slice(&xxh3_64(&packed).to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(what.to_owned());
    let (sum, packed) =
        bytes.split_first_chunk::<SUM_BYTES>().ok_or_else(|| damaged("a record is cut short"))?;
    if *sum != xxh3_64(packed).to_le_bytes() {
        return Err(damaged("a record's checksum is wrong"));
    }
    let plain = lz4_flex::block::decompress_size_prepended(packed)
        .map_err(|_| damaged("a record does not decompress"))?;
    postcard::from_bytes(&plain).map_err(|_| damaged("a record does not parse"))
}
