//! A D-Bus client for one conversation (D-Bus specification): calls, their replies, and one signal. It waits for everything with a
//! limit, in the one thread there is.

mod address;
mod bus;
mod marshal;
mod message;

pub use bus::{Bus, Call, PATIENCE};
pub use message::{Kind, Message};

use super::error;

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address names nothing that keg could connect to.
    #[error("{0:?} is no address of a D-Bus socket of this machine")]
    Address(String),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] error::Error),
    /// The bus does not take us for who we are.
    #[error("the bus refused the login: {0}")]
    Login(String),
    /// A call was answered with an error.
    #[error("{}", message.lines().next().filter(|line| !line.is_empty()).unwrap_or(name))]
    Refused {
        /// Its name, such as `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// What it says.
        message: String,
    },
    /// No answer came.
    #[error("no answer within {limit} s", limit = PATIENCE.as_secs())]
    Silent,
    /// The bus closed the connection.
    #[error("the bus closed the connection")]
    Closed,
    /// What came is no D-Bus message.
    #[error("the bus sent what is no D-Bus message")]
    Garbled,
}

impl Error {
    /// Whether a call was answered with an error of this name.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name == wanted)
    }
}
