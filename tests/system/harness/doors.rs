//! An edge with two ways in, plain and TLS, that hold a client to the same limits. Never decides
//! which of them a test takes.

use portcullis_testkit::{Authority, Connection};
use serde_json::json;

use super::{Edge, Engine, Setup, open_tls};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    Tls,
}

/// Both of them.
pub(crate) const DOORS: [Door; 2] = [Door::Plain, Door::Tls];

/// A running edge whose second listener is like its first, but for TLS.
pub(crate) struct House {
    pub(crate) edge: Edge,
    authority: Authority,
}

impl<E: Engine> Setup<E> {
    /// Adds the listener with TLS, starts the process and waits until it is ready.
    pub(crate) async fn start_with_both_doors(self) -> House {
        let authority = Authority::new();
        let identity = authority.issue("app", &["app.example"]);
        let mut keys = self.config()["listeners"][0].clone();
        for own in ["name", "address"] {
            keys.as_object_mut().unwrap().remove(own);
        }
        keys["tls"] = json!({ "certificates": [{ "cert": identity.cert, "key": identity.key }] });
        let edge = self.listener("tls", &keys).start().await;
        House { edge, authority }
    }
}

impl House {
    /// A connection for HTTP/1.1.
    pub(crate) async fn enter(&self, door: Door) -> Connection {
        match door {
            Door::Plain => self.edge.connect().await.with_host("app.example"),
            Door::Tls => open_tls(self.edge.listener(1), "app.example", &self.authority).await,
        }
    }
}
