//! Bytes on the wire: a quiet cluster is quiet, and a write costs about its own size for each peer.

use super::{End, Findings, Judge};
use crate::history::History;
use crate::record::Outcomes;

#[derive(Default)]
pub(super) struct WireBytes {
    findings: Findings,
}

impl Judge for WireBytes {
    fn name(&self) -> &'static str {
        "bytes-on-the-wire"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn finish(&mut self, end: &End<'_>, _: &History, _: &mut Outcomes) {
        let (figures, limits) = (&end.figures, &end.scenario.limits);
        if end.converged.is_none() || end.processes < 2 {
            return;
        }
        let idle = figures.idle_bytes_per_link_s;
        self.findings.check(idle <= limits.idle_per_link.0 as f64, || {
            format!(
                "{idle:.0} bytes a second on one link while nothing is written, above {}",
                limits.idle_per_link
            )
        });
        let overhead = figures.overhead_bytes_per_write;
        let enough = figures.writes >= 500;
        self.findings.check(!enough || overhead <= limits.overhead_per_write.0 as f64, || {
            format!("{overhead:.0} bytes to one peer for one write, above {}", limits.overhead_per_write)
        });
    }
}
