//! What suites need before they run: tools, which are installed if possible, and builds.

use super::outcome::Trouble;
use crate::{build, progress, tools};
use std::collections::{BTreeMap, BTreeSet};

/// Something that suites need, in the order in which it is made: tools come first, so that a
/// missing one is reported before minutes of work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Need {
    Node,
    Chromium,
    Postgres,
    Nginx,
    Python,
    Maven,
    /// The compilation target for WebAssembly outside of browsers.
    WasiTarget,
    /// All programs and tests of this machine.
    Workspace,
    /// The npm package and the demo page.
    Web,
    /// The core's tests in WebAssembly.
    CoreWasm,
}

impl Need {
    fn make(self) -> Result<(), Trouble> {
        match self {
            Need::Node => tools::need_node().map_err(Trouble::Missing),
            Need::Chromium => tools::need_chromium().map(drop).map_err(Trouble::Missing),
            Need::Postgres => tools::need_postgres().map_err(Trouble::Missing),
            Need::Nginx => {
                // Without it, the tests that use it report that they were skipped.
                let _ = tools::need_nginx();
                Ok(())
            }
            Need::Python => programs(&["python3"], &["python3-minimal"]),
            Need::Maven => programs(&["mvn", "java"], &["maven", "default-jdk-headless"]),
            Need::WasiTarget => tools::need_target("wasm32-wasip1").map_err(Trouble::Missing),
            Need::Workspace => build::workspace().map_err(Trouble::Failed),
            Need::Web => build::web().map_err(Trouble::Failed),
            Need::CoreWasm => {
                let mut command = build::core_wasm_tests();
                progress::run("the core's tests in WebAssembly", command.args(["--quiet", "--no-run"]))
                    .map(drop)
                    .map_err(Trouble::Failed)
            }
        }
    }
}

/// Programs, and the packages that they come with.
fn programs(names: &[&str], packages: &[&str]) -> Result<(), Trouble> {
    if names.iter().all(|name| tools::find(name).is_some()) {
        return Ok(());
    }
    tools::apt_install(packages).map_err(Trouble::Missing)
}

/// The results of making what suites need.
pub(super) struct Ready {
    made: BTreeMap<Need, Result<(), Trouble>>,
}

impl Ready {
    /// Makes what suites need, each thing once; `needs` has those of each suite.
    pub(super) fn make(needs: impl Iterator<Item = &'static [Need]>) -> Ready {
        Ready::make_with(&needs.collect::<Vec<_>>(), Need::make)
    }

    fn make_with(suites: &[&[Need]], make: impl Fn(Need) -> Result<(), Trouble>) -> Ready {
        let mut ready = Ready { made: BTreeMap::new() };
        let wanted: BTreeSet<Need> = suites.concat().into_iter().collect();
        for need in wanted {
            let mut users = suites.iter().filter(|needs| needs.contains(&need));
            // Nothing is built for suites that lack something else.
            if users.all(|needs| ready.has_all_of(needs).is_err()) {
                continue;
            }
            let result = make(need).map_err(|trouble| match trouble {
                // Reported once, not with each suite.
                Trouble::Failed(why) => {
                    progress::say(&progress::bad(&why));
                    Trouble::Failed(String::from("what it needs could not be built, see above"))
                }
                missing => missing,
            });
            ready.made.insert(need, result);
        }
        ready
    }

    /// An error if one of these could not be made.
    pub(super) fn has_all_of(&self, needs: &[Need]) -> Result<(), Trouble> {
        let mut needed = needs.iter().filter_map(|need| self.made.get(need));
        needed.find(|result| result.is_err()).cloned().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn what_several_suites_need_is_made_once_and_tools_come_first() {
        let made = RefCell::new(Vec::new());
        let suites: [&[Need]; 2] = [&[Need::Node, Need::Web], &[Need::Web, Need::Chromium, Need::Node]];
        let ready = Ready::make_with(&suites, |need| {
            made.borrow_mut().push(need);
            Ok(())
        });
        assert_eq!(made.into_inner(), [Need::Node, Need::Chromium, Need::Web]);
        assert!(suites.iter().all(|needs| ready.has_all_of(needs).is_ok()));
    }

    #[test]
    fn without_a_tool_only_the_suites_that_need_it_are_kept_from_running() {
        let suites: [&[Need]; 2] = [&[Need::Maven, Need::Workspace], &[Need::Python]];
        let ready = Ready::make_with(&suites, |need| match need {
            Need::Maven => Err(Trouble::Missing(String::from("no Maven"))),
            Need::Workspace => panic!("nobody is left who needs it"),
            _ => Ok(()),
        });
        assert!(matches!(ready.has_all_of(suites[0]), Err(Trouble::Missing(what)) if what == "no Maven"));
        assert!(ready.has_all_of(suites[1]).is_ok());
    }
}
