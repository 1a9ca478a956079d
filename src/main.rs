//! The front door.

fn main() -> std::process::ExitCode {
    tollbridge::cli::main()
}
