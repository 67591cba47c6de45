//! The checks of the fuzzer over its corpus and over mutations of it.

use std::fs;
use std::path::PathBuf;

use super::{
    chunked_body, client_hello, configuration, cookies, forwarded, proxy_header, request, response,
};

/// Mutations of each file; a fuzzer makes many more.
const MUTATIONS: usize = 60;
/// Fixed, so that a failure can be repeated; any other should pass as well.
const SEED: u64 = 0x9c1d_44a7;

#[test]
fn requests_mean_the_same_however_they_arrive() {
    run("requests", request);
}

#[test]
fn responses_mean_the_same_however_they_arrive() {
    run("responses", response);
}

#[test]
fn chunked_bodies_mean_the_same_however_they_arrive() {
    run("chunked_bodies", chunked_body);
}

#[test]
fn proxy_headers_mean_the_same_however_they_arrive() {
    run("proxy_headers", proxy_header);
}

#[test]
fn forwarded_fields_mean_the_same_when_they_are_written_anew() {
    run("forwarded", forwarded);
}

#[test]
fn client_hellos_ask_for_the_same_name_however_they_arrive() {
    run("client_hellos", client_hello);
}

#[test]
fn cookies_of_nobodys_making_bind_to_nothing_and_ours_are_hidden() {
    run("cookies", cookies);
}

#[test]
fn whatever_is_taken_for_a_configuration_is_read_or_refused_with_reasons() {
    run("configurations", configuration);
}

fn run(target: &str, check: impl Fn(&[u8])) {
    println!("seed {SEED:#x}");
    let files = corpus(target);
    assert!(files.len() >= 20, "where is the corpus of {target}?");
    let mut random = fastrand::Rng::with_seed(SEED);
    for (name, bytes) in &files {
        check(bytes);
        for round in 0..MUTATIONS {
            let mut mutated = bytes.clone();
            for _ in 0..random.usize(1..4) {
                mutate(&mut mutated, &files, &mut random);
            }
            println!("{name}, mutation {round}: {}", mutated.escape_ascii());
            check(&mutated);
        }
    }
}

/// Name and bytes of every committed input.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = fs::read_dir(root.join(target)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// One change: a byte replaced, removed or put in, a piece repeated, the end cut off, or the end of
/// another input put on.
fn mutate(bytes: &mut Vec<u8>, others: &[(String, Vec<u8>)], random: &mut fastrand::Rng) {
    const TELLING: &[u8] = b"\r\n\0 \t:;,/*?#0159aA\x7f\x80\xff";
    let at = random.usize(0..=bytes.len());
    let byte = match random.bool() {
        true => TELLING[random.usize(0..TELLING.len())],
        false => random.u8(..),
    };
    match random.u8(0..6) {
        0 if at < bytes.len() => bytes[at] = byte,
        1 if at < bytes.len() => {
            bytes.remove(at);
        }
        2 => bytes.truncate(at),
        3 => {
            let end = random.usize(at..=bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(end..end, piece);
        }
        4 => {
            let (_, other) = &others[random.usize(0..others.len())];
            let from = random.usize(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => bytes.insert(at, byte),
    }
}
