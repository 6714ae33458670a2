//! What happens when the GPU goes away, and what is refused before anything is computed.

use super::test_device::device;
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, GgufReader, ReadOptions, WeightSink};
use crate::gpu::{GpuDevice, GpuModel, GpuUpload};
use crate::pass::{Pass, PassRow, PassSequence};
use crate::sampler::{Sampler, SamplerParams};
use crate::synthetic::SyntheticModel;
use crate::weights::{Slot, TensorInfo, WeightStore};

fn push(sink: &mut dyn WeightSink) -> Result<(), EngineError> {
    let file = SyntheticModel::SMALL.gguf();
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: 512,
    });
    reader.push(&file, sink)?;
    reader.finish(sink).map(drop)
}

fn on_gpu(device: &GpuDevice) -> Result<GpuModel, EngineError> {
    let mut upload = GpuUpload::new(device);
    push(&mut upload)?;
    pollster::block_on(upload.into_model())
}

/// `tokens` of one sequence, from position 0 on.
fn pass(tokens: &[u32]) -> Pass {
    let row = |(position, token): (u32, &u32)| PassRow {
        token: *token,
        position,
        sequence: 0,
        place: position,
    };
    Pass {
        rows: (0..).zip(tokens).map(row).collect(),
        sequences: vec![PassSequence {
            pages: vec![0],
            len: tokens.len() as u32,
            adapters: Vec::new(),
        }],
        wanted: vec![tokens.len() as u32 - 1],
    }
}

#[test]
fn a_lost_device_is_an_error_at_every_step() {
    let Some(device) = device() else { return };
    let mut model = on_gpu(&device).expect("the model fits");
    pollster::block_on(model.forward(&pass(&[1, 2]))).expect("the device is there");
    let hot = SamplerParams {
        temperature: 1.0,
        top_k: 3,
        ..SamplerParams::GREEDY
    };
    let recipe = Sampler::new(hot)
        .expect("good parameters")
        .recipe(&[], 0, 2, None);
    let recipes = [recipe.expect("kernels can do it")];
    device.destroy();
    for _ in 0..2 {
        assert_lost(pollster::block_on(model.forward(&pass(&[3]))).map(drop));
        assert_lost(pollster::block_on(model.greedy(&pass(&[3]), 2)).map(drop));
        assert_lost(pollster::block_on(model.sample(&pass(&[3]), &recipes, 2)).map(drop));
        assert_lost(pollster::block_on(model.set_adapters(&[])));
        assert_lost(model.copy_page(crate::sequences::PageCopy { from: 0, to: 1 }));
    }
    assert_lost(on_gpu(&device).map(drop));

    let fresh = super::test_device::device().expect("there was an adapter a moment ago");
    let mut model = on_gpu(&fresh).expect("the file makes the model again");
    pollster::block_on(model.forward(&pass(&[1, 2, 3]))).expect("and it runs");
}

#[test]
fn a_device_lost_at_any_moment_ends_the_pass_that_runs() {
    let Some(device) = device() else { return };
    let mut model = on_gpu(&device).expect("the model fits");
    let (begun, wait_for_begun) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        wait_for_begun.recv().expect("passes begin");
        device.destroy();
    });
    let mut ending = Ok(());
    for at in 0..100_000 {
        ending = pollster::block_on(model.forward(&pass(&[7; 32]))).map(drop);
        if ending.is_err() {
            break;
        }
        if at == 3 {
            begun.send(()).expect("the other thread waits");
        }
    }
    assert_lost(ending);
    other.join().expect("destroying does not panic");
}

#[test]
fn a_device_lost_while_weights_arrive_ends_the_upload() {
    let Some(device) = device() else { return };
    let mut upload = GpuUpload::new(&device);
    push(&mut upload).expect("the weights fit");
    device.destroy();
    assert_lost(pollster::block_on(upload.into_model()).map(drop));
}

#[test]
fn a_pass_that_is_dropped_can_be_made_again() {
    let Some(device) = device() else { return };
    let mut model = on_gpu(&device).expect("the model fits");
    let want = pollster::block_on(model.forward(&pass(&[5, 6, 7]))).expect("tokens are good");
    drop(model.forward(&pass(&[8, 9])));
    let got = pollster::block_on(model.forward(&pass(&[5, 6, 7]))).expect("tokens are good");
    assert_eq!(got, want);
}

/// What a file of `config` says, without its weights.
fn begin(config: &ModelConfig, device: &GpuDevice) -> Result<GpuUpload, EngineError> {
    let info = |slot: Slot| TensorInfo {
        slot,
        format: crate::quant::Format::F32,
        rows: slot.shape(config).0,
        cols: slot.shape(config).1,
        offset: 0,
    };
    let infos: Vec<TensorInfo> = Slot::all(config).map(info).collect();
    let mut upload = GpuUpload::new(device);
    upload.begin(config, &infos)?;
    Ok(upload)
}

#[test]
fn refuses_what_no_buffer_holds() {
    let Some(device) = device() else { return };
    let config = ModelConfig {
        vocab_size: 1 << 40,
        ..SyntheticModel::SMALL.config()
    };
    let error = begin(&config, &device.with_max_buffer_bytes(1 << 10));
    let error = error.expect_err("64 rows are more than a kilobyte");
    let EngineError::GpuBufferTooLarge {
        what,
        needed_bytes,
        available_bytes,
    } = error
    else {
        panic!("{error}");
    };
    assert!(needed_bytes > available_bytes && available_bytes > 0 && !what.is_empty());
}

#[test]
fn refuses_a_context_whose_table_no_buffer_holds() {
    let Some(device) = device() else { return };
    struct Endless(GpuUpload);
    impl WeightSink for Endless {
        fn begin(&mut self, config: &ModelConfig, it: &[TensorInfo]) -> Result<(), EngineError> {
            let config = ModelConfig {
                context_len: 1 << 45,
                ..config.clone()
            };
            self.0.begin(&config, it)
        }
        fn write(&mut self, at: usize, from: u64, bytes: &[u8]) -> Result<(), EngineError> {
            self.0.write(at, from, bytes)
        }
        fn finish(&mut self) -> Result<(), EngineError> {
            self.0.finish()
        }
    }
    let mut upload = Endless(GpuUpload::new(&device));
    push(&mut upload).expect("the weights fit");
    let error = pollster::block_on(upload.0.into_model()).expect_err("many positions");
    assert!(
        matches!(error, EngineError::GpuBufferTooLarge { .. }),
        "{error}"
    );
}

#[test]
fn refuses_sizes_that_kernels_do_not_divide_or_hold() {
    let Some(device) = device() else { return };
    let small = SyntheticModel::SMALL.config();
    let narrow = ModelConfig {
        ffn_dim: 98,
        ..small.clone()
    };
    let error = begin(&narrow, &device).expect_err("98 is no multiple of 4");
    let EngineError::GpuShape {
        value: 98,
        multiple: 4,
        ..
    } = error
    else {
        panic!("{error}");
    };
    let wide = ModelConfig {
        head_dim: 512,
        ..small
    };
    let error = begin(&wide, &device).expect_err("no workgroup mixes as much");
    assert!(
        matches!(error, EngineError::GpuUnavailable { .. }),
        "{error}"
    );
}

#[test]
fn refuses_a_model_of_which_a_tensor_is_missing() {
    let Some(device) = device() else { return };
    let upload = begin(&SyntheticModel::SMALL.config(), &device).expect("it fits");
    let error = pollster::block_on(upload.into_model()).expect_err("nothing was written");
    assert!(
        matches!(error, EngineError::Gguf(GgufError::MissingTensor { .. })),
        "{error}"
    );
    let mut store = WeightStore::default();
    push(&mut store).expect("and the file is whole");
}

#[track_caller]
fn assert_lost(result: Result<(), EngineError>) {
    match result {
        Err(EngineError::GpuLost { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?} from a device that is gone"),
    }
}
