//! The bytes of one stream: as they are, or inside Noise.
//!
//! With a cluster key a stream begins with `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`: both sides prove that they have
//! the key, and fresh Diffie-Hellman keys give forward secrecy. Each Noise message follows its length in two bytes.

use std::io;
use std::sync::Arc;

use snow::{Builder, StatelessTransportState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Bytes of a Noise message, at most, and of the tag in it.
const NOISE_BYTES_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// A key for one stream, or none.
pub(super) type Key = Option<[u8; 32]>;

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` wants")]
fn broken(error: snow::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the handshake failed, is the cluster key the same? ({error})"),
    )
}

/// Makes a stream ready: the handshake, where there is a key.
pub(super) async fn open(stream: TcpStream, key: Key, dials: bool) -> io::Result<(Reader, Writer)> {
    let (mut read, mut write) = stream.into_split();
    let noise = match key {
        Some(key) => Some(Arc::new(shake_hands(&mut read, &mut write, &key, dials).await?)),
        None => None,
    };
    let reader =
        Reader { stream: read, noise: noise.clone(), nonce: 0, sealed: Vec::new(), plain: Vec::new() };
    Ok((reader, Writer { stream: write, noise, nonce: 0, sealed: Vec::new() }))
}

async fn shake_hands(
    read: &mut OwnedReadHalf,
    write: &mut OwnedWriteHalf,
    key: &[u8; 32],
    dials: bool,
) -> io::Result<StatelessTransportState> {
    let params = PATTERN.parse().map_err(broken)?;
    let builder = Builder::new(params).psk(0, key).map_err(broken)?;
    let mut state =
        if dials { builder.build_initiator() } else { builder.build_responder() }.map_err(broken)?;
    let mut buffer = [0; 256];
    while !state.is_handshake_finished() {
        if state.is_my_turn() {
            let len = state.write_message(&[], &mut buffer).map_err(broken)?;
            write.write_all(&(len as u16).to_le_bytes()).await?;
            write.write_all(&buffer[..len]).await?;
        } else {
            let mut sealed = [0; 256];
            let len = usize::from(read.read_u16_le().await?);
            let sealed = sealed.get_mut(..len).ok_or_else(|| broken(snow::Error::Input))?;
            read.read_exact(sealed).await?;
            state.read_message(sealed, &mut buffer).map_err(broken)?;
        }
    }
    state.into_stateless_transport_mode().map_err(broken)
}

/// The half that receives.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    noise: Option<Arc<StatelessTransportState>>,
    nonce: u64,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Reader {
    /// The next bytes; none at the end of the stream.
    pub(super) async fn read(&mut self) -> io::Result<&[u8]> {
        loop {
            let Some(noise) = self.noise.clone() else {
                self.plain.clear();
                self.plain.reserve(READ_BYTES);
                self.stream.read_buf(&mut self.plain).await?;
                return Ok(&self.plain);
            };
            self.sealed.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.sealed).await? == 0 {
                return Ok(&[]);
            }
            self.unseal(&noise)?;
            if !self.plain.is_empty() {
                return Ok(&self.plain);
            }
        }
    }

    fn unseal(&mut self, noise: &StatelessTransportState) -> io::Result<()> {
        self.plain.clear();
        let mut at = 0;
        while let Some((len, rest)) = self.sealed[at..].split_first_chunk::<2>() {
            let len = usize::from(u16::from_le_bytes(*len));
            let Some(sealed) = rest.get(..len) else { break };
            let start = self.plain.len();
            self.plain.resize(start + len, 0);
            let opened = noise.read_message(self.nonce, sealed, &mut self.plain[start..]).map_err(broken)?;
            self.plain.truncate(start + opened);
            self.nonce += 1;
            at += 2 + len;
        }
        self.sealed.drain(..at);
        Ok(())
    }
}

/// The half that sends.
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    noise: Option<Arc<StatelessTransportState>>,
    nonce: u64,
    sealed: Vec<u8>,
}

impl Writer {
    /// Sends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(noise) = &self.noise else { return self.stream.write_all(bytes).await };
        self.sealed.clear();
        for chunk in bytes.chunks(NOISE_BYTES_MAX - TAG_BYTES) {
            let start = self.sealed.len();
            self.sealed.resize(start + 2 + chunk.len() + TAG_BYTES, 0);
            let len =
                noise.write_message(self.nonce, chunk, &mut self.sealed[start + 2..]).map_err(broken)?;
            self.sealed[start..start + 2].copy_from_slice(&(len as u16).to_le_bytes());
            self.nonce += 1;
        }
        self.stream.write_all(&self.sealed).await
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) {
        // The peer may be gone already.
        let _ = self.stream.shutdown().await;
    }
}
