//! The `portcullis` command. Never holds policy: it composes the libraries.

fn main() {}
