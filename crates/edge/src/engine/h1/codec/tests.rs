//! What the codec takes, what it refuses, and what it writes. Never opens a socket.

mod request;
