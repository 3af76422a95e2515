//! The system that ships, behind a wrapper that lies: for judges of what no rule of the core can be switched to break.

use sidetalk::core::identity::ObjectId;
use sidetalk::core::time::{MonoMicros, Now};

use crate::system::{
    Answer, Birth, Digest, Gauges, Input, NodeIx, Output, Process, Receipt, Sidetalk, System,
};

pub(super) enum Lie {
    NoTokens,
    TenTimesTheBytes,
}

pub(super) struct Lying {
    pub(super) inner: Sidetalk,
    pub(super) lie: Lie,
}

type Message = <Sidetalk as System>::Message;

impl System for Lying {
    type Message = Message;
    type Mark = <Sidetalk as System>::Mark;

    fn input(&mut self, node: NodeIx, now: Now, mut input: Input<Message>) {
        if let (Lie::NoTokens, Input::Request(_, request)) = (&self.lie, &mut input) {
            request.after.clear();
        }
        self.inner.input(node, now, input);
    }

    fn wire_bytes(&mut self, message: &Message) -> u64 {
        let times = if matches!(self.lie, Lie::TenTimesTheBytes) { 10 } else { 1 };
        times * self.inner.wire_bytes(message)
    }

    fn name(&self) -> &'static str {
        "a liar"
    }

    fn start(&mut self, birth: &Birth, now: Now) {
        self.inner.start(birth, now);
    }

    fn stop(&mut self, node: NodeIx) -> bool {
        self.inner.stop(node)
    }

    fn poll(&mut self, node: NodeIx) -> Option<Output<Message>> {
        self.inner.poll(node)
    }

    fn deadline(&self, node: NodeIx) -> Option<MonoMicros> {
        self.inner.deadline(node)
    }

    fn wants_link(&self, node: NodeIx, peer: Process) -> bool {
        self.inner.wants_link(node, peer)
    }

    fn greeting(&self, node: NodeIx) -> Option<Message> {
        self.inner.greeting(node)
    }

    fn through_bytes(&self, message: Message) -> Result<Message, String> {
        self.inner.through_bytes(message)
    }

    fn sort_of(message: &Message) -> &'static str {
        Sidetalk::sort_of(message)
    }

    fn ready(&self, node: NodeIx) -> bool {
        self.inner.ready(node)
    }

    fn clock_correction_millis(&self, node: NodeIx) -> i64 {
        self.inner.clock_correction_millis(node)
    }

    fn gauges(&self, node: NodeIx) -> Option<Gauges> {
        self.inner.gauges(node)
    }

    fn digest(&self, node: NodeIx) -> Digest {
        self.inner.digest(node)
    }

    fn handed_over(&self, node: NodeIx) -> bool {
        self.inner.handed_over(node)
    }

    fn look(&self, node: NodeIx, now: Now, object: &ObjectId) -> Answer {
        self.inner.look(node, now, object)
    }

    fn holds(&self, node: NodeIx, receipt: &Receipt) -> bool {
        self.inner.holds(node, receipt)
    }

    fn mark(&self) -> Self::Mark {
        self.inner.mark()
    }

    fn covers(&self, node: NodeIx, mark: &Self::Mark) -> bool {
        self.inner.covers(node, mark)
    }
}
