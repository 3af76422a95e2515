//! The bytes of one stream: as they are, or inside Noise.
//!
//! Both sides begin with six bytes: who we are, which versions of the protocol we speak, and whether there is a key. So
//! nodes that cannot talk can say why. Of the versions the newest that both speak counts. With a cluster key `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`
//! follows: both sides prove that they have the key, and fresh Diffie-Hellman keys give forward secrecy. Who dials uses
//! its first key; who answers tries all that it accepts. The first message carries, sealed, what stands for the
//! cluster's name and for the way in which session ids are stored: who has the key and belongs elsewhere is told so
//! before anybody says who it is. Each Noise message follows its length in two bytes; a length that none has is a refusal.

use std::fmt;
use std::io;
use std::sync::Arc;

use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::keyring::{KeyId, KeyRing};
use crate::wire::{Format, Guard, Version, Versions};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"sidetalk stream 1";

/// Bytes of a Noise message, at most, and of the tag in it.
const NOISE_BYTES_MAX: usize = 65_535;
const TAG_BYTES: usize = 16;

/// Bytes of a handshake message, at most.
const HANDSHAKE_BYTES_MAX: usize = 256;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"sdtk";
const PLAIN: u8 = 0;
const KEYED: u8 = 1;

/// Lengths that refuse.
const REFUSES_KEY: u16 = 0;
const REFUSES_CLUSTER: u16 = u16::MAX;
const REFUSES_IDS: u16 = u16::MAX - 1;

/// What makes a stream this cluster's.
#[derive(Clone, Debug, Default)]
pub struct StreamSecrets {
    /// The cluster's keys; none: plain text.
    pub keys: Option<KeyRing>,
    /// Stands for the cluster's name.
    pub cluster: [u8; 8],
    /// Stands for the way in which session ids are stored; zeros: as they are.
    pub session_ids: [u8; 8],
}

impl StreamSecrets {
    fn marks(&self) -> [u8; 16] {
        let mut marks = [0; 16];
        marks[..8].copy_from_slice(&self.cluster);
        marks[8..].copy_from_slice(&self.session_ids);
        marks
    }

    /// What is wrong with a peer that says this of itself, and how it is told.
    fn judge(&self, marks: &[u8]) -> Result<(), (OpenError, u16)> {
        let marks: &[u8; 16] = marks.try_into().map_err(|_| (OpenError::NotOurs, REFUSES_KEY))?;
        match marks.split_at(8) {
            (cluster, _) if cluster != self.cluster => Err((OpenError::OtherCluster, REFUSES_CLUSTER)),
            (_, ids) if ids != self.session_ids => Err((OpenError::OtherSessionIds, REFUSES_IDS)),
            _ => Ok(()),
        }
    }
}

/// Why a stream is none that this node can use.
#[derive(Debug)]
pub(super) enum OpenError {
    Io(io::Error),
    /// Whoever is there does not speak this protocol.
    NotOurs,
    /// No version is spoken by both.
    OtherVersions {
        theirs: Versions,
        ours: Versions,
    },
    /// The peer has a key and this node has none.
    PeerKeyed,
    /// This node has a key and the peer has none.
    PeerPlain,
    OtherKey,
    OtherCluster,
    OtherSessionIds,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotOurs => f.write_str("whoever is there is no Sidetalk node"),
            Self::OtherVersions { theirs, ours } => write!(
                f,
                "it speaks {theirs} of the protocol and this node {ours}: upgrade by way of a release that speaks both"
            ),
            Self::PeerKeyed => f.write_str("it has a cluster key and this node has none"),
            Self::PeerPlain => f.write_str("it has no cluster key and this node has one"),
            Self::OtherKey => f.write_str("its cluster key is another one than this node's"),
            Self::OtherCluster => f.write_str("it belongs to another cluster"),
            Self::OtherSessionIds => f.write_str(
                "it stores session ids in another way: --hash-session-ids, and the session-ids line of the key file, \
                 must be the same on all nodes",
            ),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` wants")]
fn broken(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not what the peer sealed ({error})"))
}

/// A stream that is ready, and the key that both sides have proved to have.
pub(super) type Opened = (Reader, Writer, Option<KeyId>);

/// Makes a stream ready: the first bytes, and the handshake where there is a key.
pub(super) async fn open(
    stream: TcpStream,
    secrets: &StreamSecrets,
    spoken: Versions,
    dials: bool,
) -> Result<Opened, OpenError> {
    let (mut read, mut write) = stream.into_split();
    let mode = if secrets.keys.is_some() { KEYED } else { PLAIN };
    let [m0, m1, m2, m3] = MAGIC;
    let ours = [m0, m1, m2, m3, spoken.byte(), mode];
    write.write_all(&ours).await?;
    let mut theirs = [0; 6];
    read.read_exact(&mut theirs).await?;
    let version = judge(&ours, &theirs, spoken)?;
    // A proof that nobody has changed them on the way.
    let openings = if dials { [ours, theirs] } else { [theirs, ours] };
    let (noise, key) = match &secrets.keys {
        Some(keys) => {
            let mut hands =
                Hands { read: &mut read, write: &mut write, openings, buffer: [0; HANDSHAKE_BYTES_MAX] };
            let (noise, key) = match dials {
                true => hands.call(keys, secrets).await?,
                false => hands.answer(keys, secrets).await?,
            };
            (Some(Arc::new(noise.into_stateless_transport_mode().map_err(broken)?)), Some(key))
        }
        None => (None, None),
    };
    let reader = Reader {
        stream: read,
        noise: noise.clone(),
        version,
        nonce: 0,
        sealed: Vec::new(),
        plain: Vec::new(),
    };
    Ok((reader, Writer { stream: write, noise, version, nonce: 0, sealed: Vec::new(), torn: false }, key))
}

/// The version that both ends will speak, from their first bytes.
fn judge(ours: &[u8; 6], theirs: &[u8; 6], spoken: Versions) -> Result<Version, OpenError> {
    let [magic @ .., versions, mode] = theirs;
    if *magic != MAGIC {
        return Err(OpenError::NotOurs);
    }
    let theirs = Versions::from_byte(*versions).ok_or(OpenError::NotOurs)?;
    let version = spoken.common(theirs).ok_or(OpenError::OtherVersions { theirs, ours: spoken })?;
    match *mode {
        mode if mode == ours[5] => Ok(version),
        KEYED => Err(OpenError::PeerKeyed),
        PLAIN => Err(OpenError::PeerPlain),
        _ => Err(OpenError::NotOurs),
    }
}

/// The handshake: `-> psk, e` with our marks, `<- e, ee`.
struct Hands<'a> {
    read: &'a mut OwnedReadHalf,
    write: &'a mut OwnedWriteHalf,
    /// The first bytes of who dials, and of who answers.
    openings: [[u8; 6]; 2],
    buffer: [u8; HANDSHAKE_BYTES_MAX],
}

impl Hands<'_> {
    async fn call(
        &mut self,
        keys: &KeyRing,
        secrets: &StreamSecrets,
    ) -> Result<(HandshakeState, KeyId), OpenError> {
        let keys = keys.keys();
        let key = keys.first().ok_or(OpenError::OtherKey)?;
        let mut state = handshake(&key.stream, self.openings, true).map_err(broken)?;
        self.say(&mut state, &secrets.marks()).await?;
        let (sealed, len) = self.hear().await?;
        let opened = state.read_message(&sealed[..len], &mut self.buffer);
        opened.map_err(|_| OpenError::OtherKey)?;
        Ok((state, key.id))
    }

    async fn answer(
        &mut self,
        keys: &KeyRing,
        secrets: &StreamSecrets,
    ) -> Result<(HandshakeState, KeyId), OpenError> {
        let (sealed, len) = self.hear().await?;
        for key in keys.keys().iter() {
            let mut state = handshake(&key.stream, self.openings, false).map_err(broken)?;
            let Ok(said) = state.read_message(&sealed[..len], &mut self.buffer) else { continue };
            if let Err((error, refusal)) = secrets.judge(&self.buffer[..said]) {
                self.write.write_all(&refusal.to_le_bytes()).await?;
                return Err(error);
            }
            self.say(&mut state, &[]).await?;
            return Ok((state, key.id));
        }
        self.write.write_all(&REFUSES_KEY.to_le_bytes()).await?;
        Err(OpenError::OtherKey)
    }

    async fn say(&mut self, state: &mut HandshakeState, payload: &[u8]) -> Result<(), OpenError> {
        let len = state.write_message(payload, &mut self.buffer).map_err(broken)?;
        // In one piece: it fits a segment.
        let message = [&(len as u16).to_le_bytes()[..], &self.buffer[..len]].concat();
        Ok(self.write.write_all(&message).await?)
    }

    async fn hear(&mut self) -> Result<([u8; HANDSHAKE_BYTES_MAX], usize), OpenError> {
        let len = match self.read.read_u16_le().await? {
            REFUSES_KEY => return Err(OpenError::OtherKey),
            REFUSES_CLUSTER => return Err(OpenError::OtherCluster),
            REFUSES_IDS => return Err(OpenError::OtherSessionIds),
            len => usize::from(len),
        };
        let mut sealed = [0; HANDSHAKE_BYTES_MAX];
        self.read.read_exact(sealed.get_mut(..len).ok_or(OpenError::NotOurs)?).await?;
        Ok((sealed, len))
    }
}

fn handshake(key: &[u8; 32], openings: [[u8; 6]; 2], dials: bool) -> Result<HandshakeState, snow::Error> {
    let prologue = [PROLOGUE, openings.as_flattened()].concat();
    let builder = Builder::new(PATTERN.parse()?).psk(0, key)?.prologue(&prologue)?;
    if dials { builder.build_initiator() } else { builder.build_responder() }
}

/// What finds out that bytes were changed on their way.
fn guard(sealed: bool) -> Guard {
    if sealed { Guard::Transport } else { Guard::Checksum }
}

/// The half that receives.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    noise: Option<Arc<StatelessTransportState>>,
    version: Version,
    nonce: u64,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Reader {
    /// How messages stand on it.
    pub(super) fn format(&self) -> Format {
        Format { version: self.version, guard: guard(self.noise.is_some()) }
    }

    /// The next bytes; none at the end of the stream. Dropping the future loses nothing.
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

    /// Takes what still comes and throws it away, until the peer has closed. Closing on unread bytes would reset
    /// the connection, and what was sent last could be lost with it.
    pub(super) async fn drain(&mut self) {
        while let Ok(1..) = {
            self.sealed.clear();
            self.sealed.reserve(READ_BYTES);
            self.stream.read_buf(&mut self.sealed).await
        } {}
    }
}

/// The half that sends.
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    noise: Option<Arc<StatelessTransportState>>,
    version: Version,
    nonce: u64,
    sealed: Vec<u8>,
    torn: bool,
}

impl Writer {
    /// How messages stand on it.
    pub(super) fn format(&self) -> Format {
        Format { version: self.version, guard: guard(self.noise.is_some()) }
    }

    /// Whether a write was given up half-way: nothing more can be said on this stream.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Sends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.torn = true;
        match self.noise.clone() {
            None => self.stream.write_all(bytes).await?,
            Some(noise) => {
                self.seal(&noise, bytes)?;
                self.stream.write_all(&self.sealed).await?;
            }
        }
        self.torn = false;
        Ok(())
    }

    fn seal(&mut self, noise: &StatelessTransportState, bytes: &[u8]) -> io::Result<()> {
        self.sealed.clear();
        for chunk in bytes.chunks(NOISE_BYTES_MAX - TAG_BYTES) {
            let start = self.sealed.len();
            self.sealed.resize(start + 2 + chunk.len() + TAG_BYTES, 0);
            let len =
                noise.write_message(self.nonce, chunk, &mut self.sealed[start + 2..]).map_err(broken)?;
            self.sealed[start..start + 2].copy_from_slice(&(len as u16).to_le_bytes());
            self.nonce += 1;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) {
        // The peer may be gone already.
        let _ = self.stream.shutdown().await;
    }
}
