//! A crew against one worker: the same bits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::adapter::{Adapter, LoraPair};
use crate::arch::{Architecture, TABLE};
use crate::cpu::{CpuModel, PanelStore};
use crate::gguf::WeightSink as _;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::sequences::BatchRow;
use crate::synthetic::{Random, SyntheticModel};
use crate::weights::{LayerSlot, Slot};

/// Large enough that its matrices are shared, with a vocabulary that divides into no whole shares.
const SPEC: SyntheticModel = SyntheticModel {
    dim: 256,
    ffn_dim: 520,
    vocab_size: 517,
    ..SyntheticModel::SMALL
};

fn alone(spec: &SyntheticModel) -> Model {
    let (header, weights) = spec.load();
    let model = CpuModel::new(header.config, weights).expect("room");
    assert_eq!(model.workers(), 1);
    Model::new(model, 1_024)
}

fn crewed(spec: &SyntheticModel, members: usize) -> Model {
    let (header, weights) = spec.load();
    let crew = Box::new(ThreadCrew::new(members).expect("threads"));
    let model = CpuModel::with_crew(header.config, weights, crew).expect("room");
    assert_eq!(model.workers(), members + 1);
    Model::new(model, 1_024)
}

/// The logits after every token, of which `batch` go in at once.
fn logits(model: &mut Model, tokens: &[u32], batch: usize) -> Vec<u32> {
    let sequence = model.open().expect("room");
    let row = |token: &u32| BatchRow {
        sequence,
        token: *token,
        logits: true,
    };
    let rows: Vec<BatchRow> = tokens.iter().map(row).collect();
    let logits = rows
        .chunks(batch)
        .flat_map(|rows| pollster::block_on(model.forward(rows)).expect("a good batch"));
    logits.map(f32::to_bits).collect()
}

fn tokens(n: usize, vocab_size: usize) -> Vec<u32> {
    let mut random = Random(5);
    (0..n).map(|_| random.bits() % vocab_size as u32).collect()
}

fn check(spec: &SyntheticModel, members: usize, what: &str) {
    let (mut one, mut several) = (alone(spec), crewed(spec, members));
    let tokens = tokens(14, spec.vocab_size);
    for batch in [1, 5, MAX_BATCH] {
        let expected = logits(&mut one, &tokens, batch);
        assert!(expected == logits(&mut several, &tokens, batch), "{what}");
    }
}

#[test]
fn every_number_of_workers_gives_the_same_bits() {
    for members in [1, 2, 3, 6] {
        check(&SPEC, members, &format!("{members} members"));
    }
}

#[test]
fn every_format_is_shared_to_the_bit() {
    for (n, format) in Format::ALL.into_iter().enumerate() {
        let spec = SyntheticModel {
            ffn_dim: 512,
            format,
            tied_output: n % 2 == 0,
            ..SPEC
        };
        check(&spec, 1, format.name());
    }
}

#[test]
fn every_architecture_is_shared_to_the_bit() {
    for facts in TABLE.iter().filter(|facts| facts.causal) {
        let spec = SyntheticModel {
            architecture: facts.architecture,
            ..SPEC
        };
        check(&spec, 2, facts.name);
    }
}

#[test]
fn an_encoder_reads_a_text_longer_than_a_batch() {
    let spec = SyntheticModel {
        architecture: Architecture::Bert,
        ..SPEC
    };
    let tokens = tokens(70, spec.vocab_size);
    let embed = |mut model: Model| pollster::block_on(model.embed(&tokens)).expect("a good text");
    assert_eq!(embed(alone(&spec)), embed(crewed(&spec, 2)));
}

#[test]
fn adapters_are_added_to_what_all_computed_together() {
    let mut logits_of = Vec::new();
    for mut model in [alone(&SPEC), crewed(&SPEC, 2)] {
        let mut random = Random(3);
        let slot = Slot::Layer(0, LayerSlot::FfnDown);
        let (rows, cols) = slot.shape(model.config());
        let mut floats = |n: usize| (0..n).map(|_| random.symmetric()).collect();
        let pair = LoraPair {
            rank: 4,
            scale: 1.0,
            a: floats(4 * cols),
            b: floats(rows * 4),
        };
        let adapter = Adapter {
            name: String::new(),
            rank: 4,
            pairs: BTreeMap::from([(slot, pair)]),
        };
        let id = pollster::block_on(model.add_adapter(adapter)).expect("room");
        let plain = model.open().expect("room");
        let worn = model.open().expect("room");
        model.set_adapters(worn, vec![(id, 1.0)]).expect("there");
        let rows = [plain, worn].map(|sequence| BatchRow {
            sequence,
            token: 5,
            logits: true,
        });
        let logits = pollster::block_on(model.forward(&rows)).expect("a good batch");
        let (plain, worn) = logits.split_at(SPEC.vocab_size);
        assert_ne!(plain, worn);
        logits_of.push(logits);
    }
    let bits = |logits: &[f32]| logits.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&logits_of[0]), bits(&logits_of[1]));
}

#[test]
fn rows_are_divided_without_gaps_and_every_worker_has_some() {
    for members in 1..6 {
        let (header, _) = SPEC.load();
        let division = Division::new(&header.config, members);
        for slot in Slot::all(&header.config) {
            if division.matrix(slot).is_none() {
                continue;
            }
            let mut next = 0;
            for worker in 0..division.workers() {
                let rows = division.rows(slot, worker);
                assert_eq!(rows.start, next, "{}", slot.name());
                assert!(!rows.is_empty(), "{}", slot.name());
                next = rows.end;
            }
            assert_eq!(next, slot.shape(&header.config).0, "{}", slot.name());
        }
    }
}

#[test]
fn small_matrices_stay_whole() {
    let (header, _) = SyntheticModel::SMALL.load();
    let division = Division::new(&header.config, 3);
    let shared = Slot::all(&header.config).filter(|slot| division.matrix(*slot).is_some());
    assert_eq!(shared.count(), 0);
    assert_eq!(division.room(), Room::default());
}

/// A crew that keeps count of what it is sent and answers with zeros.
#[derive(Debug, Clone, Default)]
struct Counting(Rc<RefCell<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    room: Room,
    shares: Vec<Share>,
    bytes: u64,
    orders: Vec<Vec<MatrixId>>,
    outputs: usize,
    most_inputs: usize,
    most_outputs: usize,
}

impl Crew for Counting {
    fn members(&self) -> usize {
        1
    }

    fn open(&mut self, room: Room) -> Result<(), EngineError> {
        self.0.borrow_mut().room = room;
        Ok(())
    }

    fn hold(&mut self, _: usize, share: Share) -> Result<(), EngineError> {
        self.0.borrow_mut().shares.push(share);
        Ok(())
    }

    fn write(&mut self, _: usize, _: MatrixId, bytes: &[u8]) -> Result<(), EngineError> {
        self.0.borrow_mut().bytes += bytes.len() as u64;
        Ok(())
    }

    fn start(&mut self, matrices: &[MatrixId], inputs: &Activations) -> Result<(), EngineError> {
        let mut counts = self.0.borrow_mut();
        let rows = |id: &MatrixId| {
            let share = counts.shares.iter().find(|share| share.matrix == *id);
            share.expect("it was announced").rows
        };
        let outputs = inputs.tokens() * matrices.iter().map(rows).sum::<usize>();
        counts.outputs = outputs;
        counts.most_inputs = counts.most_inputs.max(inputs.values().len());
        counts.most_outputs = counts.most_outputs.max(outputs);
        counts.orders.push(matrices.to_vec());
        Ok(())
    }

    fn finish(&mut self, take: &mut dyn FnMut(usize, &[f32])) -> Result<(), EngineError> {
        let outputs = self.0.borrow_mut().outputs;
        take(0, &vec![0.0; outputs]);
        Ok(())
    }

    fn rows(
        &mut self,
        _: usize,
        matrix: MatrixId,
        rows: &[u32],
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), EngineError> {
        let counts = self.0.borrow_mut();
        let share = counts.shares.iter().find(|share| share.matrix == matrix);
        take(&vec![
            0.0;
            rows.len() * share.expect("it was announced").cols
        ]);
        Ok(())
    }
}

#[test]
fn four_orders_a_block_and_one_for_the_head_within_the_room_that_was_made() {
    let (header, weights) = SPEC.load();
    let config = header.config;
    let counting = Counting::default();
    let crew = Box::new(counting.clone());
    let model = CpuModel::with_crew(config.clone(), weights, crew).expect("room");
    let mut model = Model::new(model, 1_024);
    logits(&mut model, &tokens(MAX_BATCH, SPEC.vocab_size), MAX_BATCH);
    let counts = counting.0.borrow_mut();
    let lengths: Vec<usize> = counts.orders.iter().map(Vec::len).collect();
    // Where keys and values are too small to be shared, queries go alone.
    let queries = lengths[0];
    let block = [queries, 1, 2, 1];
    let expected = block.repeat(config.n_layers).into_iter().chain([1]);
    assert_eq!(lengths, expected.collect::<Vec<_>>());
    assert_eq!(counts.most_inputs, counts.room.input_floats);
    assert_eq!(counts.most_outputs, counts.room.output_floats);
}

#[test]
fn a_member_gets_its_rows_however_the_file_is_cut() {
    let (header, weights) = SPEC.load();
    let counting = Counting::default();
    let mut store = PanelStore::with_crew(Box::new(counting.clone()));
    let infos: Vec<_> = weights
        .iter()
        .map(|(slot, matrix)| crate::weights::TensorInfo {
            slot,
            format: matrix.format,
            rows: matrix.rows,
            cols: matrix.cols,
            offset: 0,
        })
        .collect();
    store.begin(&header.config, &infos).expect("a good header");
    for (tensor, info) in infos.iter().enumerate() {
        let bytes = &weights.get(info.slot).expect("listed").bytes;
        let piece_bytes = 7 * info.format.block_bytes();
        for (n, piece) in bytes.chunks(piece_bytes).enumerate() {
            let offset = (n * piece_bytes) as u64;
            store.write(tensor, offset, piece).expect("whole blocks");
        }
    }
    store.into_model().expect("whole");
    let counts = counting.0.borrow_mut();
    let share_bytes = |it: &Share| (it.rows * it.format.row_bytes(it.cols)) as u64;
    let expected: u64 = counts.shares.iter().map(share_bytes).sum();
    assert_eq!(counts.bytes, expected);
    assert!(counts.bytes > 0);
}

#[test]
fn a_member_without_its_rows_says_so() {
    let mut crew = ThreadCrew::new(1).expect("a thread");
    let mut inputs = Activations::default();
    inputs.set(&[0.0; 32], 32);
    crew.start(&[MatrixId(3)], &inputs).expect("it listens");
    let answered = crew.finish(&mut |_, _| panic!("nothing to take"));
    assert_eq!(answered, Err(EngineError::UnknownMatrix { matrix: 3 }));
}

#[test]
fn a_member_that_panics_is_named() {
    let mut crew = ThreadCrew::new(2).expect("threads");
    let share = Share {
        matrix: MatrixId(0),
        format: Format::F32,
        rows: 8,
        cols: 4,
    };
    crew.hold(1, share).expect("it listens");
    crew.write(1, MatrixId(0), &[0; 128]).expect("it listens");
    let asked = crew.rows(1, MatrixId(0), &[8], &mut |_| {
        panic!("there is no such row")
    });
    assert!(matches!(
        asked,
        Err(EngineError::MemberLost { member: 1, .. })
    ));
    let message = asked.expect_err("it was lost").to_string();
    assert!(
        message.starts_with("worker 3 of those that compute"),
        "{message}"
    );
}
