//! The list of all keys a table accepts. Never lists what [`super::Fields`] would refuse.

use super::{Kind, Table};

/// Every key with where it stands: `listeners[].address`, `clusters.<name>.health.path`.
pub fn key_paths(table: &Table) -> Vec<String> {
    let mut paths = Vec::new();
    collect(table, "", &mut paths);
    paths
}

fn collect(table: &Table, prefix: &str, paths: &mut Vec<String>) {
    for key in table.keys {
        let path = format!("{prefix}{}", key.name);
        paths.push(path.clone());
        collect_kind(&key.kind, &path, paths);
    }
}

fn collect_kind(kind: &Kind, path: &str, paths: &mut Vec<String>) {
    match kind {
        Kind::Scalar(_) | Kind::Map(_) => {}
        Kind::Table(table) | Kind::Switch(table) | Kind::Switches(table) | Kind::Short(table) => {
            collect(table, &format!("{path}."), paths);
        }
        Kind::List(inner) => collect_kind(inner, &format!("{path}[]"), paths),
        Kind::Named(table, _) => collect(table, &format!("{path}.<name>."), paths),
    }
}
