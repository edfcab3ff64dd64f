//! The core across WebAssembly's boundary: JSON texts in, JSON texts out. It makes no decisions and
//! no callbacks.
//!
//! A host calls [`Core::handle`], [`Core::received`], [`Core::body`] or [`Core::command`], then
//! [`Core::poll`] until its answer ends in a `wait`. Nothing here calls back into the host, so no
//! borrow is ever held while its code runs.
//!
//! Pages load the modules in `chat` and `tables`, which [`exports!`] makes of this crate: one for
//! clients with channels and dialogs, one for clients that also have live tables.

mod command;
mod input;
mod output;
mod part;
mod tables;

pub use part::Crossing;

use std::cell::RefCell;
use tidewire_core::wire::json::Writer;
use tidewire_core::{Client, ConnId, Input, Now, Output, RequestId, ResponsePart, Time};

/// Most outputs in one answer of [`Core::poll`]. The rest waits for the next call, so that texts
/// have a bounded size.
const MOST_OUTPUTS: usize = 256;
/// The initial capacity of an answer of [`Core::poll`], in bytes: most answers fit into it.
const ANSWER_BYTES: usize = 2_048;

/// One client. Times are ms: `mono` of a monotonic clock, `wall` since the Unix epoch; values out
/// of range count as the nearest possible one.
pub struct Core<T: Crossing> {
    client: RefCell<Client<T>>,
}

impl<T: Crossing> Core<T> {
    /// A client with the settings of `config`, the randomness of `seed` (32 bytes) and what the
    /// store held, `restored`. Nothing if one of them can't be read.
    pub fn create(config: &str, seed: &[u8], restored: &str, mono: f64, wall: f64) -> Option<Core<T>> {
        let seed = <[u8; 32]>::try_from(seed).ok()?;
        let (config, restored) = (input::config(config)?, input::restored(restored)?);
        let client = T::client(config, seed, now(mono, wall), restored);
        Some(Core { client: RefCell::new(client) })
    }

    /// A text message arrived on connection `conn`.
    pub fn received(&self, conn: f64, text: &str, mono: f64, wall: f64) {
        let input = Input::Received { conn: ConnId(conn as u64), text };
        self.client.borrow_mut().handle(now(mono, wall), input);
    }

    /// The next bytes of the response to a request came.
    pub fn body(&self, request: f64, bytes: &[u8], mono: f64, wall: f64) {
        let input = Input::Response { request: RequestId(request as u64), part: ResponsePart::Body(bytes) };
        self.client.borrow_mut().handle(now(mono, wall), input);
    }

    /// Feeds any other input. False if `input` could not be read; then nothing is done.
    pub fn handle(&self, input: &str, mono: f64, wall: f64) -> bool {
        input::input(input, |input| self.client.borrow_mut().handle(now(mono, wall), input)).is_some()
    }

    /// Carries out a command; answers `{"ok": …}` or `{"error": {"code", "retryable"}}`, with
    /// `message` and `at` where a table was refused.
    pub fn command(&self, command: &str, mono: f64, wall: f64) -> String {
        command::run(&mut self.client.borrow_mut(), command, now(mono, wall))
            .unwrap_or_else(|| command::refused("bad_command", false))
    }

    /// The next outputs, as an array in order. If it does not end in a `wait`, call this again at
    /// once.
    pub fn poll(&self, mono: f64, wall: f64) -> String {
        let mut client = self.client.borrow_mut();
        let mut list = Writer::list(ANSWER_BYTES);
        for _ in 0..MOST_OUTPUTS {
            let output = client.poll(now(mono, wall));
            list = output::encode::<T>(list, &output);
            if matches!(output, Output::Wait { .. }) {
                break;
            }
        }
        list.end_list()
    }
}

fn now(mono: f64, wall: f64) -> Now {
    Now { mono: Time(mono as u64), wall: wall as u64 }
}

/// Makes a module of the core for clients with this part: the class `Core` with the methods of
/// [`Core`]. wasm-bindgen exports no generic types.
#[macro_export]
macro_rules! exports {
    ($part:ty) => {
        #[cfg(target_family = "wasm")]
        #[global_allocator]
        static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

        /// See `Core` in sdk-wasm.
        #[wasm_bindgen::prelude::wasm_bindgen]
        pub struct Core($crate::Core<$part>);

        #[wasm_bindgen::prelude::wasm_bindgen]
        #[allow(missing_docs, reason = "the generic one has them")]
        impl Core {
            pub fn create(config: &str, seed: &[u8], restored: &str, mono: f64, wall: f64) -> Option<Core> {
                $crate::Core::create(config, seed, restored, mono, wall).map(Core)
            }

            pub fn received(&self, conn: f64, text: &str, mono: f64, wall: f64) {
                self.0.received(conn, text, mono, wall);
            }

            pub fn body(&self, request: f64, bytes: &[u8], mono: f64, wall: f64) {
                self.0.body(request, bytes, mono, wall);
            }

            pub fn handle(&self, input: &str, mono: f64, wall: f64) -> bool {
                self.0.handle(input, mono, wall)
            }

            pub fn command(&self, command: &str, mono: f64, wall: f64) -> String {
                self.0.command(command, mono, wall)
            }

            pub fn poll(&self, mono: f64, wall: f64) -> String {
                self.0.poll(mono, wall)
            }
        }
    };
}
