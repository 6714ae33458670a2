//! Every bound of the laboratory.

use std::time::Duration;

/// Bytes; the longest packet: Ethernet's payload, as on most links that homes have.
pub const MTU: usize = 1_500;

/// Hosts of one internet; a browser in each is more than a machine stands.
pub const MAX_HOSTS: usize = 64;

/// Mappings of one NAT; a home router keeps some thousands.
pub const MAX_MAPPINGS: usize = 4_096;

/// Remote ends that one mapping lets in; a browser with many peers has tens.
pub const MAX_PERMITTED: usize = 1_024;

/// Packets under way at once: 100 ms of a gigabit in packets of 1,500 bytes.
pub const MAX_UNDER_WAY: usize = 8_192;

/// Packets that wait for one namespace to take them: what a router's queue holds.
pub const MAX_WAITING: usize = 1_024;

/// The longest wait for a free moment of a slow link: what is above is dropped at the tail.
pub const MAX_QUEUE: Duration = Duration::from_millis(500);

/// UDP mappings rest for so long before they end: what RFC 4787 (REQ-5) recommends.
pub const UDP_IDLE: Duration = Duration::from_secs(5 * 60);

/// TCP mappings rest for so long: the least of RFC 5382 (REQ-5).
pub const TCP_IDLE: Duration = Duration::from_secs(2 * 3_600 + 4 * 60);

/// Mappings of ICMP queries rest for so long: the least of RFC 5508 (REQ-2).
pub const ICMP_IDLE: Duration = Duration::from_secs(60);
