// A clock of their own for programs: the library libfaketime gives them the time of day that a file says. Their monotonic
// clock stays that of the host, as it does when a host's clock is set.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where Debian's package `libfaketime` has it. */
export function findClockLibrary() {
  return readdirSync('/usr/lib')
    .map((folder) => join('/usr/lib', folder, 'faketime/libfaketime.so.1'))
    .find((path) => existsSync(path))
}

/**
 * Gives the environment for programs, a QEMU for them in `WITHVM_QEMU` that has the same clock, and what sets it:
 * undefined where the library is not installed.
 */
export function makeClock(folder, qemu) {
  const library = findClockLibrary()
  if (library === undefined) return undefined
  const file = join(folder, 'clock')
  const settings = {
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  }
  const wrapper = join(folder, 'qemu-with-clock')
  const words = Object.entries(settings).map(([name, value]) => `${name}='${value}'`)
  // What withvm starts has not all of its environment.
  writeFileSync(wrapper, `#!/bin/sh\nexec env LD_PRELOAD='${library}' ${words.join(' ')} ${qemu} "$@"\n`, {
    mode: 0o755,
  })
  /** How far ahead of the host's the clock is, seconds; behind it with a sign. */
  const set = (seconds) => {
    // Never half of it is read.
    writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${Math.round(seconds)}\n`)
    renameSync(`${file}.new`, file)
  }
  set(0)
  return { env: { ...settings, LD_PRELOAD: library, WITHVM_QEMU: wrapper }, set }
}
