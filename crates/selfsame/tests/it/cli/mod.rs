//! What people and programs read: help, output, errors, exit statuses.

mod contract;
mod identity;
mod shapes;
