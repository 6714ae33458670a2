//! What goes to everybody.

use super::Net;
use thrum_hive::io::{GossipId, Input, Topic, Verdict};

impl Net {
    /// Tells everybody who follows the topic.
    pub(crate) fn publish(&mut self, topic: Topic, _bytes: Vec<u8>) {
        self.ready.push_back(Input::NotPublished(topic));
    }

    /// Passes a message on, or not.
    pub(crate) fn judged(&mut self, _id: GossipId, _verdict: Verdict) {}
}
