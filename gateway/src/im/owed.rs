//! A message owed to somebody, and which debt of the store that is.

use super::message::Message;
use super::persist::Debt;
use std::ops::Deref;
use std::sync::Arc;

/// One delivery that is owed.
#[derive(Debug, Clone)]
pub struct Owed {
    message: Arc<Message>,
    /// Which of the message's recipients.
    recipient: u32,
    /// Deliveries that this recipient's share became.
    deliveries: u16,
}

impl Owed {
    /// One of `deliveries` to recipient number `recipient`.
    pub(crate) fn new(message: Arc<Message>, recipient: u32, deliveries: usize) -> Owed {
        Owed { message, recipient, deliveries: u16::try_from(deliveries).unwrap_or(u16::MAX) }
    }

    /// What to settle when the delivery is over; `None`: the message is not kept.
    pub(crate) fn debt(&self) -> Option<Debt> {
        let number = self.message.number;
        let (recipient, deliveries) = (self.recipient, self.deliveries);
        (number != 0).then_some(Debt { number, recipient, deliveries })
    }
}

impl Deref for Owed {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
