//! The module of clients with channels and dialogs.

tidewire_wasm::exports!(());
