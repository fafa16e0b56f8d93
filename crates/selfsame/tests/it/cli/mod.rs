//! What people and programs read: help, output, errors, exit statuses.

mod completion;
mod contract;
mod identity;
mod setup;
mod shapes;
