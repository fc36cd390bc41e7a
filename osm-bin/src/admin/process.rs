//! What this process uses, under the names that Prometheus' clients share.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in `/proc`: fixed by the kernel's interface with user space.
const TICKS: f64 = 100.0;
/// `/proc` counts memory in pages of this size on the platforms that are built for.
const PAGE: i64 = 4096;

/// Reads memory, processor time and open files of this process at each scrape.
#[derive(Debug, Default)]
pub struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // Where there is no /proc there is nothing to tell.
        let (Some(memory), Some(cpu)) = (resident_bytes(), cpu_seconds()) else { return Ok(()) };
        let memory = ConstGauge::new(memory);
        let name = "process_resident_memory_bytes";
        memory.encode(encoder.encode_descriptor(name, "Resident memory", None, memory.metric_type())?)?;
        let cpu = ConstCounter::new(cpu);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time",
            None,
            cpu.metric_type(),
        )?)?;
        if let Some(files) = open_files() {
            let files = ConstGauge::new(files);
            let name = "process_open_fds";
            files.encode(encoder.encode_descriptor(name, "Open files", None, files.metric_type())?)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// User and system time: the 14th and 15th field of `/proc/self/stat`, counted
/// behind the name, which may hold anything.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_time_and_files_of_this_process_are_told() {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it can be written");
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
