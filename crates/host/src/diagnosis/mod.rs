//! What is wrong, or stands in the way, found out without taking or changing anything.

mod back_ends;
mod doctor;
mod why;

pub use doctor::{Complaint, Weight, check_host, check_vm, check_vms};
pub use why::{Finding, Row, Walk, walk};
