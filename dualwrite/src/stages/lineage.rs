//! Whether a position follows from another one. After a failover to a standby that lags, or a restore, an epoch
//! may be lost and made again as something else: its token says so.

use crate::stages::position::Epoch;

/// Random, beside an epoch: another one with each change of the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    /// 63 bits, for the databases have signed numbers only.
    pub(crate) fn random() -> Self {
        Self((uuid::Uuid::new_v4().as_u128() >> 65) as u64)
    }
}

/// One position in the history of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    pub(crate) epoch: Epoch,
    pub(crate) token: Token,
}

/// What a position that was found is to the one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lineage {
    Same,
    /// The next one, or a later one with the same token, which somebody has made by hand.
    Next,
    /// A later one; whether it follows, only the audit knows.
    Later,
    /// An earlier one.
    Earlier,
    /// One of another history.
    Other,
}

/// `parent`: the token of the position before the one that was found.
pub(crate) fn lineage(known: Mark, found: Mark, parent: Token) -> Lineage {
    match found.epoch.cmp(&known.epoch) {
        std::cmp::Ordering::Less => Lineage::Earlier,
        _ if found == known => Lineage::Same,
        std::cmp::Ordering::Equal => Lineage::Other,
        _ if found.token == known.token => Lineage::Next,
        _ if found.epoch.0 > known.epoch.0 + 1 => Lineage::Later,
        _ if parent == known.token => Lineage::Next,
        _ => Lineage::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(epoch: u64, token: u64) -> Mark {
        Mark { epoch: Epoch(epoch), token: Token(token) }
    }

    #[test]
    fn an_epoch_that_was_made_again_is_another_one() {
        let found = |epoch, token, parent| lineage(mark(6, 60), mark(epoch, token), Token(parent));
        assert_eq!(found(6, 60, 50), Lineage::Same);
        assert_eq!(found(6, 61, 50), Lineage::Other, "lost and made again");
        assert_eq!(found(6, 61, 60), Lineage::Other, "made again from its own token");
        assert_eq!(found(7, 70, 60), Lineage::Next);
        assert_eq!(found(7, 70, 61), Lineage::Other, "made after the one that was made again");
        assert_eq!(found(8, 80, 70), Lineage::Later, "the audit knows");
        assert_eq!(found(9, 60, 50), Lineage::Next, "by hand, without a new token");
        assert_eq!(found(5, 50, 40), Lineage::Earlier);
    }

    #[test]
    fn tokens_fit_into_a_signed_number_and_differ() {
        let tokens: Vec<Token> = (0..100).map(|_| Token::random()).collect();
        assert!(tokens.iter().all(|token| i64::try_from(token.0).is_ok()));
        assert!((1..100).all(|number| tokens[number] != tokens[number - 1]));
    }
}
