//! The protocol over real sockets, one module for each part of it.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod answers;
mod bodies;
mod budgets;
mod caps;
mod channels;
mod connections;
mod cookies;
mod dialogs;
mod doubt;
mod frames;
mod handoff;
mod hello;
mod http;
mod http_transport;
mod metrics;
mod network;
mod ops;
mod pages;
mod people;
mod reads;
mod rest;
mod retention;
mod revoke;
mod sessions;
mod sites;
mod store;
mod tickets;
mod tokens;
