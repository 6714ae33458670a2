//! Pipelines and bind groups, each made once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use thrum_shaders::{Binding, Kernel};

use crate::gpu::adapter;
use crate::gpu::device::GpuDevice;

/// Values of a kernel's constants.
pub(super) type Constants = Vec<(&'static str, u32)>;

/// A kernel, its constants and the buffers it will run on: everything but the compiled code.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) kernel: Kernel,
    pub(super) constants: Constants,
    /// In the order of the kernel's bindings.
    pub(super) buffers: Vec<wgpu::Buffer>,
}

/// A kernel and the buffers it runs on.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) group: wgpu::BindGroup,
}

/// A kernel compiled for one device.
#[derive(Debug, Clone)]
struct Compiled {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// The kernels compiled so far, by name and constants; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernels {
    compiled: Arc<Mutex<BTreeMap<(&'static str, Constants), Compiled>>>,
}

impl Kernels {
    /// Compiles what `sketches` need and binds their buffers. A browser gets to draw between two
    /// compilations: wgpu 29 offers none in the background.
    pub(super) async fn bind(&self, device: &GpuDevice, sketches: &[Sketch]) -> Vec<Bound> {
        let mut bound = Vec::with_capacity(sketches.len());
        for sketch in sketches {
            let (one, is_new) = self.bind_one(device, sketch);
            bound.push(one);
            if is_new {
                adapter::turn().await;
            }
        }
        bound
    }

    /// Binds one; true when it had to be compiled.
    pub(super) fn bind_one(&self, device: &GpuDevice, sketch: &Sketch) -> (Bound, bool) {
        let Sketch {
            kernel,
            constants,
            buffers,
        } = sketch;
        assert_eq!(
            buffers.len(),
            kernel.bindings.len(),
            "{} has other bindings",
            kernel.name
        );
        let mut used: Constants = constants.clone();
        used.retain(|(name, _)| kernel.overrides.contains(name));
        used.sort_unstable();
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !compiled.contains_key(&(kernel.name, used.clone()));
        let compiled = compiled
            .entry((kernel.name, used))
            .or_insert_with_key(|(_, constants)| compile(device, kernel, constants));
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &compiled.layout,
            entries: &entries,
        });
        let pipeline = compiled.pipeline.clone();
        (Bound { pipeline, group }, is_new)
    }
}

/// Parameter blocks, each made once.
#[derive(Debug, Default)]
pub(super) struct Uniforms {
    made: BTreeMap<Vec<u32>, wgpu::Buffer>,
}

impl Uniforms {
    /// The parameter block that holds `words`.
    pub(super) fn of(&mut self, device: &GpuDevice, words: &[u32]) -> wgpu::Buffer {
        self.made
            .entry(words.to_vec())
            .or_insert_with(|| device.uniform(words))
            .clone()
    }
}

fn compile(device: &GpuDevice, kernel: &Kernel, constants: &Constants) -> Compiled {
    let label = Some(kernel.name);
    let entries: Vec<_> = (0..)
        .zip(kernel.bindings)
        .map(|(at, binding)| layout_entry(at, *binding))
        .collect();
    let layout = device
        .device
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
    let pipeline_layout = device
        .device
        .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
    let module = device
        .device
        .create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(adapter::source(kernel)),
        });
    let constants: Vec<(&str, f64)> = constants
        .iter()
        .map(|(name, value)| (*name, f64::from(*value)))
        .collect();
    let pipeline = device
        .device
        .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                ..Default::default()
            },
            cache: None,
        });
    Compiled { pipeline, layout }
}

fn layout_entry(at: u32, binding: Binding) -> wgpu::BindGroupLayoutEntry {
    let ty = match binding {
        Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
        Binding::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
        Binding::Uniform => wgpu::BufferBindingType::Uniform,
    };
    wgpu::BindGroupLayoutEntry {
        binding: at,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}
