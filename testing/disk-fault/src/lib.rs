//! Simulates a full or failing disk for an unchanged program: preloaded with `LD_PRELOAD`, this
//! library replaces the C library's `write`, `pwrite`, `pwrite64`, `fsync` and `fdatasync`.
//!
//! `TIDEWIRE_DISK_FAULT` names a control file, which is read at every call. It is empty or missing
//! while there is no fault. Otherwise it has three words:
//!
//! ```text
//! write ENOSPC server.db
//! ```
//!
//! The first says which calls fail: `write`, `sync` or `all`. The second is the error: `ENOSPC` or
//! `EIO`. The third is part of the path of the files concerned. A failing call has no other effect:
//! no byte is written.
//!
//! Linux only; elsewhere the library is empty. This is the only crate with unsafe code, which the
//! interface of the C library requires.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "these functions take the place of the C library's")]

use std::ffi::{c_int, c_long, c_void};

/// The environment's name for the control file.
const CONTROL: &std::ffi::CStr = c"TIDEWIRE_DISK_FAULT";
/// Longest control file and path that are read, in bytes.
const MOST: usize = 4096;

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Write,
    Sync,
}

/// Takes the place of write(2).
///
/// # Safety
/// As for write(2): `buffer` must be readable for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize {
    if let Some(error) = fault(Call::Write, fd) {
        return fail(error) as isize;
    }
    // SAFETY: the arguments are the caller's, who keeps the promise of write(2).
    unsafe { libc::syscall(libc::SYS_write, fd, buffer, count) as isize }
}

/// Takes the place of pwrite(2).
///
/// # Safety
/// As for pwrite(2): `buffer` must be readable for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    buffer: *const c_void,
    count: usize,
    offset: libc::off_t,
) -> isize {
    if let Some(error) = fault(Call::Write, fd) {
        return fail(error) as isize;
    }
    // SAFETY: the arguments are the caller's, who keeps the promise of pwrite(2).
    unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, count, offset) as isize }
}

/// Takes the place of the other name of pwrite(2).
///
/// # Safety
/// As for pwrite(2): `buffer` must be readable for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    count: usize,
    offset: libc::off64_t,
) -> isize {
    // SAFETY: the promise is the same.
    unsafe { pwrite(fd, buffer, count, offset) }
}

/// Takes the place of fsync(2).
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(libc::SYS_fsync, fd)
}

/// Takes the place of fdatasync(2).
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(libc::SYS_fdatasync, fd)
}

fn sync(number: c_long, fd: c_int) -> c_int {
    if let Some(error) = fault(Call::Sync, fd) {
        return fail(error) as c_int;
    }
    // SAFETY: both calls take a file descriptor and touch no memory.
    unsafe { libc::syscall(number, fd) as c_int }
}

/// The result of a failing call.
fn fail(error: c_int) -> c_long {
    // SAFETY: the C library gives each thread a valid place for its errno.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// The error with which this call is to fail. It allocates nothing and takes no lock: it may run
/// inside of an allocator or of a signal handler.
fn fault(call: Call, fd: c_int) -> Option<c_int> {
    let (mut control, mut path) = ([0; MOST], [0; MOST]);
    let control = read_control(&mut control)?;
    let mut words = control.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let (calls, error, part) = (words.next()?, words.next()?, words.next()?);
    let concerned = match calls {
        b"write" => call == Call::Write,
        b"sync" => call == Call::Sync,
        b"all" => true,
        _ => false,
    };
    let path = concerned.then(|| path_of(fd, &mut path)).flatten()?;
    if !path.windows(part.len()).any(|window| window == part) {
        return None;
    }
    match error {
        b"ENOSPC" => Some(libc::ENOSPC),
        b"EIO" => Some(libc::EIO),
        _ => None,
    }
}

fn read_control(buffer: &mut [u8; MOST]) -> Option<&[u8]> {
    // SAFETY: the name ends with a NUL; the environment is not changed while the program runs.
    let name = unsafe { libc::getenv(CONTROL.as_ptr()) };
    if name.is_null() {
        return None;
    }
    // SAFETY: `name` is the environment's string, which ends with a NUL.
    let file = unsafe { libc::open(name, libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    // SAFETY: the buffer is ours and MOST bytes long.
    let read = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), MOST) };
    // SAFETY: the file was opened above and is closed once.
    unsafe { libc::close(file) };
    buffer.get(..usize::try_from(read).ok()?)
}

/// The path of an open file, from /proc.
fn path_of(fd: c_int, buffer: &mut [u8; MOST]) -> Option<&[u8]> {
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
    let (mut digits, mut rest) = ([0; 10], u32::try_from(fd).ok()?);
    let mut count = 0;
    loop {
        digits[count] = b'0' + (rest % 10) as u8;
        (rest, count) = (rest / 10, count + 1);
        if rest == 0 {
            break;
        }
    }
    for (at, digit) in digits[..count].iter().rev().enumerate() {
        link[14 + at] = *digit;
    }
    // SAFETY: `link` ends with a NUL, and the buffer is ours and MOST bytes long.
    let length = unsafe { libc::readlink(link.as_ptr().cast(), buffer.as_mut_ptr().cast(), MOST) };
    buffer.get(..usize::try_from(length).ok()?)
}
