//! What people and programs read: help, output, errors, exit statuses.

mod completion;
mod contract;
mod events;
mod identity;
mod logs;
mod screenshot;
mod setup;
mod shapes;
