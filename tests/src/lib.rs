//! A harness that runs the real binary.
