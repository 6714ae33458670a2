//! Holds every kernel against its constant, with naga and without a GPU.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};

use crate::{Binding, Kernel, all};

/// WebGPU's default `maxStorageBuffersPerShaderStage`.
const MAX_STORAGE_BINDINGS: usize = 8;
/// WebGPU's default `maxComputeInvocationsPerWorkgroup`.
const MAX_THREADS: u32 = 256;
/// bytes; WebGPU's default `maxComputeWorkgroupStorageSize`.
const MAX_WORKGROUP_BYTES: u32 = 16_384;

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

/// The `.wgsl` files at the top of this crate and in `parts/`.
fn files() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    [top.to_owned(), top.join("parts")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the crate's own folders can be listed"))
        .map(|entry| entry.expect("and so can their entries").path())
        .filter(|path| path.extension().is_some_and(|end| end == "wgsl"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("and read");
            (path, text)
        })
        .collect()
}

#[test]
fn every_file_is_in_a_kernel_and_every_name_is_one() {
    let all = all();
    for (path, text) in files() {
        assert!(
            all.iter().any(|kernel| kernel.source.contains(&text)),
            "{} is in no kernel",
            path.display()
        );
    }
    let names: BTreeSet<&str> = all.iter().map(|kernel| kernel.name).collect();
    assert_eq!(names.len(), all.len());
}

#[test]
fn every_kernel_is_valid_and_asks_for_what_it_says() {
    for kernel in all() {
        let module = parsed(&kernel);
        // What naga names a capability is core WGSL: unpack2x16float, which GLES 3.0 lacks.
        let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        if kernel.needs.subgroups() {
            capabilities |= Capabilities::SUBGROUP;
        }
        Validator::new(ValidationFlags::all(), capabilities)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
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
        assert_eq!(
            kernel.source.contains("subgroupAdd"),
            kernel.needs.subgroups(),
            "{}",
            kernel.name
        );
        assert_eq!(
            kernel.source.contains("dot4I8Packed"),
            kernel.needs.packed_dot(),
            "{}",
            kernel.name
        );
    }
}

#[test]
fn every_constant_says_what_naga_sees() {
    for kernel in all() {
        let module = parsed(&kernel);
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

        let seen: BTreeSet<&str> = module
            .overrides
            .iter()
            .filter_map(|(_, constant)| constant.name.as_deref())
            .collect();
        assert_eq!(
            seen,
            kernel.overrides.iter().copied().collect(),
            "{}",
            kernel.name
        );
    }
}

#[test]
fn every_kernel_fits_the_default_limits() {
    for kernel in all() {
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
        let module = parsed(&kernel);
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(
            shared <= MAX_WORKGROUP_BYTES,
            "{} shares {shared} bytes",
            kernel.name
        );
    }
}

#[test]
fn every_file_has_a_header_and_every_binding_a_shape() {
    for (path, text) in files() {
        assert!(text.starts_with("// "), "{} has no header", path.display());
        for line in text.lines().filter(|line| line.starts_with("@group")) {
            let (_, comment) = line.split_once("; // ").unwrap_or_default();
            assert!(
                comment.starts_with('('),
                "{}: no shape on {line}",
                path.display()
            );
        }
    }
}
