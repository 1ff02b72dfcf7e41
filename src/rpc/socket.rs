//! Where a core connects: a Unix socket in a directory of our own, or TCP on loopback where there are none.

use std::io;

pub use self::system::{Listener, PRIVATE, Stream, bind, prepare};

/// An address as the handshake line names it.
pub struct Address {
    /// `unix` or `tcp`.
    pub network: &'static str,
    /// A path, or host and port.
    pub address: String,
}

#[cfg(unix)]
mod system {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{Address, io};

    pub type Listener = tokio::net::UnixListener;
    pub type Stream = tokio::net::UnixStream;

    /// Nobody but the user reaches the socket, so that it may go without TLS.
    pub const PRIVATE: bool = true;

    /// The socket's directory is named after this and the process.
    const PREFIX: &str = "tf-cloudflare-";
    const NAME: &str = "provider";

    /// The longest path of a socket that every system takes.
    const LONGEST_PATH: usize = 103;

    /// How old a directory without a socket must be to count as left behind, not as just made.
    const NEW: Duration = Duration::from_secs(60);

    /// A listening socket. Dropping the directory removes the socket.
    pub struct Socket {
        pub listener: Listener,
        pub address: Address,
        pub directory: TempDir,
    }

    /// Listens in a new directory that only this user can enter.
    pub async fn bind() -> io::Result<Socket> {
        let parent = parent();
        sweep(&parent);
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let path = directory.path().join(NAME);
        let listener = Listener::bind(&path)?;
        let address = path
            .into_os_string()
            .into_string()
            .map_err(|_| io::Error::other("the path of the socket is not UTF-8"))?;
        Ok(Socket {
            listener,
            address: Address {
                network: "unix",
                address,
            },
            directory,
        })
    }

    /// The directory that the host asks for, or else the one for temporary files, if a socket's path can be so long.
    fn parent() -> PathBuf {
        let parent = std::env::var_os("PLUGIN_UNIX_SOCKET_DIR")
            .filter(|directory| !directory.is_empty())
            .map_or_else(std::env::temp_dir, PathBuf::from);
        let parent = std::path::absolute(&parent).unwrap_or(parent);
        let longest = parent
            .join(format!("{PREFIX}{}-XXXXXX", u32::MAX))
            .join(NAME);
        if longest.as_os_str().len() > LONGEST_PATH || parent.to_str().is_none() {
            return PathBuf::from("/tmp");
        }
        parent
    }

    /// Removes what processes of this user have left behind that were killed. Failing to do so harms nobody.
    fn sweep(parent: &Path) {
        let Ok(entries) = fs::read_dir(parent) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let pid = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX))
                .and_then(|rest| rest.split_once('-'))
                .and_then(|(pid, _)| pid.parse().ok());
            if let Some(pid) = pid
                && is_dead(pid)
                && is_left_behind(&entry.path())
            {
                // Only what we make ourselves: a directory with anything else in it stays.
                let _ = fs::remove_file(entry.path().join(NAME));
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    fn is_dead(pid: i32) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(pid) else {
            return false;
        };
        rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
    }

    /// Looks again from another side: with containers that share the directory, a living process can seem dead.
    fn is_left_behind(directory: &Path) -> bool {
        let Ok(metadata) = fs::symlink_metadata(directory) else {
            return false;
        };
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return false;
        }
        let socket = directory.join(NAME);
        match fs::symlink_metadata(&socket) {
            Ok(metadata) if metadata.file_type().is_socket() => {
                let connected = std::os::unix::net::UnixStream::connect(&socket);
                connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            }
            Ok(_) => false,
            Err(_) => metadata
                .modified()
                .and_then(|time| time.elapsed().map_err(io::Error::other))
                .is_ok_and(|age| age > NEW),
        }
    }

    /// Nothing to prepare on a Unix socket.
    pub fn prepare(_stream: &Stream) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A pid that is certainly free: that of a child which has been waited for.
        fn dead_pid() -> u32 {
            let mut child = std::process::Command::new("true").spawn().expect("starts");
            child.wait().expect("ends");
            child.id()
        }

        fn socket_in(parent: &Path, name: &str) -> (PathBuf, std::os::unix::net::UnixListener) {
            let directory = parent.join(name);
            fs::create_dir(&directory).expect("is new");
            let listener = std::os::unix::net::UnixListener::bind(directory.join(NAME));
            (directory, listener.expect("binds"))
        }

        #[test]
        fn only_what_dead_processes_left_behind_is_swept() {
            let parent = tempfile::tempdir().expect("makes a directory");
            let dead = dead_pid();
            let (killed, listener) = socket_in(parent.path(), &format!("{PREFIX}{dead}-killed"));
            drop(listener);
            let (answers, _listener) = socket_in(parent.path(), &format!("{PREFIX}{dead}-answers"));
            let (alive, listener) =
                socket_in(parent.path(), &format!("{PREFIX}{}-x", std::process::id()));
            drop(listener);
            let (other, listener) = socket_in(parent.path(), &format!("other-{dead}-x"));
            drop(listener);
            let (full, listener) = socket_in(parent.path(), &format!("{PREFIX}{dead}-full"));
            drop(listener);
            fs::write(full.join("notes"), "").expect("writes");
            let new = parent.path().join(format!("{PREFIX}{dead}-new"));
            fs::create_dir(&new).expect("is new");

            sweep(parent.path());

            assert!(!killed.exists());
            for kept in [answers, alive, other, full, new] {
                assert!(kept.exists(), "{}", kept.display());
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use super::{Address, io};

    pub type Listener = tokio::net::TcpListener;
    pub type Stream = tokio::net::TcpStream;

    /// Every user of the machine reaches a port: without TLS there is no serving.
    pub const PRIVATE: bool = false;

    /// A listening socket.
    pub struct Socket {
        pub listener: Listener,
        pub address: Address,
        pub directory: (),
    }

    /// Listens on a free port of loopback.
    pub async fn bind() -> io::Result<Socket> {
        let listener = Listener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Socket {
            listener,
            address: Address {
                network: "tcp",
                address,
            },
            directory: (),
        })
    }

    /// Calls are small and wait for their answers.
    pub fn prepare(stream: &Stream) -> io::Result<()> {
        stream.set_nodelay(true)
    }
}
