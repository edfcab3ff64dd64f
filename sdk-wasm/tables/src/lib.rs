//! The module of clients with channels, dialogs and live tables.

tidewire_wasm::exports!(tidewire_core::tables::Tables);
