//! Many seeds: scenarios drawn from them, and what to do with one that breaks a promise.
