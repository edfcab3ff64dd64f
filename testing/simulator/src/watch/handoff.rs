//! Checks that the model is silent while an operator has a dialog, as each connection sees it.

use crate::client::LinkId;
use crate::watch::Watch;
use std::collections::BTreeMap;
use tidewire_core::wire::{Body, Handler, Page, ServerFrame, decode_server_message};

/// Who answers, by the connection and the channel, as far as it was told.
#[derive(Default)]
pub(crate) struct HandoffWatch(BTreeMap<(LinkId, String), Handler>);

impl Watch {
    /// The server sends a message to a connection.
    pub(crate) fn model_is_silent(&mut self, link: LinkId, text: &str) {
        for frame in decode_server_message(text).unwrap_or_default() {
            match frame {
                ServerFrame::SubOk(sub) => self.pages(link, &sub.page),
                ServerFrame::Page(page) => self.pages(link, &page),
                ServerFrame::SubErr { ch, .. } => {
                    self.handoff.0.remove(&(link, ch.to_string()));
                }
                ServerFrame::Event(event) => {
                    if let Some(handler) = self.handoff.0.get_mut(&(link, event.ch.to_string())) {
                        let body = Body::decode(&event.kind, &event.body);
                        let next = body.handler_after(handler, &event.by, event.at);
                        *handler = next.unwrap_or_else(|| handler.clone());
                    }
                }
                ServerFrame::Piece(piece) => {
                    let handler = self.handoff.0.get(&(link, piece.ch.to_string()));
                    if handler.is_some_and(|handler| !handler.is_ai()) {
                        let how =
                            format!("{link:?} is sent a piece of {} while an operator writes", piece.run);
                        self.broken("H2", how);
                    }
                }
                _ => {}
            }
        }
    }

    fn pages(&mut self, link: LinkId, page: &Page) {
        let key = (link, page.ch.to_string());
        if page.more {
            self.handoff.0.remove(&key);
        } else {
            let handler = page.handler.clone().unwrap_or_default();
            self.mark(match &handler {
                Handler::Ai => "handler:ai",
                Handler::Queued { .. } => "handler:queued",
                Handler::Operator { .. } => "handler:operator",
                Handler::Closed { .. } => "handler:closed",
            });
            self.handoff.0.insert(key, handler);
        }
    }

    /// The server's end of a connection is gone.
    pub(crate) fn forgets_handlers(&mut self, gone: LinkId) {
        self.handoff.0.retain(|(link, _), _| *link != gone);
    }
}
