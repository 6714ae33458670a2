//! What a node is made with.

use crate::fault::Fault;
use thrum_protocol::id::ModelId;
use thrum_protocol::limits::MAX_TEXT_BYTES;

use crate::worker::messages::MAX_THREADS;

pub use crate::net::ice::IceServer;

pub use crate::engine_link::{BackendChoice, GenomeFiles, GenomeSource};

/// count; a node keeps a connection and a reservation with each of its relays.
pub const MAX_RELAYS: usize = 8;

/// What a node is made with. All fields are public; `Default` is what the page uses.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// origins (`http://127.0.0.1:8080`) or multiaddrs that end in `/p2p/<peer id>`
    pub relays: Vec<String>,
    /// the model to load when one is needed; `None` is the relay's default
    pub model: Option<ModelSource>,
    /// what shall compute
    pub backend: BackendChoice,
    /// threads of the CPU, 1 to [`MAX_THREADS`]; `None`: half of what the machine runs at once, at
    /// most 8. More than one needs a cross-origin isolated page, and is never needed.
    pub threads: Option<u32>,
    /// servers that help to find a direct way to peers, before those that the relays name
    pub ice_servers: Vec<IceServer>,
    /// whether peers are reached through TURN alone, so that none learns this page's address
    pub relay_only: bool,
    /// name of the database: two names are two peers
    pub store: String,
    /// script of the engine's worker, absolute or relative to the page
    pub worker_url: String,
    /// whether the remembered choice to donate is taken up at the start
    pub resume_donation: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            model: None,
            backend: BackendChoice::Auto,
            threads: None,
            ice_servers: Vec::new(),
            relay_only: false,
            store: "thrum".to_owned(),
            worker_url: "/engine_worker_loader.js".to_owned(),
            resume_donation: false,
        }
    }
}

impl NodeOptions {
    /// Whether the options can be used.
    ///
    /// # Errors
    /// [`Fault::InvalidOption`] naming the first that cannot.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let wrong = |option, reason: &str| {
            Err(Fault::InvalidOption {
                option,
                reason: reason.to_owned(),
            })
        };
        if self.relays.len() > MAX_RELAYS {
            return wrong("relays", &format!("at most {MAX_RELAYS} are allowed"));
        }
        if self
            .relays
            .iter()
            .any(|it| it.is_empty() || it.len() > MAX_TEXT_BYTES)
        {
            return wrong("relays", "each must be an origin or a multiaddr");
        }
        let allowed = 1..=MAX_THREADS;
        if self
            .threads
            .is_some_and(|threads| !allowed.contains(&threads))
        {
            return wrong("threads", &format!("must be 1 to {MAX_THREADS}"));
        }
        if let Some(reason) = self.ice_servers.iter().find_map(IceServer::wrong) {
            return wrong("iceServers", &reason);
        }
        if self.store.is_empty() || self.store.len() > MAX_TEXT_BYTES {
            return wrong("store", "a name of 1 to 512 bytes is needed");
        }
        Ok(())
    }
}

/// Where a model comes from, as the person says it.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// name, id or file name in a relay's catalogue, or the id of a kept model
    Catalogue(String),
    /// these files, in order
    Files(Vec<FileSource>),
}

/// One file of a model.
#[derive(Clone, Debug)]
pub enum FileSource {
    /// a file the person chose
    Blob(web_sys::Blob),
    /// the address of a `.gguf` file
    Url {
        /// absolute, or relative to the page
        url: String,
        /// what it must hash to, where that is known
        sha256: Option<ModelId>,
    },
}

impl ModelSource {
    /// A text that has the form of an address is one; any other is a name in the catalogue.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let is_address = text.contains("://") || text.starts_with(['/', '.']);
        if !is_address {
            return Self::Catalogue(text.to_owned());
        }
        let url = text.to_owned();
        Self::Files(vec![FileSource::Url { url, sha256: None }])
    }

    /// A file the person chose.
    #[must_use]
    pub fn from_blob(blob: web_sys::Blob) -> Self {
        Self::Files(vec![FileSource::Blob(blob)])
    }
}
