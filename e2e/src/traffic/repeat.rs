//! Calls on and on, and how often what came of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{RepeatOptions, make};

/// How often the counters are told.
const TELL: Duration = Duration::from_secs(1);

/// Calls until the process is ended, and tells the counters of all outcomes.
pub(super) async fn repeat(options: &RepeatOptions) -> Result<()> {
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut told = Instant::now();
    loop {
        for call in &options.calls {
            for outcome in make::calls(std::slice::from_ref(call)).await {
                *outcomes.entry(outcome).or_default() += 1;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                println!("{}", serde_json::to_string(&outcomes).context("writing outcomes")?);
            }
            tokio::time::sleep(Duration::from_millis(options.pause)).await;
        }
    }
}
