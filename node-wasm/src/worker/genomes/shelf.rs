//! Where genomes are kept: a record for each under its id, its files in chunks beside it.
//!
//! Chunks are written before their record and removed after it, so that a record means all of a
//! genome; chunks without one are what was left by a tab that went away, and are swept.

use super::error::GenomeError;
use super::fetch::{Bytes, digest_of};
use super::record::Record;
use crate::worker::messages::GenomeFiles;
use crate::worker::store::{Keeper, Shelf, StoreError};
use futures::lock::Mutex;
use std::collections::BTreeSet;
use thrum_protocol::id::ModelId;

/// bytes; of every chunk but a file's last. What a browser copies in a few ms.
const CHUNK_BYTES: usize = 1 << 20;

/// Keeps genomes.
pub(in crate::worker) struct GenomeShelf {
    keeper: Keeper,
    /// held while something is written or removed: what was wanted last is done last
    turn: Mutex<()>,
}

impl GenomeShelf {
    /// Opens the shelf of the node whose database is `name`, and says what is on it.
    ///
    /// # Errors
    /// In words: why what is kept cannot be read. The shelf then begins empty and keeps in memory.
    pub(super) async fn open(name: &str) -> (Self, Vec<Record>, Option<StoreError>) {
        let keeper = Keeper::open_genomes(name).await;
        let (records, trouble) = match read_records(&keeper).await {
            Ok(records) => (records, keeper.trouble()),
            Err(error) => (Vec::new(), Some(error)),
        };
        let turn = Mutex::new(());
        (Self { keeper, turn }, records, trouble)
    }

    /// Keeps a genome.
    ///
    /// # Errors
    /// [`StoreError`] why it will not be there after a reload. It can be read until then.
    pub(super) async fn write(
        &self,
        record: &Record,
        files: &GenomeFiles<Bytes>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let mut kept = Ok(());
        for (file, bytes) in files.all().into_iter().enumerate() {
            for (number, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
                let key = chunk_key(record.id, file, number);
                kept = kept.and(self.keeper.put(Shelf::Genomes, &key, chunk).await);
            }
        }
        let text = serde_json::to_vec(record).expect("a record has string keys only");
        let key = record.id.to_string();
        kept.and(self.keeper.put(Shelf::Genomes, &key, &text).await)
    }

    /// The files of a genome.
    ///
    /// # Errors
    /// [`GenomeError::Damaged`] where they are not those that were written.
    pub(super) async fn read(&self, record: &Record) -> Result<GenomeFiles<Bytes>, GenomeError> {
        let damaged = || GenomeError::Damaged {
            name: record.name.clone(),
        };
        let mut files = Vec::new();
        for (file, length) in record.lengths.iter().enumerate() {
            let mut bytes = Vec::new();
            for number in 0..length.div_ceil(CHUNK_BYTES as u64) as usize {
                let key = chunk_key(record.id, file, number);
                let chunk = self.keeper.get(Shelf::Genomes, &key).await?;
                bytes.extend_from_slice(&chunk.ok_or_else(damaged)?);
            }
            files.push(bytes);
        }
        if digest_of(&files) != record.id {
            return Err(damaged());
        }
        match <[Bytes; 1]>::try_from(files) {
            Ok([one]) => Ok(GenomeFiles::Gguf(one)),
            Err(files) => {
                let [config, weights] = files.try_into().map_err(|_| damaged())?;
                Ok(GenomeFiles::Peft { config, weights })
            }
        }
    }

    /// Forgets a genome.
    ///
    /// # Errors
    /// [`StoreError`] where some of it may still take room.
    pub(super) async fn remove(&self, record: &Record) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let mut removed = self
            .keeper
            .remove(Shelf::Genomes, &record.id.to_string())
            .await;
        for (file, length) in record.lengths.iter().enumerate() {
            for number in 0..length.div_ceil(CHUNK_BYTES as u64) as usize {
                let key = chunk_key(record.id, file, number);
                removed = removed.and(self.keeper.remove(Shelf::Genomes, &key).await);
            }
        }
        removed
    }
}

/// Every record; what is of no genome is removed. A record that cannot be read stays: a later
/// version may have written it.
async fn read_records(keeper: &Keeper) -> Result<Vec<Record>, StoreError> {
    let keys = keeper.keys(Shelf::Genomes).await?;
    let (chunks, names): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.contains('/'));
    let names: BTreeSet<String> = names.into_iter().collect();
    for chunk in chunks {
        let name = chunk.split('/').next().unwrap_or_default();
        if !names.contains(name) {
            keeper.remove(Shelf::Genomes, &chunk).await?;
        }
    }
    let mut records = Vec::new();
    for name in &names {
        let text = keeper.get(Shelf::Genomes, name).await?.unwrap_or_default();
        let record = serde_json::from_slice::<Record>(&text).ok();
        records.extend(record.filter(|record| record.id.to_string() == *name));
    }
    for record in &mut records {
        record.kept = true;
    }
    Ok(records)
}

fn chunk_key(id: ModelId, file: usize, number: usize) -> String {
    format!("{id}/{file}/{number}")
}
