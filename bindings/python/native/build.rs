//! Tells the linker that Python provides the functions that this library calls.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
