//! The guest's screen, of which pictures can be made. Nobody is shown it: QEMU's own `-display` is `none`.

use selfsame_machine::spec::Display;

use super::super::architecture::Hardware;
use super::Plan;
use super::line::Line;

impl Plan {
    pub(super) fn display(&self, line: &mut Line) {
        match self.display {
            Display::Vga => {
                line.option("-device", Hardware::of(self.architecture).display);
            }
            Display::None => {}
        }
    }
}
