//! Pipelines and bind groups, each made once.

use std::collections::BTreeMap;

use thrum_shaders::{Binding, Kernel};

use crate::gpu::device::GpuDevice;

/// A kernel compiled for one device.
#[derive(Debug, Clone)]
struct Compiled {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A kernel and the buffers it runs on.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) group: wgpu::BindGroup,
}

/// The kernels compiled so far; a clone shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernels {
    compiled: BTreeMap<&'static str, Compiled>,
}

/// Compiles kernels and makes parameter blocks, each once.
#[derive(Debug)]
pub(super) struct Binder<'a> {
    device: &'a GpuDevice,
    kernels: &'a mut Kernels,
    uniforms: BTreeMap<Vec<u32>, wgpu::Buffer>,
}

impl<'a> Binder<'a> {
    pub(super) fn new(device: &'a GpuDevice, kernels: &'a mut Kernels) -> Self {
        Self {
            device,
            kernels,
            uniforms: BTreeMap::new(),
        }
    }

    /// The parameter block that holds `words`.
    pub(super) fn params(&mut self, words: &[u32]) -> wgpu::Buffer {
        let make = || self.device.uniform(words);
        self.uniforms
            .entry(words.to_vec())
            .or_insert_with(make)
            .clone()
    }

    /// `kernel` with `buffers` in the order of its bindings.
    pub(super) fn bind(&mut self, kernel: &Kernel, buffers: &[&wgpu::Buffer]) -> Bound {
        assert_eq!(
            buffers.len(),
            kernel.bindings.len(),
            "{} has other bindings",
            kernel.name
        );
        let compiled = self
            .kernels
            .compiled
            .entry(kernel.name)
            .or_insert_with(|| compile(self.device, kernel));
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = self
            .device
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name),
                layout: &compiled.layout,
                entries: &entries,
            });
        Bound {
            pipeline: compiled.pipeline.clone(),
            group,
        }
    }
}

fn compile(device: &GpuDevice, kernel: &Kernel) -> Compiled {
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
            source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
        });
    let pipeline = device
        .device
        .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
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
