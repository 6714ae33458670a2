//! Holds every kernel file against its constant, with naga and without a GPU.

use std::fs;
use std::path::Path;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};

use crate::{ALL, Binding, Kernel};

/// WebGPU's default `maxStorageBuffersPerShaderStage`.
const MAX_STORAGE_BINDINGS: usize = 8;
/// WebGPU's default `maxComputeInvocationsPerWorkgroup`.
const MAX_THREADS: u32 = 256;

fn parsed(kernel: &Kernel) -> Module {
    naga::front::wgsl::parse_str(kernel.source)
        .unwrap_or_else(|e| panic!("{}: {}", kernel.name, e.emit_to_string(kernel.source)))
}

fn binding_of(variable: &naga::GlobalVariable) -> Option<Binding> {
    match variable.space {
        AddressSpace::Uniform => Some(Binding::Uniform),
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
            Some(Binding::ReadWrite)
        }
        AddressSpace::Storage { .. } => Some(Binding::Read),
        AddressSpace::Function
        | AddressSpace::Handle
        | AddressSpace::Immediate
        | AddressSpace::IncomingRayPayload
        | AddressSpace::Private
        | AddressSpace::RayPayload
        | AddressSpace::TaskPayload
        | AddressSpace::WorkGroup => None,
    }
}

#[test]
fn every_file_is_listed_in_order() {
    let mut files: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .expect("the crate's own directory can be listed")
        .filter_map(|entry| {
            entry
                .expect("and so can its entries")
                .file_name()
                .into_string()
                .ok()
        })
        .filter_map(|name| name.strip_suffix(".wgsl").map(str::to_owned))
        .collect();
    files.sort();
    let listed: Vec<&str> = ALL.iter().map(|kernel| kernel.name).collect();
    assert_eq!(files, listed);
}

#[test]
fn every_kernel_is_valid_core_wgsl() {
    for kernel in ALL {
        let module = parsed(kernel);
        // What naga names a capability is core WGSL: unpack2x16float, which GLES 3.0 lacks.
        Validator::new(
            ValidationFlags::all(),
            Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        )
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {}", kernel.name, e.emit_to_string(kernel.source)));
        for directive in ["enable ", "requires "] {
            assert!(
                !kernel
                    .source
                    .lines()
                    .any(|line| line.starts_with(directive)),
                "{} asks for an extension",
                kernel.name
            );
        }
    }
}

#[test]
fn every_constant_says_what_naga_sees() {
    for kernel in ALL {
        let module = parsed(kernel);
        let [entry] = &module.entry_points[..] else {
            panic!(
                "{} has {} entry points",
                kernel.name,
                module.entry_points.len()
            );
        };
        assert_eq!(entry.name, kernel.entry, "{}", kernel.name);
        assert_eq!(entry.workgroup_size, kernel.workgroup, "{}", kernel.name);
        assert!(entry.workgroup_size_overrides.is_none(), "{}", kernel.name);

        let mut seen: Vec<(u32, u32, Binding)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let at = variable.binding?;
                Some((at.group, at.binding, binding_of(variable)?))
            })
            .collect();
        seen.sort_by_key(|(group, binding, _)| (*group, *binding));
        let listed: Vec<(u32, u32, Binding)> = (0..)
            .zip(kernel.bindings)
            .map(|(at, binding)| (0, at, *binding))
            .collect();
        assert_eq!(seen, listed, "{}", kernel.name);
    }
}

#[test]
fn every_kernel_fits_the_default_limits() {
    for kernel in ALL {
        let storage = kernel
            .bindings
            .iter()
            .filter(|b| **b != Binding::Uniform)
            .count();
        assert!(
            storage <= MAX_STORAGE_BINDINGS,
            "{} binds {storage} buffers",
            kernel.name
        );
        assert!(
            kernel.workgroup.iter().product::<u32>() <= MAX_THREADS,
            "{}",
            kernel.name
        );
    }
}

#[test]
fn every_binding_says_its_shape() {
    for kernel in ALL {
        assert!(
            kernel.source.starts_with("// "),
            "{} has no header",
            kernel.name
        );
        for line in kernel
            .source
            .lines()
            .filter(|line| line.starts_with("@group"))
        {
            let (_, comment) = line.split_once("; // ").unwrap_or_default();
            assert!(
                comment.starts_with('('),
                "{}: no shape on {line}",
                kernel.name
            );
        }
    }
}
