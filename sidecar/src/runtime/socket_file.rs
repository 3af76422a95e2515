//! The file of a Unix socket: made so that nobody else can ever open it, and gone when the node is.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::serve::BACKLOG;

const MODE: u32 = 0o600;

/// A socket's file. It goes when this is dropped, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens at a path. What a process that is gone has left there is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there; `AlreadyExists` when what is there is no socket; and what the system
    /// says.
    pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        make_room(path).await?;
        // Bound under another name, and moved when its mode is right: at no time can others open it.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        // Left by a process that had this one's number.
        let _ = fs::remove_file(&hidden);
        let socket = UnixSocket::new_stream()?;
        socket.bind(&hidden)?;
        let listener = socket.listen(BACKLOG)?;
        let placed = place(&hidden, path);
        if placed.is_err() {
            let _ = fs::remove_file(&hidden);
        }
        Ok((listener, Self { path: path.to_owned(), inode: placed? }))
    }
}

async fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        },
    }
}

fn place(hidden: &Path, path: &Path) -> io::Result<u64> {
    fs::set_permissions(hidden, Permissions::from_mode(MODE))?;
    let inode = fs::symlink_metadata(hidden)?.ino();
    fs::rename(hidden, path)?;
    Ok(inode)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // Gone already is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}
