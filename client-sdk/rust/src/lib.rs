//! Client for the localhost API of Sidetalk.
