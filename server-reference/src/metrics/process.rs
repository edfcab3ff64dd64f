//! What the process uses, under the names that all exporters give it. Where the system does not
//! say, the metric is left out.

use super::exposition::Exposition;
use std::time::{Duration, SystemTime};

/// Writes what the process uses; it started at this time.
pub(super) fn write(all: &mut Exposition, started: SystemTime) {
    if let Some(time) = cpu_time() {
        let seconds = time.as_secs_f64();
        all.counter("process_cpu_seconds_total", "CPU time of the process, in seconds.", seconds);
    }
    if let Some(bytes) = resident_bytes() {
        all.gauge("process_resident_memory_bytes", "Memory that the process has in RAM.", bytes);
    }
    if let Some(files) = open_files() {
        all.gauge("process_open_fds", "Open files and sockets of the process.", files);
    }
    if let Ok(since) = started.duration_since(SystemTime::UNIX_EPOCH) {
        let help = "When the server started, in seconds since the Unix epoch.";
        all.gauge("process_start_time_seconds", help, since.as_secs_f64());
    }
}

fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// From the line `VmRSS: 12345 kB` of Linux.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn open_files() -> Option<usize> {
    // The folder itself is open meanwhile.
    std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1))
}
