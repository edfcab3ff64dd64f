//! Carries out the tasks that are due, and after each one the work that is left for the server.

use crate::play::operations::Ending;
use crate::play::{acts, driver, operations, processes, responses, sessions};
use crate::world::{Connection, LinkId, Task, World};
use tidewire_core::wire::TYPING;
use tidewire_core::{Input, Lifecycle, Network, State};

/// A run with more tasks than this is in a loop.
const STEPS: u64 = 300_000;

/// Carries out the tasks that are due up to this time; false if a guarantee was violated.
pub(crate) fn run_until(world: &mut World, until: u64) -> rusqlite::Result<bool> {
    while let Some((at, task)) = world.next_task(until) {
        world.now = at;
        world.steps += 1;
        if world.script.trace && world.steps > STEPS - 20 {
            println!("{at} {task:?}");
        }
        carry_out(world, task)?;
        serve(world);
        if world.steps > STEPS {
            world.watch.broken("stuck", "the world spins".to_owned());
        }
        if world.watch.is_broken() {
            return Ok(false);
        }
    }
    world.now = until;
    Ok(true)
}

fn carry_out(world: &mut World, task: Task) -> rusqlite::Result<()> {
    match task {
        Task::Wake { process, timer } => driver::wake(world, process, timer),
        Task::Open { link } => driver::open(world, link),
        Task::ToServer { link, text } => sessions::hear(world, link, text),
        Task::ToClient { link, text } => driver::receive(world, link, text),
        Task::CloseAtClient { link, code } => driver::close(world, link, code),
        Task::CloseAtServer { link }
            if world.connections.get(&link).is_some_and(Connection::is_over_requests) =>
        {
            responses::cut(world, link);
        }
        Task::CloseAtServer { link } | Task::Forget { link } => sessions::end(world, link),
        Task::Request { id, link, call } => responses::arrive(world, id, link, call),
        Task::Respond { id, part } => driver::answer(world, id, part),
        Task::Abandon { link, id } => responses::abandon(world, link, id),
        Task::EndPoll { link, id } => responses::end_poll(world, link, id),
        Task::Stored { device, process } => driver::stored(world, device, process),
        Task::Tick { link, timer } => sessions::tick(world, link, timer),
        // `serve`, which follows each task, does their work.
        Task::Flush { .. } | Task::Answer | Task::Tell => {}
        Task::Act { at } => {
            let action = world.script.actions[at].1.clone();
            if !world.healed || action.is_use() {
                acts::carry_out(world, &action)?;
            }
        }
        Task::Commit { generation } if generation == world.generation => {
            world.committing = false;
            world.server.commit(world.now)?;
        }
        Task::StartServer { generation, restore } if generation == world.generation => {
            operations::start(world, restore)?;
        }
        Task::StopServer { generation, ms } if generation == world.generation => {
            operations::stop(world, ms, Ending::Reset, false);
        }
        Task::Commit { .. } | Task::StartServer { .. } | Task::StopServer { .. } => {}
        Task::CloseAll { links } => operations::close_all(world, &links),
        Task::Resume { device } => processes::report(world, device, Input::Lifecycle(Lifecycle::Resumed)),
        Task::Show { device } => processes::report(world, device, Input::Lifecycle(Lifecycle::Shown)),
        Task::Online { device } => processes::report(world, device, Input::Network(Network::Online)),
        Task::Boot { device } => processes::boot(world, device),
        Task::Kill { process } => processes::kill(world, process),
        Task::Connect { device } => processes::connect(world, device),
        Task::OpenDialog { device } => drop(processes::open_dialog(world, device)),
        Task::CloseDialog { device, process } => {
            if world.devices[device].process == process {
                processes::close_dialog(world, device);
            }
        }
        Task::Subscribe { device } => processes::subscribe(world, device),
        Task::Permit { device } => acts::permit(world, device),
        Task::Decide { device, id } => acts::decide(world, device, &id),
    }
    Ok(())
}

/// What the server does after every task: it continues answers, schedules a commit, and sends.
fn serve(world: &mut World) {
    let wake = world.server.answer(world.now);
    for (what, how) in world.server.take_faults() {
        world.watch.broken(what, how);
    }
    if let Some(at) = wake
        && (world.answers_at <= world.now || at < world.answers_at)
    {
        world.answers_at = at;
        world.at(at, Task::Answer);
    }
    if let Some(at) = world.server.tell_people(world.now)
        && (world.tells_at <= world.now || at < world.tells_at)
    {
        world.tells_at = at;
        world.at(at, Task::Tell);
    }
    world.watch.nobody_writes_for_ever(world.now);
    let offline = world.processes.iter().flatten().filter(|one| !one.zombie && one.state != State::Online);
    for person in offline.flat_map(|one| &one.people) {
        if person.lease(TYPING).is_some() {
            let how = format!("{} is shown as writing without a connection", person.user.id);
            world.watch.broken("P3", how);
        }
    }
    if !world.committing
        && let Some(takes) = world.server.commit_takes(world.now)
    {
        world.committing = true;
        world.after(takes, Task::Commit { generation: world.generation });
    }
    let links: Vec<LinkId> = world.connections.keys().copied().collect();
    for link in links {
        if world.connections.get(&link).is_some_and(Connection::is_over_requests) {
            responses::flush(world, link);
        } else {
            sessions::flush(world, link);
        }
    }
}
