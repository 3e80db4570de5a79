//! The `keg` command.

fn main() {
    std::process::exit(0);
}
