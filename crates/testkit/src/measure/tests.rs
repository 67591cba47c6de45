//! Texts as the programs print them, whole and cut off.

use super::*;

#[test]
fn spread_takes_the_middle_and_the_ends() {
    let odd = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
    assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
    assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    assert_eq!(Spread::of(&[]), None);
}

#[test]
fn percentile_is_a_value_that_was_seen() {
    let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
    assert_eq!(percentile(&mut values, 50.0), Some(50.0));
    assert_eq!(percentile(&mut values, 99.0), Some(99.0));
    assert_eq!(percentile(&mut values, 100.0), Some(100.0));
    assert_eq!(percentile(&mut [7.0], 0.0), Some(7.0));
    assert_eq!(percentile(&mut [], 50.0), None);
}

#[test]
fn schedstat_begins_with_time_on_a_processor() {
    assert_eq!(
        schedstat_nanoseconds("233449329 84906474 55\n"),
        Some(233_449_329)
    );
    assert_eq!(schedstat_nanoseconds(""), None);
    assert_eq!(schedstat_nanoseconds("x 1 2"), None);
}

#[test]
fn pss_is_found_beside_its_namesakes() {
    let text = "5584-7ffd ---p 00 00:00 0 [rollup]\nRss: 9 kB\nPss:    1234 kB\nPss_Dirty: 1 kB\n";
    assert_eq!(pss_kilobytes(text), Some(1234));
    assert_eq!(pss_kilobytes("Pss_Dirty: 1 kB\n"), None);
}

#[test]
fn stolen_time_is_the_eighth_field() {
    let text = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
    assert_eq!(machine_and_stolen_ticks(text), Some((360, 80)));
    assert_eq!(machine_and_stolen_ticks("cpu  10 20\n"), None);
}

#[test]
fn wrk_counts_answers_and_failures() {
    let good = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 50 connections\n  \
                43210 requests in 1.10s, 7.91MB read\nRequests/sec:  39281.81\n";
    assert_eq!(
        wrk_load(good).unwrap(),
        Load {
            requests: 43_210,
            failed: 0
        }
    );
    let bad = "  9 requests in 1.10s, 7.91MB read\n  Socket errors: connect 0, read 2, write 1, \
               timeout 0\n  Non-2xx or 3xx responses: 4\n";
    assert_eq!(
        wrk_load(bad).unwrap(),
        Load {
            requests: 9,
            failed: 7
        }
    );
    assert_eq!(
        wrk_load("unable to connect to 127.0.0.1:1 Connection refused\n"),
        None
    );
}

#[test]
fn h2load_counts_answers_and_failures() {
    let text = "finished in 1.00s, 12.00 req/s, 1.2KB/s\nrequests: 12 total, 12 started, 12 done, \
                9 succeeded, 1 failed, 2 errored, 0 timeout\nstatus codes: 9 2xx, 0 3xx\n";
    assert_eq!(
        h2load_load(text).unwrap(),
        Load {
            requests: 9,
            failed: 3
        }
    );
    assert_eq!(h2load_load("finished in 1.00s\n"), None);
}

#[test]
fn strace_rows_are_added_up_once() {
    let text = "strace: Process 1 attached\n\
        % time     seconds  usecs/call     calls    errors syscall\n\
        ------ ----------- ----------- --------- --------- ----------------\n \
        60.00    0.000600           6       100         5 read\n \
        40.00    0.000400           8        50           write\n\
        ------ ----------- ----------- --------- --------- ----------------\n\
        100.00    0.001000           6       150         5 total\n";
    assert_eq!(strace_calls(text), Some(150));
    assert_eq!(
        strace_calls("strace: attach: ptrace(PTRACE_SEIZE, 1): not permitted\n"),
        None
    );
}

#[test]
fn a_table_shows_three_digits_and_the_ends_where_they_differ() {
    assert_eq!(shown(None), "-");
    assert_eq!(shown(Spread::of(&[0.5])), "0.50");
    assert_eq!(
        shown(Spread::of(&[1234.6, 12.34, 99.96])),
        "100.0 (12.3 to 1235)"
    );
}
