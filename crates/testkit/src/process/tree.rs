//! What `/proc` says about processes. Never signals anything.

use std::fs;

/// Ids of the processes whose parent is `id`.
pub fn children(id: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&candidate| stat(candidate).is_some_and(|(_, parent)| parent == id))
        .collect()
}

/// Ids of all processes below `id`.
pub fn descendants(id: u32) -> Vec<u32> {
    let mut found = children(id);
    let mut next = 0;
    while next < found.len() {
        let below = children(found[next]);
        found.extend(below);
        next += 1;
    }
    found
}

/// Whether the process exists and is not a zombie.
pub fn is_running(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// How many sockets the process holds open.
pub fn open_sockets(id: u32) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{id}/fd")) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Resident memory, or `None` once the process is gone.
pub fn resident_kilobytes(id: u32) -> Option<u64> {
    status_kilobytes(id, "VmRSS:")
}

/// The most memory that was ever resident, or `None` once the process is gone.
pub fn peak_resident_kilobytes(id: u32) -> Option<u64> {
    status_kilobytes(id, "VmHWM:")
}

fn status_kilobytes(id: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// State and parent of a process. The command in parentheses may itself hold spaces and
/// parentheses, so the fields are counted from the last one.
fn stat(id: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
