//! `nameplate-cni`: a CNI plugin; what it does is in the library.

fn main() -> std::process::ExitCode {
    lab::cni::main()
}
