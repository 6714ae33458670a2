//! What a page does with genomes: the adapters that its answers wear.

use super::Node;
use crate::engine_link::Genome;
use crate::errand::{Errand, Reply};
use crate::fault::{Fault, LoadFailure};
use crate::options::{FileSource, GenomeSource};
use thrum_protocol::id::ModelId;

impl Node {
    /// Takes a genome for the loaded model, and keeps it; where no model is loaded, the node's own
    /// is loaded first. Its name is what `source` says, else what its file says.
    ///
    /// # Errors
    /// [`Fault::GenomeUnavailable`] why it cannot be worn; all is as it was then. [`Fault::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the loading, unless the engine has taken the genome already.
    pub async fn load_genome(&self, source: GenomeSource<FileSource>) -> Result<Genome, Fault> {
        self.need_model().await?;
        let genome = words(&source);
        let Reply::GenomeLoaded(loaded) = self.errand(Errand::LoadGenome(source)).await? else {
            return Err(Fault::Closed);
        };
        loaded.map(|loaded| *loaded).map_err(unavailable(genome))
    }

    /// Every genome that this node has, by name.
    ///
    /// # Errors
    /// [`Fault::GenomeUnavailable`] where it cannot be said, [`Fault::Closed`].
    pub async fn genomes(&self) -> Result<Vec<Genome>, Fault> {
        let Reply::Genomes(genomes) = self.errand(Errand::ListGenomes).await? else {
            return Err(Fault::Closed);
        };
        genomes.map_err(unavailable("list".to_owned()))
    }

    /// Forgets a genome; answers that wear it end with an error.
    ///
    /// # Errors
    /// [`Fault::GenomeUnavailable`] where there is no such genome, [`Fault::Closed`].
    pub async fn remove_genome(&self, id: ModelId) -> Result<(), Fault> {
        let Reply::GenomeRemoved(removed) = self.errand(Errand::RemoveGenome(id)).await? else {
            return Err(Fault::Closed);
        };
        removed.map_err(unavailable(id.to_string()))
    }
}

fn unavailable(genome: String) -> impl FnOnce(LoadFailure) -> Fault {
    move |failure| Fault::GenomeUnavailable { genome, failure }
}

/// A source, as an error speaks of it.
fn words(source: &GenomeSource<FileSource>) -> String {
    let address = source.files.all().into_iter().find_map(|file| match file {
        FileSource::Blob(_) => None,
        FileSource::Url { url, .. } => Some(url.clone()),
    });
    let named = source.name.clone().or(address);
    named.unwrap_or_else(|| "a file".to_owned())
}
