//! System tests: they start the real binary and judge it from outside. Never reach into a crate
//! to see whether something worked.
//!
//! One integration binary with a module per subject, so that there is one link and every test
//! runs beside every other. What a test needs of the outside world comes from the testkit.
//!
//! Modules join as the commands they judge arrive.
