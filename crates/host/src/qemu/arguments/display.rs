//! The guest's screen, of which pictures can be made. Nobody is shown it: QEMU's own `-display` is `none`.

use selfsame_machine::spec::Display;

use super::super::architecture::Hardware;
use super::Plan;
use super::line::Line;

impl Plan {
    pub(super) fn display(&self, line: &mut Line) {
        match self.display {
            // At a place of its own, behind all others: a guest finds its network where it was, with a screen or without.
            Display::Vga => {
                let card = Hardware::of(self.architecture).display;
                line.option("-device", format!("{card},bus=pcie.0,addr=0x1e"));
            }
            Display::None => {}
        }
    }
}
