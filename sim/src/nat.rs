//! What stands between a tab and the others, and which two tabs find a direct way (RFC 4787's
//! mapping and filtering; RFC 8445's search for pairs).

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;

/// What a peer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nat {
    /// a coin decides about each dial: small stories need no more
    #[default]
    Coin,
    /// a public address
    Open,
    /// one mapping for all, which lets everybody in
    FullCone,
    /// one mapping for all, which lets in whom was written to
    Restricted,
    /// one mapping for all, which lets in the address and port that was written to
    PortRestricted,
    /// another mapping for everybody
    Symmetric,
    /// no UDP leaves
    UdpBlocked,
}

impl Nat {
    /// Every kind but the coin, and how many of a hundred tabs are behind it: a guess at home and
    /// mobile networks.
    pub const SHARES: [(Self, u64); 6] = [
        (Self::Open, 5),
        (Self::FullCone, 15),
        (Self::Restricted, 15),
        (Self::PortRestricted, 45),
        (Self::Symmetric, 15),
        (Self::UdpBlocked, 5),
    ];

    /// One of them, as often as it occurs.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut at = rng.next_u64() % 100;
        for (nat, share) in Self::SHARES {
            if at < share {
                return nat;
            }
            at -= share;
        }
        Self::PortRestricted
    }

    /// Whether two peers find a direct way, `None` where a coin decides.
    #[must_use]
    pub fn meets(self, other: Self) -> Option<bool> {
        match (self.min(other), self.max(other)) {
            (Self::Coin, _) => None,
            (_, Self::UdpBlocked)
            | (Self::Symmetric | Self::PortRestricted, Self::Symmetric)
            | (Self::UdpBlocked, _) => Some(false),
            (
                Self::Open | Self::FullCone | Self::Restricted,
                Self::Coin
                | Self::Open
                | Self::FullCone
                | Self::Restricted
                | Self::PortRestricted
                | Self::Symmetric,
            )
            | (
                Self::PortRestricted | Self::Symmetric,
                Self::Coin | Self::Open | Self::FullCone | Self::Restricted | Self::PortRestricted,
            ) => Some(true),
        }
    }

    /// Whether TURN over UDP reaches it.
    #[must_use]
    pub fn reaches_turn(self) -> bool {
        self != Self::UdpBlocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pairs_that_need_turn_find_no_way() {
        let kinds = Nat::SHARES.map(|(nat, _)| nat);
        for a in kinds {
            for b in kinds {
                let meets = a.meets(b).unwrap();
                assert_eq!(Some(meets), b.meets(a), "{a:?} {b:?}");
                let blocked = [a, b].contains(&Nat::UdpBlocked);
                let both = |x, y| (a, b) == (x, y) || (b, a) == (x, y);
                let hard = both(Nat::Symmetric, Nat::Symmetric)
                    || both(Nat::Symmetric, Nat::PortRestricted);
                assert_eq!(meets, !blocked && !hard, "{a:?} {b:?}");
            }
        }
        assert_eq!(Nat::Coin.meets(Nat::Open), None);
        let shares: u64 = Nat::SHARES.iter().map(|(_, share)| share).sum();
        assert_eq!(shares, 100);
    }
}
